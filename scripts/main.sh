#!/usr/bin/env bash
# Set up, start the turn server in the background, warm it up, and optionally measure it. The server keeps running.
#
#   bash scripts/main.sh                                   set up, start, warm up
#   bash scripts/main.sh --requests 200 --concurrency 4    also measure (options: --seconds S, --sample FILE)
#   bash scripts/main.sh --no-warmup --tail                without warm-up requests, and show the log
#
# Other options are passed to `sca turn start`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_turn.sh"
start=() bench=() shared=() tail=0
while [ $# -gt 0 ]; do
  case $1 in
    --requests | --concurrency | --seconds | --sample) bench+=("$1" "${2:?$1 needs a value}") && shift ;;
    --requests=* | --concurrency=* | --seconds=* | --sample=*) bench+=("$1") ;;
    --state-dir | --config) shared+=("$1" "${2:?$1 needs a value}") && shift ;;
    --tail) tail=1 ;;
    *) start+=("$1") ;;
  esac
  shift
done
bash "$root/scripts/setup.sh"
bash "$root/scripts/start_bg.sh" ${shared[@]+"${shared[@]}"} ${start[@]+"${start[@]}"}
if [ ${#bench[@]} -gt 0 ]; then
  "${sca[@]}" turn bench ${shared[@]+"${shared[@]}"} "${bench[@]}"
fi
if [ "$tail" = 1 ]; then
  exec "${sca[@]}" turn logs --tail ${shared[@]+"${shared[@]}"}
fi
