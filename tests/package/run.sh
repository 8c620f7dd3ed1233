#!/usr/bin/env bash
# run.sh SOURCE_DIR SCRATCH_DIR COMPILER CMAKE GENERATOR add_subdirectory|fetch_content|find_package
# Configures, builds and runs the consumer project of that name, from nothing.
set -euo pipefail
source=$1 scratch=$2 compiler=$3 cmake=$4 generator=$5 way=$6
rm -rf "$scratch"
mkdir -p "$scratch"
common=(-G "$generator" "-DCMAKE_CXX_COMPILER=$compiler" -DCMAKE_BUILD_TYPE=Debug)

if [[ $way == find_package ]]; then
    "$cmake" -S "$source" -B "$scratch/rlgaf" "${common[@]}" "-DCMAKE_INSTALL_PREFIX=$scratch/prefix" \
        -DRLGAF_BUILD_TESTS=OFF -DRLGAF_BUILD_EXAMPLES=OFF -DRLGAF_BUILD_BENCHMARKS=OFF
    "$cmake" --install "$scratch/rlgaf" > "$scratch/install.log"
    common+=("-DCMAKE_PREFIX_PATH=$scratch/prefix")
    # What is installed is all the headers, and says nothing of where it was built.
    diff <(cd "$source/include" && find rlgaf -name '*.hpp' | sort) <(cd "$scratch/prefix/include" && find . -type f | cut -c 3- | sort)
    if grep -rF -e "$source" "$scratch/prefix"; then
        echo "an installed file names the source folder"
        exit 1
    fi
fi

"$cmake" -S "$source/tests/package/$way" -B "$scratch/consumer" "${common[@]}" "-DRLGAF_SOURCE_DIR=$source" \
    -DCMAKE_EXPORT_COMPILE_COMMANDS=ON
"$cmake" --build "$scratch/consumer"
"$scratch/consumer/consumer"
if grep -E -e ' -(W|O[0-9s]|march|ffast|fno|DRLGAF|DNDEBUG)' "$scratch/consumer/compile_commands.json"; then
    echo "a flag of ours has reached the consumer"
    exit 1
fi
if [[ $way != find_package && -n $(find "$scratch/consumer/rlgaf" "$scratch/consumer/_deps" -name '*.o' 2> /dev/null) ]]; then
    echo "our own programs were built in the consumer's project"
    exit 1
fi

if [[ $way == find_package ]] && command -v pkg-config > /dev/null; then
    cat > "$scratch/main.cpp" <<'CPP'
#include <rlgaf/rlgaf.hpp>
int main() { return rlgaf::philox4x32({0, 0, 0, 0}, {0, 0})[0] == 0x6627e8d5u ? 0 : 1; }
CPP
    export PKG_CONFIG_PATH="$scratch/prefix/share/pkgconfig"
    pkg-config --exists 'rlgaf >= 0.1'
    # shellcheck disable=SC2046
    "$compiler" -std=c++20 $(pkg-config --cflags rlgaf) "$scratch/main.cpp" -o "$scratch/main"
    "$scratch/main"
    echo "pkg-config: ok"
fi
