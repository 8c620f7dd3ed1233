#!/usr/bin/env bash
# tests/run.sh: installs what is missing, then builds and runs everything with g++, a reduced set under the address and
# undefined-behaviour sanitizers, and the headers, the umbrella and one fat program with clang. Ends with
# "N passed, N failed".
set -uo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/support/setup.sh"

need_packages "${library_packages[@]}" catch2
want_packages "the LibTorch adapter is not tested" libtorch-dev
want_packages "nothing is compiled with clang" clang-14
want_packages "g++ builds what is sanitized, which takes longer" libclang-rt-14-dev
want_packages "pkg-config is not tested" pkg-config

# shellcheck disable=SC2034
show_warnings=yes  # for setup.sh: whoever runs the tests wants to see them
passed=0
failed=0
started=$SECONDS

# phase TITLE: names what follows, with the time so far.
phase() { printf '\n== %s (after %d s)\n' "$1" "$((SECONDS - started))"; }

# check DIR CTEST_ARGUMENT...: runs tests and counts them.
check() {
    local dir=$1 log
    shift
    log=$(mktemp)
    ctest --test-dir "$dir" --output-on-failure --no-tests=error --no-label-summary -j "$jobs" "$@" < /dev/null 2>&1 | tee "$log" | grep --line-buffered -vE '^ +Start +[0-9]+:|^Internal ctest|^Test project'
    local summary
    summary=$(grep -E '^[0-9]+% tests passed, [0-9]+ tests failed out of [0-9]+' "$log") || summary=""
    if [[ $summary =~ ([0-9]+)\ tests\ failed\ out\ of\ ([0-9]+) ]]; then
        failed=$((failed + BASH_REMATCH[1]))
        passed=$((passed + BASH_REMATCH[2] - BASH_REMATCH[1]))
    else
        failed=$((failed + 1))
    fi
    rm -f "$log"
}

# attempt COMMAND...: a step that is no test of its own; its failure counts as one.
attempt() { "$@" || { failed=$((failed + 1)); return 1; }; }

# targets DIR TARGET...: those that exist there.
targets() {
    local dir=$1 target
    shift
    for target in "$@"; do
        has_target "$dir" "$target" && printf '%s\n' "$target"
    done
}

missing_tests() {
    say "there are no unit tests, because of:"
    cmake -B "$main_dir" 2>&1 | grep '^-- rlgaf: '
    return 1
}

phase "g++: everything"
main_dir=$build_dir
if attempt configure "$main_dir" -DCMAKE_BUILD_TYPE=Release; then
    attempt build "$main_dir" all
    has_target "$main_dir" torch_tests || say "LibTorch is not there: its tests are skipped"
    has_target "$main_dir" unit_tests || attempt missing_tests
    check "$main_dir" -E '^build\.header_sets$'  # clang does those; here every test includes its header first
fi

# clang builds sanitized programs in half the time.
sanitizing=g++
clang=$(command -v clang++-14 || command -v clang++ || true)
if [[ -n $clang ]] && echo 'int main() {}' | "$clang" -fsanitize=address,undefined -x c++ -o /dev/null - 2> /dev/null; then
    sanitizing=$clang
fi
phase "${sanitizing##*/} with address and undefined-behaviour sanitizers: unit tests and small models"
san_dir=$build_dir/sanitize
if attempt configure "$san_dir" -DCMAKE_BUILD_TYPE=Debug "-DCMAKE_CXX_COMPILER=$sanitizing" -DRLGAF_SANITIZE=address,undefined -DRLGAF_TORCH=OFF \
    -DRLGAF_BUILD_EXAMPLES=OFF -DRLGAF_BUILD_BENCHMARKS=OFF; then
    mapfile -t wanted < <(targets "$san_dir" unit_tests recipe_tests small_model_tests)
    [[ ${#wanted[@]} -eq 0 ]] || attempt build "$san_dir" "${wanted[@]}"
    check "$san_dir" -L '^(unit_tests|recipe_tests|small_model_tests)$'
fi

if [[ -n $clang ]]; then
    phase "clang: headers, umbrella, one fat program, warnings are errors"
    clang_dir=$build_dir/clang
    if attempt configure "$clang_dir" -DCMAKE_BUILD_TYPE=Release "-DCMAKE_CXX_COMPILER=$clang" -DRLGAF_WERROR=ON -DRLGAF_TORCH=OFF \
        -DRLGAF_BUILD_EXAMPLES=OFF -DRLGAF_BUILD_BENCHMARKS=OFF; then
        mapfile -t wanted < <(targets "$clang_dir" small_model_tests)
        [[ ${#wanted[@]} -eq 0 ]] || attempt build "$clang_dir" "${wanted[@]}"
        check "$clang_dir" -L '^(clang|small_model_tests)$'
    fi
else
    say "clang is not there: nothing was compiled with it"
fi

phase "done"
echo "$passed passed, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]
