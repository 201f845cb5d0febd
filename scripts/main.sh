#!/usr/bin/env bash
# Set up, start the turn server in the background, warm it up, and optionally measure it. The server keeps running.
#
#   bash scripts/main.sh                                   set up, start, warm up
#   bash scripts/main.sh --sample mid.wav --seconds 8      warm up with the last 8 s of samples/mid.wav
#   bash scripts/main.sh --requests 200 --concurrency 4    also measure, with the same sample
#   bash scripts/main.sh --no-warmup --tail                without warm-up requests, and show the log
#
# Other options are passed to `sca turn start`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_turn.sh"
start=() bench=() shared=() place=() tail=0
while [ $# -gt 0 ]; do
  case $1 in
    --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" && continue ;;
    --requests | --concurrency) bench+=("$1" "${2:?$1 needs a value}") && shift ;;
    --sample) shared+=("$1" "$(sample_file "${2:?$1 needs a value}")") && shift ;;
    --seconds) shared+=(--sample-seconds "${2:?$1 needs a value}") && shift ;;
    --state-dir | --config) shared+=("$1" "${2:?$1 needs a value}") place+=("$1" "$2") && shift ;;
    --auth-key) shared+=("$1" "${2:?$1 needs a value}") && shift ;;
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
  exec bash "$root/scripts/tail_bg_logs.sh" ${place[@]+"${place[@]}"}
fi
