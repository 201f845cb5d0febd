#!/usr/bin/env bash
# Check and measure everything that needs an NVIDIA GPU, on a machine that may have nothing but its driver and Python.
#
#   bash scripts/bench/gpu.sh                      install, then all parts (see gpu.py), at most 14 minutes of them
#   bash scripts/bench/gpu.sh --dry                the same with tiny models on a CPU
#   bash scripts/bench/gpu.sh --prepared           install nothing; must come first
#   bash scripts/bench/gpu.sh --wheels FOLDER      install these wheels without a network, beside the packages of python3, which
#                                                  has torch for CUDA; must come first
#   other arguments go to gpu.py: --out FILE, --limit SECONDS, --only PART …
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

venv=${UV_PROJECT_ENVIRONMENT:-.venv}

install_wheels() {
  python3 -m venv --system-site-packages "$venv"
  "$venv/bin/python" -m pip install -q --no-index --no-deps "$1"/*.whl
}

# Without the GPU of this machine, `--torch-backend=auto` selects the build for a CPU.
install_packages() {
  local uv=(uv)
  if ! command -v uv >/dev/null; then
    python3 -m pip install -q uv || python3 -m pip install -q --user --break-system-packages uv
    uv=(python3 -m uv)
  fi
  "${uv[@]}" venv -q --allow-existing "$venv"
  "${uv[@]}" pip install -q --python "$venv/bin/python" --torch-backend=auto -e '.[live,serve,speech,turn]' --group dev
}

python=$venv/bin/python
case ${1:-} in
  --prepared)
    shift
    if [ ! -x "$python" ]; then python=python3; fi
    ;;
  --wheels)
    install_wheels "${2:?gpu.sh: --wheels needs a folder}" >&2
    shift 2
    ;;
  *) install_packages >&2 ;;
esac
export PYTORCH_NVML_BASED_CUDA_CHECK=1  # `torch.cuda.is_available` must not start CUDA, because gpu.py forks
PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m scripts.bench.gpu "$@"
