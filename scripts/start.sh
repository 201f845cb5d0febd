#!/usr/bin/env bash
# The turn server in the foreground, until Ctrl-C; the same as `sca turn serve`.
#
#   AUTH_KEY=secret bash scripts/start.sh --port 8000
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_turn.sh"
exec "${sca[@]}" turn serve "$@"
