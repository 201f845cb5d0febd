#!/usr/bin/env bash
# Convert downloaded audio or video to clean audio. The same as `sca transcode`, from any folder.
#
#   ./scripts/transcode.sh ./dataset/video_downloads ./dataset/audio_outputs webm flac
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
sca=${UV_PROJECT_ENVIRONMENT:-$root/.venv}/bin/sca
if [ -x "$sca" ]; then
  exec "$sca" transcode "$@"
elif command -v sca >/dev/null; then
  exec sca transcode "$@"
fi
exec uv run --project "$root" sca transcode "$@"
