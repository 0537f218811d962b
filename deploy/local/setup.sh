#!/bin/sh
# Makes .venv from requirements.lock; needs only python3 >= 3.11. Does nothing when it is already there.
set -eu
umask 022
root=$(cd "$(dirname "$0")/../.." && pwd -P)
tools=$root/.rapport/tools
packages="shared/contracts shared/messaging shared/cli services/intake services/matching services/followup services/oversight"

fail() {
    echo "rapport: $*" >&2
    exit 1
}

wanted() {
    cd "$root"
    echo "$root"
    cat requirements.lock deploy/local/uv.lock.txt deploy/local/setup.sh pyproject.toml services/*/pyproject.toml shared/*/pyproject.toml
}

stamp() { wanted | cksum; }

ready() { [ -x "$root/.venv/bin/python" ] && [ "$(cat "$root/.venv/rapport-stamp" 2>/dev/null)" = "$(stamp)" ]; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not Python 3.11 or newer"
        echo "$PYTHON"
        return
    fi
    for name in python3.13 python3.12 python3.11 python3; do
        if new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    fail "Python 3.11 or newer is needed: install it (Debian: apt-get install python3 python3-venv), or set PYTHON"
}

# Holds fd 9 until this script ends, also where there is no flock(1).
lock() {
    mkdir -p "$root/.rapport"
    exec 9>"$root/.rapport/setup.lock"
    "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
}

choose_caches() {
    if [ -z "${HOME:-}" ] || [ ! -d "$HOME" ] || [ ! -w "$HOME" ]; then
        export UV_CACHE_DIR="${UV_CACHE_DIR:-$root/.rapport/cache/uv}"
        export PIP_CACHE_DIR="${PIP_CACHE_DIR:-$root/.rapport/cache/pip}"
    fi
}

install_uv() {
    pin=$root/deploy/local/uv.lock.txt
    if [ -x "$tools/bin/uv" ] && cmp -s "$pin" "$tools/pin"; then return; fi
    rm -rf "$tools"
    if "$python" -m venv "$tools" >/dev/null 2>&1; then
        "$tools/bin/python" -m pip install -q --disable-pip-version-check --root-user-action=ignore --require-hashes -r "$pin"
    elif "$python" -m pip --version >/dev/null 2>&1; then
        rm -rf "$tools"
        "$python" -m pip install -q --disable-pip-version-check --root-user-action=ignore --require-hashes --target "$tools" -r "$pin"
    else
        rm -rf "$tools"
        fail "$python has neither venv nor pip: install one of them (Debian: apt-get install python3-venv)"
    fi
    cp "$pin" "$tools/pin"
}

install_packages() {
    cd "$root"
    export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1 UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
    uv=$tools/bin/uv
    new_enough .venv/bin/python || "$uv" venv -q --clear --python "$python" .venv
    export VIRTUAL_ENV="$root/.venv"
    "$uv" pip sync -q --require-hashes requirements.lock
    editable=""
    for package in $packages; do editable="$editable -e $package"; done
    # shellcheck disable=SC2086
    "$uv" pip install -q --no-deps --no-build-isolation $editable
}

if ready; then exit 0; fi
python=$(find_python)
lock
if ready; then exit 0; fi
choose_caches
echo "rapport: preparing .venv from requirements.lock (once)" >&2
install_uv
install_packages
stamp >"$root/.venv/rapport-stamp"
