#!/bin/sh
# install.sh SERVICE [DIR]: one service with what it needs, into DIR (/app/venv); versions and hashes are those of requirements.lock.
set -eu
service=$1
target=${2:-/app/venv}
wanted=$(mktemp)
locked=$(mktemp)
uv pip compile -q "services/$service/pyproject.toml" --constraints requirements.lock --no-header --no-annotate \
    --no-emit-package rapport-contracts --no-emit-package rapport-messaging --no-emit-package rapport-ledger >"$wanted"

# The blocks of requirements.lock (a name with its version, then its hashes) that this service needs.
awk 'NR == FNR { need[$1]; next } /^[^ #]/ { keep = $1 in need } keep' "$wanted" requirements.lock >"$locked"
[ "$(grep -c == "$wanted")" = "$(grep -c == "$locked")" ] || {
    echo "requirements.lock does not hold all that $service needs: run make lock" >&2
    exit 1
}

uv venv -q "$target"
export VIRTUAL_ENV="$target"
uv pip sync -q --require-hashes "$locked"
shared="./shared/contracts ./shared/messaging"
if grep -q '"rapport-ledger"' "services/$service/pyproject.toml"; then shared="$shared ./shared/ledger"; fi
# shellcheck disable=SC2086
uv pip install -q --no-deps $shared "./services/$service"
rm "$wanted" "$locked"
