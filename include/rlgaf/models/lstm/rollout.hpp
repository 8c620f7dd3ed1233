#pragma once
#include "rlgaf/models/lstm/sampler.hpp"
#include "rlgaf/models/lstm/work_pool.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// Continues rows until they end. Keeps its memory from one rollout to the next.
template <class T>
class token_rollout {
public:
    struct task {
        const token_batch<T>& start;  ///< one row for each id; terminated ones have ended
        std::span<const std::uint64_t> id;
        const rollout_options& options;
        rng_key key;
        stream which;
        std::uint32_t most;
        std::int32_t end_token;
    };

    /// Errors: shape_error for rows longer than `most`; numeric_error; option_error.
    token_batch<T> run(const packed_body<T>& body, const softmax_head<T>& head, work_pool<work<T>>& pool,
                       const task& t) {
        const sizes& n = body.size();
        const std::size_t count = t.id.size();
        if (taken_.size() < count) taken_.resize(count);
        for (std::size_t i = 0; i < count; ++i) taken_[i].clear();
        std::unique_ptr<work<T>> w = plan(pool, t, n);
        const bool whole_table = n.vocabulary <= 4096;
        if (whole_table) {
            every_token_.resize(n.vocabulary);
            std::iota(every_token_.begin(), every_token_.end(), 0);
            body.table(every_token_, embedding_.need(n.embedding * n.vocabulary),
                       table_.need(4 * body.hidden() * n.vocabulary));
        }
        if (samplers_.size() < w->parts()) samplers_.resize(w->parts());
        sampling<T> job{body,   head,    t.start, t.id,        t.options,
                        t.key,  t.which, t.most,  t.end_token, whole_table ? table_.data() : nullptr,
                        taken_, ended_};
        for_each_part(w->parts(), [&](std::size_t i) {
            w->build(i);
            samplers_[i].run(job, w->shards[i]);
        });
        pool.give_back(std::move(w));
        return joined(t);
    }

private:
    /// The rows that go on.
    std::unique_ptr<work<T>> plan(work_pool<work<T>>& pool, const task& t, const sizes& n) {
        const std::size_t count = t.id.size();
        ended_.assign(count, 0);
        std::unique_ptr<work<T>> w = pool.take();
        w->inverse_temperature.assign(count, static_cast<T>(1 / t.options.temperature));
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint32_t length = t.start.length[i];
            if (length > t.most) [[unlikely]]
                fail(error_kind::shape, "lstm_policy::rollout_from", "from",
                     "prefixes of at most max_length = " + std::to_string(t.most) + " actions", std::to_string(length));
            ended_[i] = t.start.end[i] == row_end::terminated || (length > 0 && t.start.row(i).back() == t.end_token);
            if (ended_[i] || length == t.most) continue;
            sequence& s = add_sequence(*w, t.start, i, n.vocabulary, "lstm_policy::rollout");
            s.depth += length;
            s.out_first = s.depth - 1;
            s.out_count = 1;
        }
        w->plan(threads(), n, t.most);
        return w;
    }

    token_batch<T> joined(const task& t) const {
        const token_batch<T>& start = t.start;
        token_batch<T> out;
        std::vector<std::int32_t> token;
        std::vector<T> log_prob;
        std::vector<std::uint8_t> mask;
        for (std::size_t i = 0; i < t.id.size(); ++i) {
            token.assign(start.row(i).begin(), start.row(i).end());
            const auto old = start.log_prob.empty() ? std::span<const T>{}
                                                    : std::span(start.log_prob).subspan(start.offset[i], token.size());
            log_prob.assign(old.begin(), old.end());
            mask.clear();
            if (!start.mask.empty()) {
                mask.assign(start.mask.begin() + static_cast<std::ptrdiff_t>(start.offset[i]),
                            start.mask.begin() + static_cast<std::ptrdiff_t>(start.offset[i] + token.size()));
                mask.resize(token.size() + taken_[i].size(), 1);
            }
            for (const auto& [action, value] : taken_[i]) token.push_back(action), log_prob.push_back(value);
            out.add(token, ended_[i] ? row_end::terminated : row_end::truncated, log_prob, t.options.temperature, mask);
        }
        out.prompt = start.prompt;
        return out;
    }

    std::vector<std::vector<std::pair<std::int32_t, T>>> taken_;
    std::vector<std::uint8_t> ended_;
    std::vector<std::int32_t> every_token_;
    scratch<T> embedding_, table_;
    std::vector<sampler<T>> samplers_;
};

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
