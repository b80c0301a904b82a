#!/usr/bin/env bash
# Makes .venv with locked packages: `setup.sh run` for the product, `setup.sh test` for the tests,
# `setup.sh bench` for what the benchmarks compare with.
# `setup.sh hint` says which system programs are missing and what that skips.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv

as_root() { [ "$(id -u)" = 0 ]; }

apt_install() {
  if as_root && command -v apt-get >/dev/null; then
    apt-get update -qq >/dev/null 2>&1 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
  else
    echo "missing: $*. Install it (Debian, Ubuntu: apt install $*) and run this again." >&2
    return 1
  fi
}

find_python() {
  for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
    if command -v "$name" >/dev/null &&
      "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  apt_install python3 python3-venv >&2
  command -v python3
}

make_venv() {
  [ -x "$venv/bin/python" ] && "$venv/bin/python" -c 'import pip' 2>/dev/null && return
  local python
  python=$(find_python)
  "$python" -c 'import sys; sys.exit("allegro needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
  if ! "$python" -m venv "$venv" 2>/dev/null; then
    rm -rf "$venv"
    apt_install python3-venv
    "$python" -m venv "$venv"
  fi
}

install() { # requirements file, stamp
  echo "installing $1 into $venv (once) ..." >&2
  "$venv/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$1"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e . 2>/dev/null ||
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps -e .
  touch "$2"
}

hint() {
  command -v git >/dev/null || apt_install git || true
  command -v git >/dev/null || echo "skipping what needs git: the forge simulator and all above it"
  [ -n "${ALLEGRO_GITEA_BIN:-}${ALLEGRO_GITEA_URL:-}" ] ||
    echo "no real forge named (ALLEGRO_GITEA_BIN or ALLEGRO_GITEA_URL): the contract suite runs on the simulator"
}

case "${1:-}" in
  run) make_venv; command -v git >/dev/null || apt_install git; install requirements/run.txt "$venv/.run" ;;
  test) make_venv; install requirements/test.txt "$venv/.test"; touch "$venv/.run" ;;
  bench) make_venv; install requirements/bench.txt "$venv/.bench" ;;
  hint) hint ;;
  *) echo "usage: setup.sh run|test|bench|hint" >&2; exit 2 ;;
esac
