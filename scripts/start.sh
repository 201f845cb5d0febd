#!/usr/bin/env bash
# Run the turn server in the foreground until Ctrl-C. The same as `sca turn serve`.
#
#   AUTH_KEY=secret bash scripts/start.sh --port 8000
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_turn.sh"
exec "${sca[@]}" turn serve "$@"
