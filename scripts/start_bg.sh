#!/usr/bin/env bash
# Start the turn server in the background and return when it is ready. The same as `sca turn start`.
#
#   bash scripts/start_bg.sh --port 8000 [--no-warmup] [--tail]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_turn.sh"
exec "${sca[@]}" turn start "$@"
