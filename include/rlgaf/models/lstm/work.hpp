#pragma once
#include <string>

#include "rlgaf/backend/token_batch.hpp"
#include "rlgaf/models/lstm/body.hpp"
#include "rlgaf/models/lstm/shard.hpp"
#include "rlgaf/models/lstm/threads.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// The rows of a batch, cut into shards.
template <class T>
struct work {
    std::vector<std::int32_t> input;
    std::vector<sequence> rows;  ///< sorted
    std::vector<std::uint32_t> shared;
    std::vector<std::size_t> cut = {0};
    std::vector<shard<T>> shards;
    std::vector<T> inverse_temperature;  ///< [B]
    std::vector<std::uint32_t> length;   ///< [B], actions
    std::vector<std::size_t> first;      ///< [B], actions of the rows before; only with logits that are shown
    std::vector<T> shown, d_shown;       ///< [actions, vocabulary], tempered logits and their gradient; or empty

    std::size_t parts() const { return cut.size() - 1; }
    void clear() {
        input.clear();
        rows.clear();
    }

    /// Sorts the rows and cuts them into at most `parts` runs of about the same number of new states, of which each row
    /// will have `later` more.
    void plan(std::size_t parts, const sizes& n, std::size_t later = 0) {
        const auto inputs = [&](const sequence& s) { return std::span(input).subspan(s.first, s.depth); };
        std::sort(rows.begin(), rows.end(), [&](const sequence& a, const sequence& b) {
            if (a.key != b.key) return a.key < b.key;
            const auto x = inputs(a), y = inputs(b);
            const auto at = std::mismatch(x.begin(), x.end(), y.begin(), y.end());
            if (at.first != x.end() && at.second != y.end()) return *at.first < *at.second;
            if (x.size() != y.size()) return x.size() < y.size();
            return a.row < b.row;
        });
        shared.assign(rows.size(), 0);
        std::size_t total = 0;
        for (std::size_t i = 0; i < rows.size(); ++i) {
            if (i > 0 && rows[i].key == rows[i - 1].key) {
                const auto x = inputs(rows[i - 1]), y = inputs(rows[i]);
                shared[i] =
                    static_cast<std::uint32_t>(std::mismatch(x.begin(), x.end(), y.begin(), y.end()).first - x.begin());
            }
            total += rows[i].depth - shared[i] + later;
        }
        // A part is worth a thread from about ten microseconds on.
        parts = std::clamp<std::size_t>(total * n.hidden * (4 * n.hidden + n.vocabulary) / 500000, 1, parts);
        cut.assign(1, 0);
        std::size_t done = 0;
        for (std::size_t i = 0; i < rows.size(); ++i) {
            done += rows[i].depth - shared[i] + later;
            if (done * parts >= total * cut.size() && cut.size() < parts) cut.push_back(i + 1);
        }
        while (cut.size() <= parts) cut.push_back(rows.size());
        if (shards.size() < parts) shards.resize(parts);
        vocabulary_ = n.vocabulary;
    }
    /// Builds the tree of part i; parts may be built at the same time.
    void build(std::size_t i) {
        shards[i].tree.assign(std::span(rows).subspan(cut[i], cut[i + 1] - cut[i]),
                              std::span(shared).subspan(cut[i], cut[i + 1] - cut[i]), input, vocabulary_);
    }

private:
    std::size_t vocabulary_ = 0;
};

/// Errors: numeric_error for a token out of range.
inline void check_tokens(std::span<const std::int32_t> tokens, std::size_t vocabulary, const char* function,
                         const char* argument) {
    for (const std::int32_t token : tokens)
        if (token < 0 || static_cast<std::size_t>(token) >= vocabulary) [[unlikely]]
            fail(error_kind::numeric, function, argument, short_text("tokens in 0 .. ", vocabulary - 1),
                 short_text(token));
}

/// Appends start token, prompt and completion of row i of the batch; the caller fills in what is wanted.
/// Errors: shape_error if there are prompts but not one a row; numeric_error for a token out of range.
template <class T>
sequence& add_sequence(work<T>& w, const token_batch<T>& b, std::size_t i, std::size_t vocabulary,
                       const char* function) {
    sequence s;
    s.first = w.input.size();
    s.row = static_cast<std::uint32_t>(i);
    w.input.push_back(static_cast<std::int32_t>(vocabulary));
    const auto append = [&](std::span<const std::int32_t> tokens, const char* argument) {
        for (const std::int32_t token : tokens) {
            if (token < 0 || static_cast<std::size_t>(token) >= vocabulary) [[unlikely]]
                fail(error_kind::numeric, function, std::string(argument) + " of row " + std::to_string(i),
                     "tokens in 0 .. " + std::to_string(vocabulary - 1), std::to_string(token));
            w.input.push_back(token);
        }
    };
    if (rows(b.prompt) > 0) {
        check_size(rows(b.prompt), rows(b), function, "batch.prompt");
        append(b.prompt.row(i), "batch.prompt");
    }
    s.depth = static_cast<std::uint32_t>(w.input.size() - s.first);
    append(b.row(i), "batch.token");
    w.rows.push_back(s);
    return w.rows.back();
}

/// What is wanted of a row's states: those that its actions are drawn from. The last action is not read.
/// Errors: as add_sequence.
template <class T>
sequence& add_states_before_actions(work<T>& w, const token_batch<T>& b, std::size_t i, std::size_t vocabulary,
                                    const char* function) {
    sequence& s = add_sequence(w, b, i, vocabulary, function);
    s.out_first = s.depth - 1;
    s.out_count = b.length[i];
    s.depth += b.length[i] - 1;
    return s;
}

/// Errors: shape_error unless x is empty or has a number for each action of the rows.
template <class T>
void check_cotangent(const work<T>& w, const ragged_view<const T>& x, const char* function, const char* argument) {
    if (x.empty()) return;
    check_size(x.rows(), w.length.size(), function, argument);
    for (std::size_t i = 0; i < w.length.size(); ++i)
        if (x.length(i) != w.length[i]) [[unlikely]]
            fail(error_kind::shape, function, std::string(argument) + " row " + std::to_string(i),
                 std::to_string(w.length[i]) + " tokens", std::to_string(x.length(i)));
}

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
