#pragma once
#include "rlgaf/interop/torch/action_model.hpp"
#include "rlgaf/interop/torch/sampler.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A policy over tokens made of a torch module.
/// Formula: log_prob = log softmax(logits / temperature)[action]; entropy in nats, of the whole distribution, also
///          where the row was sampled with top_k or top_p. A logit of -infinity has probability 0.
/// Units:   behaviour log-probs of a rollout are those of the truncated and renormalised distribution.
/// Cost:    a rollout feeds the whole prefix anew for every action, so it takes O(T^2) positions; rows that have ended
///          leave the batch.
/// Errors:  shape_error for logits that are not [B, T, V], for prompts that do not match the ids, for a row without
///          anything in front of its first action; numeric_error for an action outside the vocabulary.
/// Needs:   a causal module whose rows do not depend on each other (no batch normalisation). Samples are a function of
///          key and id as far as the module's logits do not depend on the batch size; torch's may, in their last bits.
template <class Module>
class torch_policy : public detail::torch_action_model<Module> {
    using model = detail::torch_action_model<Module>;
    using model::options_, model::model_;
    using net = typename model::net;
    static_assert(detail::torch_reads_tokens<net> || detail::torch_reads_lengths<net>,
                  "rlgaf: the torch module needs `torch::Tensor forward(torch::Tensor tokens)`: int64 [B, T] to logits "
                  "[B, T, V]");

public:
    using scalar = float;
    using batch = token_batch<float>;
    using prompts = token_prompts;
    static constexpr bool gives_entropy = true;
    static constexpr bool per_sample_streams = true;

    /// Refers to the holder's module; copies nothing.
    explicit torch_policy(std::shared_ptr<net> module, torch_policy_options options = {})
        : model(std::move(module), std::move(options), "torch_policy") {}
    explicit torch_policy(const Module& holder, torch_policy_options options = {}) requires(!std::same_as<Module, net>)
        : torch_policy(model::held(holder), std::move(options)) {}

    /// One row for each id. `ask` has a prompt for each id, or no rows.
    batch rollout(const prompts& ask, std::span<const std::uint64_t> id, const rollout_options& o, rng_key key) {
        if (rows(ask) > 0) detail::check_size(rows(ask), id.size(), "torch_policy::rollout", "prompts");
        std::vector<growing_row> row;
        for (const std::uint64_t sample : id) row.push_back({random_stream(key, stream::rollout, sample)});
        return grow(row, ask, o);
    }

    /// Continues row from[i].row of b after its first from[i].length actions. These keep their log-probs (evaluated
    /// where b has none) and count towards max_length. A prefix that has ended stays as it is.
    batch rollout_from(const batch& b, std::span<const prefix> from, std::span<const std::uint64_t> id,
                       const rollout_options& o, rng_key key) {
        detail::check_size(id.size(), from.size(), "torch_policy::rollout_from", "id");
        std::vector<float> known = b.log_prob;
        if (known.empty()) {
            known.resize(b.token.size());
            this->evaluate(b, {.log_prob = ragged_view<float>::packed(known.data(), b.offset)});
        }
        prompts ask;
        std::vector<growing_row> row;
        for (std::size_t i = 0; i < from.size(); ++i) {
            const std::size_t source = from[i].row, n = from[i].length;
            if (source >= rows(b) || n > b.length[source])
                fail(error_kind::shape, "torch_policy::rollout_from", "from[" + std::to_string(i) + "]",
                     "a prefix of one of " + std::to_string(rows(b)) + " rows",
                     std::to_string(n) + " actions of row " + std::to_string(source));
            growing_row& r = row.emplace_back(growing_row{random_stream(key, stream::rollout_from, id[i])});
            const auto first = static_cast<std::ptrdiff_t>(b.offset[source]), last = first + from[i].length;
            r.token.assign(b.token.begin() + first, b.token.begin() + last);
            r.log_prob.assign(known.begin() + first, known.begin() + last);
            if (!b.mask.empty()) r.mask.assign(b.mask.begin() + first, b.mask.begin() + last);
            if (n > 0 && r.token.back() == options_.end_token && (r.mask.empty() || r.mask.back())) r.ended = true;
            if (rows(b.prompt) > 0) ask.add(b.prompt.row(source));
        }
        return grow(row, ask, o, !b.mask.empty());
    }

    /// Ability clonable, where the module derives from torch::nn::Cloneable. The copy's optimiser starts anew.
    torch_policy clone() const requires detail::torch_clonable<net> {
        return torch_policy(model_.clone_net(), options_);
    }

private:
    struct growing_row {
        random_stream random;
        std::vector<std::int32_t> token{};
        std::vector<float> log_prob{};
        std::vector<std::uint8_t> mask{};
        bool ended = false;
    };

    batch grow(std::vector<growing_row>& row, const prompts& ask, const rollout_options& o, bool masked = false) {
        o.check();
        const torch::NoGradGuard no_grad;
        const std::size_t limit = o.max_length > 0 ? o.max_length : options_.max_length;
        const std::size_t chunk = options_.rollout_rows > 0 ? options_.rollout_rows : row.size();
        std::vector<std::size_t> alive;
        for (std::size_t first = 0; first < row.size(); first += chunk) {
            alive.clear();
            for (std::size_t i = first; i < std::min(first + chunk, row.size()); ++i) alive.push_back(i);
            for (;;) {
                std::erase_if(alive, [&](std::size_t i) { return row[i].ended || row[i].token.size() >= limit; });
                if (alive.empty()) break;
                act(row, alive, ask, o);
            }
        }
        batch out;
        for (growing_row& r : row) {
            if (masked) r.mask.resize(r.token.size(), 1);
            const bool whole = r.ended || (options_.end_token < 0 && r.token.size() >= options_.max_length);
            out.add(r.token, whole ? row_end::terminated : row_end::truncated, r.log_prob, o.temperature, r.mask);
        }
        out.prompt = ask;
        return out;
    }

    /// One more action for the rows that go on.
    void act(std::vector<growing_row>& row, const std::vector<std::size_t>& alive, const prompts& ask,
             const rollout_options& o) {
        const detail::torch_rows in(
            alive.size(), options_.start_token, options_.pad_token,
            [&](std::size_t i) { return rows(ask) > 0 ? ask.row(alive[i]) : std::span<const std::int32_t>{}; },
            [&](std::size_t i) -> const auto& { return row[alive[i]].token; });
        const std::int64_t* const length = in.lengths.template data_ptr<std::int64_t>();
        std::vector<std::int64_t> last(alive.size());
        for (std::size_t i = 0; i < alive.size(); ++i) {
            model::check_begin(length[i], alive[i]);
            last[i] = static_cast<std::int64_t>(i) * in.tokens.size(1) + length[i] - 1;
        }
        const torch::Tensor logits = model_.run(in, false);
        model::check_logits(logits, in.tokens);
        const torch::Tensor next = detail::torch_host(
            logits.reshape({-1, logits.size(2)}).index_select(0, detail::torch_tensor(last, logits)));
        const auto vocabulary = static_cast<std::size_t>(next.size(1));
        const float* const z = next.template data_ptr<float>();
        for (std::size_t i = 0; i < alive.size(); ++i) {
            growing_row& r = row[alive[i]];
            const double u = r.random.uniform(static_cast<std::uint32_t>(r.token.size()));
            const auto drawn = sampler_(std::span(z + i * vocabulary, vocabulary), o, u);
            r.token.push_back(drawn.token);
            r.log_prob.push_back(drawn.log_prob);
            r.ended = drawn.token == options_.end_token;
        }
    }

    detail::torch_sampler sampler_;
};

/// A holder gives the adapter of its type, a std::shared_ptr that of the module.
template <class Holder>
torch_policy(Holder, torch_policy_options = {}) -> torch_policy<Holder>;
template <class Net>
torch_policy(std::shared_ptr<Net>, torch_policy_options = {}) -> torch_policy<Net>;

}  // namespace rlgaf::inline RLGAF_ABI
