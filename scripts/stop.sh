#!/usr/bin/env bash
# Stop the server that start_bg.sh started. The same as `sca turn stop`.
#
#   bash scripts/stop.sh [--purge]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_turn.sh"
exec "${sca[@]}" turn stop "$@"
