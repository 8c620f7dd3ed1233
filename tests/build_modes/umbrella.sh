#!/usr/bin/env bash
# umbrella.sh SOURCE_DIR SCRATCH_DIR COMPILER
# rlgaf.hpp reaches nothing but this library and the standard one: neither a leaf nor an installed package.
set -euo pipefail
mkdir -p "$2"
cd "$2"
echo '#include "rlgaf/rlgaf.hpp"' > main.cpp
"$3" -std=c++20 -I "$1/include" -M main.cpp | tr -s ' \\\n' '\n' | grep / | xargs realpath > files

# The system's own folders below /usr/include; any other folder there belongs to a package.
system='^/usr/include/([^/]+$|(c\+\+|bits|sys|gnu|asm|asm-generic|linux|[a-z0-9_]+-linux-[a-z]+)/)|^/usr/lib/|^/usr/local/lib/gcc'
own="^$(realpath "$1")/include/rlgaf/(rlgaf.hpp|version.hpp|(core|math|policy_gradient|discriminator|reward_shaping|preference|backend|training)/)"
count=$(grep -cE "$own" files)
if grep -vE "$own|$system" files; then
    echo "the umbrella reaches the files above, which are neither floors nor the standard library"
    exit 1
fi
if grep -E '/c\+\+/.*/(iostream|regex|execution)$' files; then
    echo "the umbrella reaches the expensive headers above"
    exit 1
fi
echo "$count headers of the library, and the standard library"
