#!/usr/bin/env bash
# Check the wheel as users install it: build it, compare its files with the checkout, install it with its newest
# dependencies in a clean environment for each Python, and run the main commands from another folder.
#
#   bash scripts/check_wheel.sh [--lowest] [PYTHON…]
#   bash scripts/check_wheel.sh --docs [PYTEST ARGUMENTS…]
#
# PYTHON is a version or the path of an interpreter, for `uv venv --python`; 3.11, 3.12 and 3.13 if none is given.
# --lowest installs the lowest versions that pyproject.toml allows. Needs uv and a package index. Ends with exit code 1
# if a check failed. --docs runs all examples of README and docs, as written and twice, with the wheel and the dependencies
# of the environment of the tests (`bash scripts/test --prepare` makes it); `-k duplex.md` selects pages.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
extras=serve,turn,pipecat
resolution=highest
if [ "${1:-}" = --lowest ]; then
  resolution=lowest-direct
  shift
fi
docs=0
if [ "${1:-}" = --docs ]; then
  docs=1
  shift
elif [ $# = 0 ]; then
  set -- 3.11 3.12 3.13
fi
unset PYTHONPATH VIRTUAL_ENV
for name in "${!SCA_@}"; do unset "$name"; done

work=$(mktemp -d)
server=
stop_server() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
  fi
}
trap 'stop_server; rm -rf "$work"' EXIT

say() { printf 'check_wheel: %s\n' "$*"; }
failed=0

# check NAME COMMAND…: run it, and print its output only if it fails.
check() {
  local name=$1
  shift
  if "$@" >"$work/output" 2>&1; then
    say "$python: ok: $name"
  else
    say "$python: FAILED: $name"
    tail -n 15 "$work/output"
    failed=1
  fi
}

# serve PATTERN COMMAND…: start a server, and set `url` to the address that its log prints.
serve() {
  local pattern=$1
  shift
  "$@" >"$work/server.log" 2>&1 &
  server=$!
  url=
  while [ -z "$url" ] && kill -0 "$server" 2>/dev/null; do
    url=$(grep -oE -m 1 "$pattern" "$work/server.log" | grep -oE 'http://[0-9.:]+') || sleep 0.2
  done
  if [ -z "$url" ]; then
    say "$python: FAILED: $*"
    tail -n 15 "$work/server.log"
    failed=1
  fi
}

cd "$root"
uv build --quiet --wheel --out-dir "$work/dist"
wheel=$(echo "$work"/dist/*.whl)
say "$(basename "$wheel"), $(du -h "$wheel" | cut -f1)"
unzip=(python3 -c 'import sys, zipfile; print(*zipfile.ZipFile(sys.argv[1]).namelist(), sep="\n")')
lacks=$(comm -23 <(git ls-files sca sca_run | LC_ALL=C sort) <("${unzip[@]}" "$wheel" | LC_ALL=C sort))
if [ -n "$lacks" ]; then
  say "the wheel lacks: $lacks"
  failed=1
fi

if [ "$docs" = 1 ]; then
  tests=${UV_PROJECT_ENVIRONMENT:-$root/.venv}/bin/python
  uv venv --quiet --python "$tests" "$work/environment"
  uv pip install --quiet --no-deps --python "$work/environment" "$wheel"
  # Its packages come first; the sca of the checkout is in a .pth file there, which is not read.
  site=$("$work/environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  "$tests" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/dependencies.pth"
  DOCS_PYTHON=$work/environment/bin/python DOCS_TIMES=2 "$tests" -m pytest -q tests/test_docs.py::test_examples_run_as_written "$@"
  exit "$failed"
fi

for python in "$@"; do
  environment=$work/environment
  if ! uv venv --quiet --clear --python "$python" "$environment"; then
    say "$python: FAILED: no such interpreter"
    failed=1
    continue
  fi
  # The dates of [tool.uv] do not apply to users, so uv must not read them.
  cd "$work"
  check "install [$extras], $resolution" uv pip install --no-config --python "$environment" --resolution "$resolution" \
    "sca-duplex[$extras] @ file://$wheel"
  sca=$environment/bin/sca
  [ -x "$sca" ] || continue
  folder=$work/folder
  rm -rf "$folder" "$work/cache"
  mkdir "$folder"
  cd "$folder"
  export XDG_CACHE_HOME=$work/cache
  check "sca doctor" "$sca" doctor
  check "sca demo" "$sca" demo
  check "sca verify" "$sca" verify dataset/demo/duplex
  check "sca.load twice, warnings are errors" "$environment/bin/python" -W error -c '
import sca
first, second = (sca.load("dataset/demo/duplex") for _ in range(2))
assert len(first) == len(second) > 0
'
  question=dataset/demo/corpus/WAV/D0001_S0001_0_G0001.flac
  check "sca live --file" "$sca" live --file "$question" --output answer.wav
  check "sca config default" "$sca" config default
  check "sca_run" "$environment/bin/python" -c 'import sca_run'
  serve 'listening on http://[0-9.:]+' "$sca" serve --engine parrot --port 0
  if [ -n "$url" ]; then
    check "sca serve: /health" curl -fsS "$url/health"
    check "sca serve: page" curl -fsS "$url/"
    check "sca serve: infer_wav" curl -fsS -o infer.wav -F "file=@$question" "$url/infer_wav"
  fi
  stop_server
  serve 'http://[0-9.:]+' "$sca" turn serve --port 0
  [ -z "$url" ] || check "sca turn ask --url" "$sca" turn ask "$question" --url "$url"
  stop_server
  say "$python: $(du -sm "$environment" | cut -f1) MB"
done
exit "$failed"
