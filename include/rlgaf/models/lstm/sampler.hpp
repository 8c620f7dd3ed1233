#pragma once
#include "rlgaf/math/categorical.hpp"
#include "rlgaf/models/lstm/softmax_head.hpp"
#include "rlgaf/models/lstm/through_time.hpp"
#include "rlgaf/models/lstm/truncation.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// What the threads of a rollout share.
template <class T>
struct sampling {
    const packed_body<T>& body;
    const softmax_head<T>& head;
    const token_batch<T>& start;
    std::span<const std::uint64_t> id;
    const rollout_options& options;
    rng_key key;
    stream which;
    std::uint32_t most;  ///< actions a row
    std::int32_t end_token;
    const T* table;                                               ///< of every token [4 hidden, vocabulary], or null
    std::vector<std::vector<std::pair<std::int32_t, T>>>& taken;  ///< new actions and their log-probs, by row
    std::vector<std::uint8_t>& ended;                             ///< by row
};

/// One thread's rows and their states. Rows with the same tokens share a state.
template <class T>
class sampler {
public:
    void run(sampling<T>& job, shard<T>& s) {
        begin(job, s);
        while (!live_.empty()) {
            draw(job);
            compact(job.body.hidden());
            advance(job);
        }
    }

private:
    static constexpr std::size_t parents_at_once = 120;  ///< whose products stay in the cache until the cells read them
    struct live_row {
        std::uint32_t row, state;
        std::int32_t token;
    };

    void begin(sampling<T>& job, shard<T>& s) {
        const std::size_t hidden = job.body.hidden();
        states_ = s.tree.out_node.size();
        h_.need(hidden * states_);
        c_.need(hidden * states_);
        live_.clear();
        forward(job.body, s, false, [&](std::size_t level, const level_states<T>& now) {
            for (std::uint32_t i = s.tree.out_at[level]; i < s.tree.out_at[level + 1]; ++i) {
                std::copy_n(now.h(s.tree.out_node[i]), hidden, h_.data() + i * hidden);
                std::copy_n(now.c(s.tree.out_node[i]), hidden, c_.data() + i * hidden);
                for (const wanted& want : s.tree.wants_of(i)) live_.push_back({want.row, i, 0});
            }
        });
    }

    /// One action for each row; rows are in the order of their states. Those that go on are left in next_.
    void draw(sampling<T>& job) {
        const std::size_t hidden = job.body.hidden(), size = job.head.size().vocabulary, vocabulary = padded<T>(size);
        const T inverse = static_cast<T>(1 / job.options.temperature);
        const std::size_t most_states = job.head.chunk();
        T* const weights = weights_.need(vocabulary);
        next_.clear();
        std::size_t next_row = 0;
        for (std::size_t first = 0; first < states_; first += most_states) {
            const std::size_t n = std::min(most_states, states_ - first);
            T* const logits = logits_.need(vocabulary * most_states);
            multiply(job.head.weight, h_.data() + first * hidden, hidden, n, logits, vocabulary);
            for (std::size_t i = 0; i < n; ++i) {
                T* const logit = logits + i * vocabulary;
                double log_sum = job.head.distribution(inverse, logit, weights, false).log_sum;
                if (job.options.truncates()) log_sum = truncate(job.options, size, weights, order_);
                for (; next_row < live_.size() && live_[next_row].state == first + i; ++next_row)
                    draw(job, live_[next_row], std::span<const T>(weights, size), logit, log_sum);
            }
        }
    }
    void draw(sampling<T>& job, live_row row, std::span<const T> weights, const T* logit, double log_sum) {
        auto& taken = job.taken[row.row];
        const std::uint32_t t = job.start.length[row.row] + static_cast<std::uint32_t>(taken.size());
        const double u = random_stream(job.key, job.which, job.id[row.row]).uniform(t);
        const std::size_t action = sample_categorical(weights, u);
        row.token = static_cast<std::int32_t>(action);
        taken.emplace_back(row.token, static_cast<T>(static_cast<double>(logit[action]) - log_sum));
        if (row.token == job.end_token)
            job.ended[row.row] = 1;
        else if (t + 1 < job.most)
            next_.push_back(row);
    }

    /// Moves the states that live on to the front and numbers their distinct continuations.
    void compact(std::size_t hidden) {
        std::sort(next_.begin(), next_.end(), [](const live_row& a, const live_row& b) {
            return a.state != b.state ? a.state < b.state : a.token != b.token ? a.token < b.token : a.row < b.row;
        });
        parents_ = 0;
        embedded_.clear();
        order_.clear();  // from here on: the parent of each child
        live_row before{};
        for (std::size_t i = 0; i < next_.size(); ++i) {
            live_row& row = next_[i];
            const bool new_state = i == 0 || row.state != before.state;
            if (new_state) {
                if (parents_ != row.state) {
                    std::copy_n(h_.data() + row.state * hidden, hidden, h_.data() + parents_ * hidden);
                    std::copy_n(c_.data() + row.state * hidden, hidden, c_.data() + parents_ * hidden);
                }
                ++parents_;
            }
            if (new_state || row.token != before.token) {
                embedded_.push_back(row.token);
                order_.push_back(static_cast<std::uint32_t>(parents_ - 1));
            }
            before = row;
            row.state = static_cast<std::uint32_t>(embedded_.size() - 1);
        }
    }

    /// The states of the children.
    void advance(const sampling<T>& job) {
        const std::size_t hidden = job.body.hidden(), gates = 4 * hidden, stride = gates + lanes<T>;
        const std::size_t children = embedded_.size();
        if (!job.table)
            job.body.table(embedded_, embedding_.need(job.body.size().embedding * children),
                           table_.need(gates * children));
        T* const h_next = h_next_.need(hidden * children);
        T* const c_next = c_next_.need(hidden * children);
        T* const z = z_.need(stride * std::min(parents_, parents_at_once));
        std::size_t i = 0;
        for (std::size_t first = 0; first < parents_; first += parents_at_once) {
            const std::size_t n = std::min(parents_at_once, parents_ - first);
            multiply(job.body.recurrent, h_.data() + first * hidden, hidden, n, z, stride);
            for (; i < children && order_[i] < first + n; ++i)
                cell<T>(
                    hidden, z + (order_[i] - first) * stride,
                    job.table ? job.table + static_cast<std::size_t>(embedded_[i]) * gates : table_.data() + i * gates,
                    c_.data() + order_[i] * hidden, nullptr, c_next + i * hidden, h_next + i * hidden);
        }
        std::swap(h_, h_next_);
        std::swap(c_, c_next_);
        std::swap(live_, next_);
        states_ = children;
    }

    std::vector<live_row> live_, next_;
    std::vector<std::int32_t> embedded_;
    std::vector<std::uint32_t> order_;
    std::size_t states_ = 0, parents_ = 0;
    scratch<T> h_, c_, h_next_, c_next_, z_, logits_, weights_, table_, embedding_;
};

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
