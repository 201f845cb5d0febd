#!/usr/bin/env bash
# Stop the server that start_bg.sh started. The same as `sca turn stop`.
#
#   bash scripts/stop.sh [--purge]
#   bash scripts/stop.sh --purge --deep    also remove .venv, samples/ and the fetched weights of turn models
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_turn.sh"
arguments=() deep=0
for argument in "$@"; do
  if [ "$argument" = --deep ]; then deep=1; else arguments+=("$argument"); fi
done
"${sca[@]}" turn stop ${arguments[@]+"${arguments[@]}"}
if [ "$deep" = 1 ]; then
  hub=${HF_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingface}/hub}
  for path in "${UV_PROJECT_ENVIRONMENT:-$root/.venv}" "$root/samples" "$hub"/models--pipecat-ai--smart-turn-*; do
    if [ -L "$path" ]; then unlink "$path"; elif [ -e "$path" ]; then rm -r "$path"; else continue; fi
    echo "removed $path"
  done
fi
