#!/bin/sh
# Builds the virtual environment of the Makefile.
#
#   venv.sh fits VENV [PYTHON]          exit code 0: VENV is complete, and has the version of PYTHON
#   venv.sh build VENV PYTHON KIND      KIND is runtime or dev; VENV/.KIND is created last
#
# An environment without .runtime was left by a build that failed: it is removed and built again.
set -eu

fail() {
    echo "error: $*" >&2
    exit 1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null
}

fits() {
    [ -e "$1/.runtime" ] && found=$(version_of "$1/bin/python") || return 1
    [ -z "${2:-}" ] || [ "$found" = "$(version_of "$2")" ]
}

# The checks that pip and venv answer late or in a way that names no remedy.
require_python() {
    command -v "$1" > /dev/null ||
        fail "$1 is not installed: install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3"
    version=$("$1" -c 'import sys; print(sys.version.split()[0])') || fail "$1 does not start"
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$1 is Python $version, and 3.11 or newer is needed: install one and name it: make PYTHON=python3.12"
    "$1" -c 'import ensurepip, venv' 2> /dev/null ||
        fail "$1 has no ensurepip, so it cannot create a virtual environment: apt install python3-venv"
}

build() {
    venv=$1 python=$2 kind=$3
    if ! fits "$venv" "$4"; then
        require_python "$python"
        if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
            fail "$venv exists and is not a virtual environment: choose another folder with VENV=…"
        fi
        rm -rf "$venv"
        "$python" -m venv "$venv" || fail "$python cannot create the virtual environment $venv"
    fi
    lock=requirements.lock
    [ "$kind" = runtime ] || lock=requirements-dev.lock
    echo "Installing the packages of $lock into $venv; this is done once and takes about a minute." >&2
    pip="$venv/bin/python -m pip --disable-pip-version-check -q"
    $pip install --require-hashes -r "$lock"
    $pip install --no-deps --no-build-isolation -e .
    # The development packages include those of the runtime.
    touch "$venv/.runtime" "$venv/.$kind"
}

case $1 in
    fits) fits "$2" "${3:-}" ;;
    build) build "$2" "$3" "$4" "${5:-}" ;;
    *) fail "unknown command $1" ;;
esac
