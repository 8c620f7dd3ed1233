#!/usr/bin/env bash
# check_readme.sh SOURCE_DIR: the README says what is there. Its first example is the file of that name, byte for byte and
# at most 60 lines; every header in the table of algorithms exists; every algorithm's header is in the table, and its row has
# a paper if the header names one.
set -uo pipefail
cd "$1" || exit 1
failures=0
complain() { echo "README: $*"; failures=$((failures + 1)); }

# The block of code that follows the line `<!-- FILE -->` at once.
block_after() {
    awk -v mark="<!-- $1 -->" '
        inside && /^```$/ { closed = 1; exit }
        inside { print; next }
        marked { if ($0 == "```cpp") inside = 1; else exit; next }
        $0 == mark { marked = 1 }
        END { exit !closed }' README.md
}

example=examples/01_own_model.cpp
if [[ $(grep -cxF "<!-- $example -->" README.md) -ne 1 ]]; then
    complain "there must be one line '<!-- $example -->'"
elif ! block_after "$example" > /dev/null; then
    complain "'<!-- $example -->' must be followed by a block of \`\`\`cpp that ends"
elif ! difference=$(block_after "$example" | diff - "$example"); then
    complain "the block after '<!-- $example -->' (<) is not $example (>):"
    echo "$difference"
fi
lines=$(wc -l < "$example")
[[ $lines -le 60 ]] || complain "$example has $lines lines; 60 are promised"

while read -r picture; do
    [[ -f $picture ]] || complain "the picture $picture does not exist"
done < <(grep -oE '!\[[^]]*\]\([^)]+\)' README.md | sed -E 's/.*\(([^)]+)\)/\1/')

table=$(grep -E '^\|' README.md)
mapfile -t named < <(grep -oE '`[A-Za-z0-9_/]+\.hpp`' <<< "$table" | tr -d '`' | sort -u)
[[ ${#named[@]} -ge 10 ]] || complain "only ${#named[@]} headers are in the table of algorithms"
for header in "${named[@]}"; do
    [[ -f include/rlgaf/$header ]] || complain "include/rlgaf/$header is in the table but does not exist"
done

cd include/rlgaf || exit 1
mapfile -t components < <({
    grep -rlE '^ *using role = |^/// Source: ' policy_gradient discriminator reward_shaping --include='*.hpp'
    find preference -name '*.hpp' ! -name terms.hpp
} | grep -v '/detail/' | sort -u)
[[ ${#components[@]} -ge 10 ]] || complain "only ${#components[@]} headers with components were found"
for header in "${components[@]}"; do
    grep -qxF "$header" <<< "$(printf '%s\n' "${named[@]}")" || complain "$header defines a component but is not in the table"
done

while read -r line; do
    paper=$(cut -d '|' -f 4 <<< "$line" | tr -d ' ')
    [[ -z $paper ]] || continue
    for header in $(grep -oE '`[A-Za-z0-9_/]+\.hpp`' <<< "$line" | tr -d '`'); do
        ! grep -q '^/// *Source:.*arXiv' "$header" || complain "$header names a paper, its row in the table does not"
    done
done <<< "$table"

echo "README: ${#named[@]} headers named, ${#components[@]} with components; complaints: $failures"
[[ $failures -eq 0 ]]
