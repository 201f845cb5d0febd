#!/usr/bin/env bash
# Follow the log of the server that start_bg.sh started. The same as `sca turn logs --tail`.
#
#   bash scripts/tail_bg_logs.sh [--lines 100]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_turn.sh"
exec "${sca[@]}" turn logs --tail "$@"
