#!/usr/bin/env bash
# floors.sh SOURCE_DIR: checks who includes whom under include/rlgaf.
#
# The umbrella has every header of the floors but the conformance kit.
# Floors: core 0, math 1, policy_gradient discriminator reward_shaping preference 2, backend 3, training 4.
# A file includes its own floor or lower; within floor 2 no folder includes another; no floor includes a leaf; leaves
# may include io/, data/, interop/, themselves and every floor. Long headers are reported, not refused.
set -euo pipefail
cd "$1/include"

find rlgaf -name '*.hpp' | LC_ALL=C sort | xargs awk '
function folder_of(path,   part) { split(path, part, "/"); return part[3] == "" ? "" : part[2] }
function problem(text) { print FILENAME ":" FNR ": " text; ++problems }
BEGIN {
    floor["core"] = 0; floor["math"] = 1; floor["backend"] = 3; floor["training"] = 4
    floor["policy_gradient"] = floor["discriminator"] = floor["reward_shaping"] = floor["preference"] = 2
    split("evaluation data io interop models distributed", name, " ")
    for (i in name) leaf[name[i]] = 1
    umbrella = "rlgaf/rlgaf.hpp"
}
FNR == 1 {
    ++files
    from = folder_of(FILENAME)
    on_floor = (from in floor)
    if (!on_floor && !(from in leaf) && FILENAME != umbrella && FILENAME != "rlgaf/version.hpp")
        problem("folder \"" from "\" is neither a floor nor a leaf")
    if (on_floor) header[FILENAME] = 1
    guarded[FILENAME] = 0
}
/^#pragma once/ { guarded[FILENAME] = 1 }
{ length_of[FILENAME] = FNR }
/^[ \t]*#[ \t]*include[ \t]*"/ {
    match($0, /"[^"]*"/)
    target = substr($0, RSTART + 1, RLENGTH - 2)
    if (target !~ /^rlgaf\//) { problem("write the whole path, \"rlgaf/...\", instead of \"" target "\""); next }
    to = folder_of(target)
    if (FILENAME == umbrella) {
        included[target] = 1
        if (!(to in floor) && target != "rlgaf/version.hpp") problem("the umbrella has floors only, not " target)
        next
    }
    if (target == "rlgaf/version.hpp") next
    if (target == umbrella) { if (on_floor) problem("a floor does not include the umbrella"); next }
    if (on_floor) {
        if (!(to in floor)) problem("a floor does not include the leaf " target)
        else if (floor[to] > floor[from]) problem(from " (floor " floor[from] ") includes " to " (floor " floor[to] ")")
        else if (floor[to] == floor[from] && to != from) problem(from " includes its neighbour " to)
    } else if ((to in leaf) && to != from && to != "io" && to != "data" && to != "interop") {
        problem("the leaf " from " includes the leaf " to)
    }
}
/^[ \t]*#[ \t]*include[ \t]*</ {
    match($0, /<[^>]*>/)
    target = substr($0, RSTART + 1, RLENGTH - 2)
    if ((on_floor || FILENAME == umbrella) && target ~ /^(iostream|regex|execution)$|[\/.]/)
        problem("floors do without <" target ">")
    if (target ~ /^(torch|ATen|c10)\// && FILENAME !~ /^rlgaf\/interop\/torch(\/[a-z_]+)?\.hpp$/)
        problem("only interop/torch.hpp and interop/torch/ include torch")
}
END {
    for (path in header)
        if (!(path in included) && path !~ /\/conformance/) { print "rlgaf.hpp: does not include " path; ++problems }
    for (path in included)
        if (!(path in header) && path != "rlgaf/version.hpp") { print "rlgaf.hpp: no such header: " path; ++problems }
    for (path in guarded)
        if (!guarded[path]) { print path ": no #pragma once"; ++problems }
    for (path in length_of)
        if (length_of[path] > 150 && path != umbrella) print "note: " path " has " length_of[path] " lines, over 150"
    print files " headers, " problems + 0 " problems"
    exit problems > 0
}'
