#pragma once
#include "rlgaf/models/ngram/action_table.hpp"
#include "rlgaf/models/sample_action.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A table of logits and values, one row for each history of n - 1 tokens.
/// Formula: pi(token | history) = softmax(logits[context(history)] / temperature).
/// Shapes:  logits [(V + 1)^(n - 1), V], values [(V + 1)^(n - 1), 1]. Masked tokens are history, not actions.
/// Needs:   Prompts = no_prompts, or token_prompts: one prompt for each id of a rollout; prompts are history.
template <class T, class Prompts = no_prompts>
class ngram_policy : public detail::action_table<T> {
    using model = detail::action_table<T>;
    using model::options_, model::contexts_, model::logits_, model::row_;

public:
    using scalar = T;
    using batch = token_batch<T>;
    using prompts = Prompts;
    static constexpr bool gives_entropy = true;
    static constexpr bool gives_value = true;
    static constexpr bool per_sample_streams = true;
    static_assert(std::is_same_v<Prompts, no_prompts> || std::is_same_v<Prompts, token_prompts>);

    explicit ngram_policy(const ngram_policy_options& options) : model(options) {}

    /// Errors: shape_error unless there is a prompt for each id (where the policy has prompts).
    batch rollout(const prompts& asked, std::span<const std::uint64_t> id, const rollout_options& o, rng_key key) {
        o.check();
        batch out;
        if constexpr (std::is_same_v<Prompts, token_prompts>) {
            detail::check_size(rows(asked), id.size(), "ngram_policy::rollout", "prompts");
            out.prompt = asked;
        }
        const std::uint32_t limit = o.max_length == 0 ? options_.max_length : o.max_length;
        for (std::size_t i = 0; i < id.size(); ++i) {
            const random_stream random(key, stream::rollout, id[i]);
            token_.clear();
            log_prob_.clear();
            std::size_t context = contexts_.start();
            if (rows(out.prompt) > 0) context = contexts_.after(context, out.prompt.row(i), "ngram_policy::rollout");
            const row_end end = write_on(context, limit, o, random);
            out.add(token_, end, log_prob_, o.temperature);
        }
        return out;
    }

    /// Row i of the result begins with prefix i and ends after max_length tokens at most, the prefix included. A row
    /// that had ended stays as it is. What is kept keeps its log-probs (see beginnings).
    /// Errors: shape_error, option_error, numeric_error.
    batch rollout_from(const batch& b, std::span<const prefix> from, std::span<const std::uint64_t> id,
                       const rollout_options& o, rng_key key) {
        o.check();
        detail::check_size(from.size(), id.size(), "ngram_policy::rollout_from", "from");
        const std::uint32_t limit = o.max_length == 0 ? options_.max_length : o.max_length;
        const batch start = beginnings(b, from, limit, o, "ngram_policy::rollout_from");
        batch out;
        std::vector<std::uint8_t> included;
        for (std::size_t i = 0; i < id.size(); ++i) {
            std::size_t context = contexts_.start();
            if (rows(start.prompt) > 0)
                context = contexts_.after(context, start.prompt.row(i), "ngram_policy::rollout_from");
            context = contexts_.after(context, start.row(i), "ngram_policy::rollout_from");
            begin_with(start, i, token_, log_prob_, included);
            const row_end end = start.end[i] == row_end::terminated
                                    ? start.end[i]
                                    : write_on(context, limit, o, random_stream(key, stream::rollout_from, id[i]));
            if (!start.mask.empty()) included.resize(token_.size(), 1);
            out.add(token_, end, log_prob_, o.temperature, included);
        }
        out.prompt = start.prompt;
        return out;
    }

    /// The prefixes of b that are to be continued, with log-probs: b's, or where it has none the policy's own at the
    /// sampling temperature (masked tokens: NaN).
    batch beginnings(const batch& b, std::span<const prefix> from, std::uint32_t limit, const rollout_options& o,
                     const char* function) {
        batch start = prefixes(b, from);
        for (const std::uint32_t length : start.length)
            if (length > limit) [[unlikely]]
                fail(error_kind::shape, function, "from",
                     short_text("prefixes of at most ", limit, " tokens (max_length)"), short_text(length));
        if (start.log_prob.size() < start.token.size()) {
            start.temperature.assign(from.size(), o.temperature);
            start.log_prob.assign(start.token.size(), std::numeric_limits<T>::quiet_NaN());
            this->evaluate(start, {.log_prob = ragged_view<T>::packed(start.log_prob.data(), std::span(start.offset))});
        }
        return start;
    }
    /// Row i of `start` as vectors that can grow.
    static void begin_with(const batch& start, std::size_t i, std::vector<std::int32_t>& token,
                           std::vector<T>& log_prob, std::vector<std::uint8_t>& included) {
        const auto copy = [&](auto& to, const auto& whole) {
            const auto row =
                std::span(whole).subspan(whole.empty() ? 0 : start.offset[i], whole.empty() ? 0 : start.length[i]);
            to.assign(row.begin(), row.end());
        };
        copy(token, start.token);
        copy(log_prob, start.log_prob);
        copy(included, start.mask);
    }

    /// Draws one token after `context` and appends it with its log-prob; returns the next context.
    std::size_t act(std::size_t context, const rollout_options& o, double u, std::vector<std::int32_t>& token,
                    std::vector<T>& log_prob) {
        row_.resize(contexts_.vocabulary());
        log_softmax(logits_.row(context), o.temperature, std::span<T>(row_));
        const sampled_action drawn = sample_action(std::span<const T>(row_), o, u, order_, weight_);
        token.push_back(static_cast<std::int32_t>(drawn.action));
        log_prob.push_back(static_cast<T>(drawn.log_prob));
        return contexts_.after(context, token.back());
    }

    /// The same parameters, no gradients and an optimiser without memory, as if they were loaded from a file.
    ngram_policy clone() const {
        ngram_policy copy = *this;
        copy.discard();
        copy.optimizer_.forget();
        return copy;
    }

private:
    /// Adds tokens to token_ and log_prob_ until the row ends.
    row_end write_on(std::size_t context, std::uint32_t limit, const rollout_options& o, const random_stream& random) {
        const auto ended = [&] { return !token_.empty() && token_.back() == options_.end_token; };
        while (token_.size() < limit && !ended())
            context = act(context, o, random.uniform(static_cast<std::uint32_t>(token_.size())), token_, log_prob_);
        return ended() ? row_end::terminated : row_end::truncated;
    }

    std::vector<T> log_prob_;
    std::vector<std::int32_t> token_;
    std::vector<std::size_t> order_;
    std::vector<double> weight_;
};

}  // namespace rlgaf::inline RLGAF_ABI
