# Finds the `sca` of the project from any folder. Sourced by the scripts of the turn server in this folder.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ -x "${UV_PROJECT_ENVIRONMENT:-$root/.venv}/bin/sca" ]; then
  sca=("${UV_PROJECT_ENVIRONMENT:-$root/.venv}/bin/sca")
elif command -v sca >/dev/null; then
  sca=(sca)
else
  sca=(uv run --project "$root" --extra turn --extra pipecat sca)
fi

# Print where a sample is: in the working folder, else in samples/ of the project.
sample_file() {
  if [ ! -e "$1" ] && [ -e "$root/samples/$1" ]; then echo "$root/samples/$1"; else echo "$1"; fi
}
