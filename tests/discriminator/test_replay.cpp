#include "rlgaf/discriminator/replay.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::replay_buffer;

namespace {
/// A batch of numbered rows.
struct numbers {
    std::vector<int> row;
};
std::size_t rows(const numbers& b) { return b.row.size(); }
numbers select(const numbers& b, std::span<const std::size_t> which) {
    numbers out;
    for (const std::size_t r : which) out.row.push_back(b.row.at(r));
    return out;
}
numbers concat(const numbers& a, const numbers& b) {
    numbers out = a;
    out.row.insert(out.row.end(), b.row.begin(), b.row.end());
    return out;
}
}  // namespace

TEST_CASE("replay_buffer keeps the newest rows, first in, first out") {
    replay_buffer<numbers> buffer(5);
    REQUIRE(buffer.capacity() == 5);
    int next = 0;
    for (const int size : {2, 2, 0, 3, 1, 7, 4, 5}) {
        numbers fresh;
        for (int i = 0; i < size; ++i) fresh.row.push_back(next++);
        buffer.add(fresh);
        REQUIRE(buffer.size() == static_cast<std::size_t>(next < 5 ? next : 5));
        std::vector<int> seen(static_cast<std::size_t>(next), 0);
        const numbers drawn = buffer.sample(400, {.seed = 1, .step = static_cast<std::uint32_t>(next)});
        for (const int r : drawn.row) ++seen[static_cast<std::size_t>(r)];
        for (int r = 0; r < next; ++r) REQUIRE((seen[static_cast<std::size_t>(r)] > 0) == (r >= next - 5));
    }
}

TEST_CASE("replay_buffer with an age limit keeps the rows of so many calls of add") {
    for (const std::size_t age : {1u, 2u, 5u}) {
        replay_buffer<numbers> buffer(1000, age);
        for (int call = 0; call < 12; ++call) {
            buffer.add({{call, call, call}});
            const int oldest = std::max(0, call + 1 - static_cast<int>(age));
            REQUIRE(buffer.size() == 3 * static_cast<std::size_t>(call + 1 - oldest));
            std::vector<int> seen(12, 0);
            for (const int r : buffer.sample(200, {.seed = age, .step = static_cast<std::uint32_t>(call)}).row)
                ++seen[static_cast<std::size_t>(r)];
            for (int c = 0; c < 12; ++c) REQUIRE((seen[static_cast<std::size_t>(c)] > 0) == (c >= oldest && c <= call));
        }
    }
}

TEST_CASE("replay_buffer draws every kept row equally often, and the same rows for the same key") {
    replay_buffer<numbers> buffer(10);
    buffer.add({{0, 1, 2}});
    buffer.add({{3}});
    buffer.add({{4, 5}});
    const std::size_t n = 60000;
    const numbers drawn = buffer.sample(n, {.seed = 9, .step = 3});
    REQUIRE(rows(drawn) == n);
    std::vector<double> count(6);
    for (const int r : drawn.row) ++count[static_cast<std::size_t>(r)];
    double chi = 0;
    for (const double c : count) chi += (c - 10000) * (c - 10000) / 10000;
    REQUIRE(chi < 20.5);  // 5 degrees of freedom, p = 0.001
    REQUIRE(buffer.sample(20, {.seed = 9, .step = 3}).row == buffer.sample(20, {.seed = 9, .step = 3}).row);
    REQUIRE(buffer.sample(20, {.seed = 9, .step = 3}).row != buffer.sample(20, {.seed = 9, .step = 4}).row);
}

TEST_CASE("replay_buffer: no draws, nothing kept, capacity 0") {
    replay_buffer<numbers> buffer(2);
    REQUIRE(message_of<rlgaf::option_error>([&] { buffer.sample(1, {}); }) ==
            "rlgaf::replay_buffer::sample: n: expected a buffer with rows, got an empty one");
    buffer.add({{7}});
    REQUIRE(buffer.sample(0, {}).row.empty());
    replay_buffer<numbers> nothing(0);
    nothing.add({{1, 2}});
    REQUIRE(nothing.size() == 0);
}
