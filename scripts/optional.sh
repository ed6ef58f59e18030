#!/bin/sh
# Checks with tools that are not available everywhere and are therefore not part of `make test`.
#
#   scripts/optional.sh interop       compare files and generated text with llama.cpp
#   scripts/optional.sh fuzz SECONDS  fuzz the readers of model files with atheris (libFuzzer)
#   scripts/optional.sh count         compare parameter counts with transformers
#
# The tools have separate environments. If one cannot be installed, this prints a warning and ends without an
# error; a failed check is an error.
set -eu
cd "$(dirname "$0")/.."

use() {
    environment=$1
    python=$environment/bin/python
}
use .venv-interop
llama=llama-cpp-python==0.3.36 # contains llama.cpp 0c1e57098bba, the reference of quant_core

# install IMPORTED PACKAGE...: false if the packages cannot be installed
install() {
    "$python" -c "import $1" 2>/dev/null && return
    shift
    [ -x "$python" ] || .venv/bin/python -m venv --clear "$environment" || return
    .venv/bin/python -m pip freeze --exclude-editable >"$environment/constraints.txt"
    echo "· Installing $* in $environment; building takes minutes"
    # Fused multiply-add, the default of compilers for aarch64, rounds differently.
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
