#!/usr/bin/env bash
# Install the turn server and its model, if they are missing, and write the sample samples/mid.wav. Requires uv
# (https://docs.astral.sh/uv).
#
#   bash scripts/setup.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_turn.sh"
python=${UV_PROJECT_ENVIRONMENT:-$root/.venv}/bin/python
check='from importlib.util import find_spec as f; import sys; sys.exit(not all(map(f, ["sca", "fastapi", "uvicorn", "pipecat"])))'
if [ -x "$python" ] && "$python" -c "$check"; then
  echo "scripts/setup.sh: everything is installed" >&2
else
  # --inexact keeps packages that were installed by hand, such as torch.
  uv sync --project "$root" --inexact --extra turn --extra pipecat "$@"
fi
if [ ! -e "$root/samples/mid.wav" ]; then
  mkdir -p "$root/samples"
  write='import sys, soundfile; from sca.infer.turn.client.load_test import shipped_speech as s; soundfile.write(sys.argv[1], s(), 16000)'
  (cd "$root" && "$python" -c "$write" samples/mid.wav)
fi
