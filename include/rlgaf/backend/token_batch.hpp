#pragma once
#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/backend/demonstrations.hpp"
#include "rlgaf/backend/token_prompts.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A ready-made batch for policies over tokens. Rows are completions, packed; the end-of-sequence token is one of them.
/// Use it, or a type of your own.
template <class T>
struct token_batch {
    std::vector<std::int32_t> token;
    std::vector<T> log_prob;         ///< as sampled; empty for demonstrations
    std::vector<std::uint8_t> mask;  ///< 1: the policy's own action; empty: all are
    std::vector<std::size_t> offset = std::vector<std::size_t>(1);
    std::vector<std::uint32_t> length;
    std::vector<row_end> end;
    std::vector<double> temperature;  ///< that the row was sampled at
    token_prompts prompt;             ///< no rows where the policy has no prompts

    std::span<const std::int32_t> row(std::size_t i) const { return {token.data() + offset[i], length[i]}; }

    /// Adds one completion. Either every row has log-probs (a mask) or none has.
    /// Errors: shape_error.
    void add(std::span<const std::int32_t> tokens, row_end how, std::span<const T> log_probs = {},
             double sampled_at = 1, std::span<const std::uint8_t> masks = {}) {
        if (!log_probs.empty()) detail::check_size(log_probs.size(), tokens.size(), "token_batch::add", "log_probs");
        if (!masks.empty()) detail::check_size(masks.size(), tokens.size(), "token_batch::add", "masks");
        const std::size_t after = token.size() + tokens.size();
        if (!log_prob.empty() || !log_probs.empty())
            detail::check_size(log_prob.size() + log_probs.size(), after, "token_batch::add", "log_prob");
        if (!mask.empty() || !masks.empty())
            detail::check_size(mask.size() + masks.size(), after, "token_batch::add", "mask");
        detail::append(token, tokens);
        detail::append(log_prob, log_probs);
        detail::append(mask, masks);
        detail::append(offset, token.size());
        detail::append(length, static_cast<std::uint32_t>(tokens.size()));
        detail::append(end, how);
        detail::append(temperature, sampled_at);
    }

    template <class Archive>
    void visit(Archive& a) {
        a("token", token), a("log_prob", log_prob), a("mask", mask), a("offset", offset), a("length", length);
        a("end", end), a("temperature", temperature);
        prompt.visit(a);
    }

    /// Calls f(row, position, token before, token), all std::size_t, for every token in order; `start` is before the
    /// first.
    template <class F>
    void for_each(std::size_t start, F&& f) const {
        for (std::size_t i = 0; i < length.size(); ++i)
            for (std::size_t t = 0, before = start, now; t < length[i]; ++t, before = now) {
                now = static_cast<std::size_t>(token[offset[i] + t]);
                f(i, t, before, now);
            }
    }

    friend std::size_t rows(const token_batch& b) { return b.length.size(); }
    friend std::span<const std::uint32_t> lengths(const token_batch& b) { return detail::span_of(b.length); }
    friend std::span<const row_end> ends(const token_batch& b) { return detail::span_of(b.end); }
    friend ragged_view<const T> behaviour_log_prob(const token_batch& b) {
        return b.log_prob.empty() ? ragged_view<const T>{} : b.packed(b.log_prob);
    }
    friend mask_view mask(const token_batch& b) { return b.mask.empty() ? mask_view{} : b.packed(b.mask); }
    friend ragged_view<const std::int32_t> tokens(const token_batch& b) { return b.packed(b.token); }

    /// The picked rows, in that order; rows may repeat.
    friend token_batch select(const token_batch& b, std::span<const std::size_t> pick) {
        token_batch out;
        for (const std::size_t i : pick) out.add_row(b, i, b.length[i]);
        return out;
    }

    /// Rows of a, then rows of b. Log-probs stay only if both have them; a missing mask means all ones.
    /// Errors: shape_error if one has prompts and the other has none.
    friend token_batch concat(const token_batch& a, const token_batch& b) {
        if (rows(a) == 0) return b;
        if (rows(b) == 0) return a;
        if ((rows(a.prompt) > 0) != (rows(b.prompt) > 0))
            fail(error_kind::shape, "concat(token_batch)", "prompt", "prompts in both batches or in none",
                 "prompts in one");
        token_batch out = a;
        const auto append = []<class U>(std::vector<U>& to, const std::vector<U>& from) {
            detail::append(to, std::span<const U>(from));
        };
        append(out.token, b.token);
        if (a.log_prob.empty() || b.log_prob.empty())
            out.log_prob.clear();
        else
            append(out.log_prob, b.log_prob);
        if (!a.mask.empty() || !b.mask.empty()) {
            if (a.mask.empty()) out.mask.assign(a.token.size(), 1);
            if (b.mask.empty())
                out.mask.resize(out.mask.size() + b.token.size(), 1);
            else
                append(out.mask, b.mask);
        }
        for (std::size_t i = 1; i < b.offset.size(); ++i) out.offset.push_back(a.token.size() + b.offset[i]);
        append(out.length, b.length);
        append(out.end, b.end);
        append(out.temperature, b.temperature);
        for (std::size_t i = 0; i < rows(b.prompt); ++i) out.prompt.add(b.prompt.row(i));
        return out;
    }

    /// The picked rows, cut after `length` tokens, in that order; rows may repeat. A row that loses tokens counts as
    /// truncated. Prompts are kept.
    /// Errors: shape_error for a row that is not there and a length above the row's.
    friend token_batch prefixes(const token_batch& b, std::span<const prefix> cut) {
        token_batch out;
        for (const auto& [i, n] : cut) {
            if (i >= rows(b) || n > b.length[i]) [[unlikely]]
                fail(error_kind::shape, "prefixes(token_batch)", "cut", "a row of the batch and at most its length",
                     short_text("row ", i, ", length ", n));
            out.add_row(b, i, n);
        }
        return out;
    }

    /// Every token becomes, with `probability`, one drawn evenly from the vocabulary, its own among them; masked tokens
    /// too. Prompts stay, and so does the last token of a terminated row: it says that the row ended. Log-probs no
    /// longer apply and are dropped. Row i draws as sample i of stream::corruption.
    /// Errors: option_error unless probability is in [0, 1] and the vocabulary has 1 to 2^31 tokens.
    friend token_batch replace_tokens(const token_batch& b, double probability, std::size_t vocabulary, rng_key key) {
        detail::check_option(probability >= 0 && probability <= 1, "replace_tokens", "probability", "in [0, 1]",
                             probability);
        detail::check_option(vocabulary >= 1 && vocabulary <= (std::size_t{1} << 31), "replace_tokens", "vocabulary",
                             "1 to 2^31", static_cast<double>(vocabulary));
        token_batch out = b;
        out.log_prob.clear();
        for (std::size_t i = 0; i < rows(b); ++i) {
            const random_stream random(key, stream::corruption, i);
            const std::uint32_t last = b.end[i] == row_end::terminated && b.length[i] > 0 ? 1 : 0;
            for (std::uint32_t t = 0; t + last < b.length[i]; ++t)
                if (random.uniform(t) < probability)
                    out.token[b.offset[i] + t] = static_cast<std::int32_t>(random.below(vocabulary, t, 1));
        }
        return out;
    }

private:
    /// The first n tokens of row i of b, and its prompt.
    void add_row(const token_batch& b, std::size_t i, std::size_t n) {
        const auto of_row = [&]<class U>(const std::vector<U>& x) {
            return x.empty() ? std::span<const U>{} : std::span<const U>(x.data() + b.offset[i], n);
        };
        add(of_row(b.token), n < b.length[i] ? row_end::truncated : b.end[i], of_row(b.log_prob), b.temperature[i],
            of_row(b.mask));
        if (rows(b.prompt) > 0) prompt.add(b.prompt.row(i));
    }
    template <class U>
    ragged_view<const U> packed(const std::vector<U>& x) const {
        return ragged_view<const U>::packed(x.data(), detail::span_of(offset));
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
