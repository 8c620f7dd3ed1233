#pragma once
#include "rlgaf/models/ngram.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A tool for tests and examples: answers one token that prompt and query determine, or, at times, any.
/// Formula: reply = first + (sum of prompt + sum of query) mod count; with probability `noise` uniform over those.
struct lookup_tool {
    std::int32_t first = 2;  ///< lowest token that it answers; >= 0
    std::int32_t count = 2;  ///< how many different answers; >= 1
    double noise = 0;        ///< in [0, 1]

    void operator()(std::span<const std::int32_t> prompt, std::span<const std::int32_t> query,
                    const random_stream& random, std::vector<std::int32_t>& reply) const {
        detail::check_option(count >= 1, "lookup_tool", "count", "1 or more", count);
        std::uint64_t which = 0;
        for (const std::int32_t t : prompt) which += static_cast<std::uint64_t>(t);
        for (const std::int32_t t : query) which += static_cast<std::uint64_t>(t);
        const std::uint64_t n = static_cast<std::uint64_t>(count);
        if (random.uniform(0) < noise) which = random.below(n, 1);
        reply.push_back(first + static_cast<std::int32_t>(which % n));
    }
};

struct two_turn_options {
    ngram_policy_options model{};  ///< the table; its max_length counts the tool's tokens too
    std::int32_t send_token = 1;   ///< ends the query; in 0 .. vocabulary - 1 and not the end token
    std::uint32_t max_query = 2;   ///< tokens after which the tool is asked anyway, the send token included; >= 1

    void check() const {
        model.check();
        detail::check_option(send_token >= 0 && static_cast<std::size_t>(send_token) < model.shape.vocabulary &&
                                 send_token != model.end_token,
                             "two_turn_policy", "send_token", "a token other than the end token", send_token);
        detail::check_option(max_query >= 1, "two_turn_policy", "max_query", "1 or more", max_query);
    }
};

/// A tabular policy with a tool turn: it writes a query, the tool replies, it answers with the reply in sight.
/// A row is query, reply, answer. The reply is masked: it is history, not action, its log-prob is NaN so that reading
/// it shows, and its random numbers come from stream::environment. The end token ends the row in either turn.
/// Needs: a tool callable as tool(prompt, query, random_stream, reply) that appends tokens of the vocabulary to
///        `reply` and draws what is random in it from the stream alone.
template <class T, class Tool = lookup_tool>
class two_turn_policy {
public:
    using scalar = T;
    using batch = token_batch<T>;
    using prompts = token_prompts;
    using model_type = ngram_policy<T, token_prompts>;
    using tape = typename model_type::tape;
    static constexpr bool gives_entropy = true;
    static constexpr bool gives_value = true;
    static constexpr bool per_sample_streams = true;

    explicit two_turn_policy(const two_turn_options& options, Tool tool = {})
        : options_((options.check(), options)), model_(options.model), tool_(std::move(tool)) {}

    /// Errors: shape_error unless there is a prompt for each id; numeric_error for a token outside the vocabulary.
    batch rollout(const prompts& asked, std::span<const std::uint64_t> id, const rollout_options& o, rng_key key) {
        o.check();
        detail::check_size(rows(asked), id.size(), "two_turn_policy::rollout", "prompts");
        const std::uint32_t limit = o.max_length == 0 ? options_.model.max_length : o.max_length;
        batch out;
        for (std::size_t i = 0; i < id.size(); ++i) {
            token_.clear();
            log_prob_.clear();
            mask_.clear();
            const row_end end = run(asked.row(i), limit, o, random_stream(key, stream::rollout, id[i]),
                                    random_stream(key, stream::environment, id[i]));
            out.add(token_, end, log_prob_, o.temperature, mask_);
        }
        out.prompt = asked;
        return out;
    }
    /// As of ngram_policy. A prefix that ends the query has the tool asked anew; its random numbers then are those of
    /// sample 2^47 + id. Errors: shape_error also for a prefix that ends within a reply.
    batch rollout_from(const batch& b, std::span<const prefix> from, std::span<const std::uint64_t> id,
                       const rollout_options& o, rng_key key) {
        o.check();
        detail::check_size(from.size(), id.size(), "two_turn_policy::rollout_from", "from");
        const std::uint32_t limit = o.max_length == 0 ? options_.model.max_length : o.max_length;
        const batch start = model_.beginnings(b, from, limit, o, "two_turn_policy::rollout_from");
        detail::check_size(rows(start.prompt), id.size(), "two_turn_policy::rollout_from", "prompts of the batch");
        batch out;
        for (std::size_t i = 0; i < id.size(); ++i) {
            const auto [row, length] = from[i];
            model_type::begin_with(start, i, token_, log_prob_, mask_);
            if (mask_.empty()) mask_.assign(token_.size(), 1);
            if (length > 0 && length < b.length[row] && !mask_.back() && !mask(b).row(row)[length]) [[unlikely]]
                fail(error_kind::shape, "two_turn_policy::rollout_from", "from", "prefixes with whole replies",
                     short_text("row ", row, ", length ", length));
            const row_end end =
                start.end[i] == row_end::terminated
                    ? start.end[i]
                    : run(start.prompt.row(i), limit, o, random_stream(key, stream::rollout_from, id[i]),
                          random_stream(key, stream::environment, std::uint64_t{1} << 47 | id[i]));
            out.add(token_, end, log_prob_, o.temperature, mask_);
        }
        out.prompt = start.prompt;
        return out;
    }
    void evaluate(const batch& b, policy_outputs<T> out) { model_.evaluate(b, out); }
    tape forward(const batch& b, policy_outputs<T> out) { return model_.forward(b, out); }
    void backward(tape&& taped, policy_cotangents<T> c) { model_.backward(std::move(taped), c); }
    step_report step(const step_options& o) { return model_.step(o); }
    template <class Archive>
    void visit(Archive& a) {
        model_.visit(a);
    }
    void discard() { model_.discard(); }
    std::array<parameter_block<T>, 2> parameters() { return model_.parameters(); }
    /// The same parameters, no gradients and an optimiser without memory, as if they were loaded from a file.
    two_turn_policy clone() const {
        two_turn_policy copy = *this;
        copy.model_ = model_.clone();
        return copy;
    }
    model_type& model() { return model_; }
    const Tool& tool() const { return tool_; }

private:
    /// Writes on in token_, log_prob_ and mask_ until the row ends.
    row_end run(std::span<const std::int32_t> prompt, std::uint32_t limit, const rollout_options& o,
                const random_stream& random, const random_stream& tools) {
        const ngram_contexts& contexts = model_.contexts();
        std::size_t context = contexts.after(contexts.start(), prompt, "two_turn_policy::rollout");
        context = contexts.after(context, token_, "two_turn_policy::rollout");
        std::size_t query = 0;  // tokens of it so far
        const auto complete = [&] {
            return query > 0 && (token_[query - 1] == options_.send_token || query == options_.max_query);
        };
        while (query < token_.size() && !complete()) ++query;
        bool asked = query < token_.size();
        while (token_.size() < limit) {
            if (!asked && complete()) {
                asked = true;
                reply_.clear();
                tool_(prompt, std::span<const std::int32_t>(token_), tools, reply_);
                reply_.resize(std::min<std::size_t>(reply_.size(), limit - token_.size()));
                context = contexts.after(context, reply_, "two_turn_policy::rollout (tool)");
                token_.insert(token_.end(), reply_.begin(), reply_.end());
                log_prob_.resize(token_.size(), std::numeric_limits<T>::quiet_NaN());
                mask_.resize(token_.size(), 0);
                continue;
            }
            const auto place = static_cast<std::uint32_t>(token_.size());
            context = model_.act(context, o, random.uniform(place), token_, log_prob_);
            mask_.push_back(1);
            if (token_.back() == options_.model.end_token) return row_end::terminated;
            if (!asked) ++query;
        }
        return row_end::truncated;
    }

    two_turn_options options_;
    model_type model_;
    Tool tool_;
    std::vector<std::int32_t> token_, reply_;
    std::vector<T> log_prob_;
    std::vector<std::uint8_t> mask_;
};

}  // namespace rlgaf::inline RLGAF_ABI
