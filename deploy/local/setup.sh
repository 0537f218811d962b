#!/bin/sh
# Makes .venv from requirements.lock; needs only python3 >= 3.11. Does nothing when it is already there.
# Of several Pythons it takes the quickest: one built without optimisations costs the services a tenth more CPU.
set -eu
umask 022
root=$(cd "$(dirname "$0")/../.." && pwd -P)
tools=$root/.rapport/tools
packages="shared/contracts shared/messaging shared/ledger shared/cli services/intake services/matching services/followup services/oversight"

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

# The path of each Python that would do, the newest name first.
found_pythons() {
    for name in python3.13 python3.12 python3.11 python3; do
        echo "$PATH" | tr : '\n' | while read -r folder; do
            if [ -x "$folder/$name" ] && new_enough "$folder/$name"; then
                "$folder/$name" -c 'import os, sys; print(os.path.realpath(sys.executable))'
            fi
        done
    done | awk '!seen[$0]++'
}

# Microseconds of a small piece of work, the best of seven times, and the path.
pace_of() {
    "$1" -c '
import sys, timeit
work = """
class Point:
    def __init__(self, x): self.x = x
    def plus(self, y): return self.x + y
def total(n):
    t = 0
    for i in range(n): t += Point(i).plus(i) if i % 3 else len(str(i))
    return t
total(20000)
"""
print(int(min(timeit.repeat(work, repeat=7, number=1)) * 1e6), sys.argv[1])' "$1"
}

# Of the paths that are read.
quickest() {
    paths=$(cat)
    for _ in 1 2 3; do
        echo "$paths" | while read -r each; do pace_of "$each"; done
    done | sort -n | head -n 1 | cut -d ' ' -f 2-
}

find_pythons() {
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not Python 3.11 or newer"
        first=$PYTHON python=$PYTHON
        return
    fi
    found=$(found_pythons)
    [ -n "$found" ] || fail "Python 3.11 or newer is needed: install it (Debian: apt-get install python3 python3-venv), or set PYTHON"
    first=$(echo "$found" | head -n 1)
    python=$(echo "$found" | quickest)
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
    if "$first" -m venv "$tools" >/dev/null 2>&1; then
        "$tools/bin/python" -m pip install -q --disable-pip-version-check --root-user-action=ignore --require-hashes -r "$pin"
    elif "$first" -m pip --version >/dev/null 2>&1; then
        rm -rf "$tools"
        "$first" -m pip install -q --disable-pip-version-check --root-user-action=ignore --require-hashes --target "$tools" -r "$pin"
    else
        rm -rf "$tools"
        fail "$first has neither venv nor pip: install one of them (Debian: apt-get install python3-venv)"
    fi
    cp "$pin" "$tools/pin"
}

install_packages() {
    cd "$root"
    export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1 UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
    uv=$tools/bin/uv
    if [ "$(cat .venv/rapport-python 2>/dev/null)" != "$python" ] || ! new_enough .venv/bin/python; then
        "$uv" venv -q --clear --python "$python" .venv
        echo "$python" >.venv/rapport-python
    fi
    export VIRTUAL_ENV="$root/.venv"
    "$uv" pip sync -q --require-hashes requirements.lock
    editable=""
    for package in $packages; do editable="$editable -e $package"; done
    # shellcheck disable=SC2086
    "$uv" pip install -q --no-deps --no-build-isolation $editable
}

if ready; then exit 0; fi
find_pythons
lock
if ready; then exit 0; fi
choose_caches
echo "rapport: preparing .venv from requirements.lock (once)" >&2
install_uv
install_packages
stamp >"$root/.venv/rapport-stamp"
