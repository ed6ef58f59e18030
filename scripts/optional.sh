#!/bin/sh
# Checks with tools that cannot be had everywhere, and that are therefore no part of `make test`.
#
#   scripts/optional.sh interop       llama.cpp itself: it writes the files that we write, and text from them
#   scripts/optional.sh fuzz SECONDS  atheris (libFuzzer): damaged files for the readers of model files
#   scripts/optional.sh count         transformers counts the parameters of models, and ours are compared
#
# The tools have environments of their own. Where one cannot be installed, this says so loudly and ends
# without an error; what a check finds is an error.
set -eu
cd "$(dirname "$0")/.."

use() {
    environment=$1
    python=$environment/bin/python
}
use .venv-interop
llama=llama-cpp-python==0.3.36 # carries llama.cpp 0c1e57098bba, the reference of quant_core

# install IMPORTED PACKAGE...: false where the packages cannot be installed
install() {
    "$python" -c "import $1" 2>/dev/null && return
    shift
    [ -x "$python" ] || .venv/bin/python -m venv --clear "$environment" || return
    .venv/bin/python -m pip freeze --exclude-editable >"$environment/constraints.txt"
    echo "· Installing $* in $environment; what has to be built takes minutes"
    # Fused multiply-add, which compilers for aarch64 use by themselves, rounds differently.
    CFLAGS="${CFLAGS:-} -ffp-contract=off" CXXFLAGS="${CXXFLAGS:-} -ffp-contract=off" \
        "$python" -m pip install -qq --disable-pip-version-check --constraint "$environment/constraints.txt" "$@"
}

# skip WHAT NEEDS
skip() {
    printf '\n!! %s: the reason is above.\n!! It needs %s and a package index.\n' "$1" "$2" >&2
}

interop() {
    if install gguf,llama_cpp,pytest gguf numpy pytest "$llama"; then
        "$python" -m pytest -q -p no:cacheprovider tests/interop
    else
        skip "NOT COMPARED WITH LLAMA.CPP" "a C++ compiler"
    fi
}

fuzz() {
    if install atheris,hypothesis,numpy,pytest atheris hypothesis numpy pytest; then
        mkdir -p test-results
        for harness in fuzz/fuzz_*.py; do
            echo "· $harness, $1 seconds"
            "$python" "$harness" -max_total_time="$1" -artifact_prefix=test-results/ \
                -verbosity=0 -print_final_stats=1
        done
    else
        skip "NOT FUZZED WITH ATHERIS" "a platform that atheris is built for, or clang"
    fi
}

count() {
    use .venv-oracle
    if install torch,transformers torch==2.13.0 transformers==5.18.0; then
        PYTHONPATH=. "$python" scripts/count_models.py count
    else
        skip "NOT COUNTED WITH TRANSFORMERS" "torch 2.13.0, transformers 5.18.0"
    fi
}

"$@"
