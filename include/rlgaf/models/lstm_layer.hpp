#pragma once
#include <exception>
#include <string>
#include <utility>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "rlgaf/backend/token_batch.hpp"
#include "rlgaf/models/lstm_kernels.hpp"

/// The LSTM that lstm_policy, lstm_scorer and lstm_critic share: its parameters, its plan of work, forward and backward.
///
/// Rows that begin alike share their states: the rows of a shard form a tree of prefixes, and each node is computed
/// once. A policy's first tokens, the completions of one prompt and repeated rows cost little. Nodes are computed level
/// by level; the product with the recurrent weights runs over the nodes that have children, once for all children.
/// Shards are contiguous in the order of the rows' tokens, one a thread, and share nothing but the parameters.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// Named blocks in one allocation. Copies refer to their own memory.
template <class T>
class parameter_memory {
public:
    parameter_memory() = default;
    parameter_memory(const parameter_memory& other)
        : values_(other.values_), gradients_(other.gradients_), blocks_(other.blocks_) {
        refer();
    }
    parameter_memory& operator=(const parameter_memory& other) {
        if (this != &other) *this = parameter_memory(other);
        return *this;
    }
    parameter_memory(parameter_memory&&) noexcept = default;
    parameter_memory& operator=(parameter_memory&&) noexcept = default;
    ~parameter_memory() = default;

    void add(std::string name, std::vector<std::size_t> shape) {
        std::size_t size = 1;
        for (const std::size_t n : shape) size *= n;
        values_.resize(values_.size() + size, T{0});
        gradients_.resize(values_.size(), T{0});
        blocks_.push_back({std::move(name), std::move(shape), {}, {}});
        refer();
    }
    std::span<const parameter_block<T>> blocks() const { return blocks_; }
    const T* values(std::size_t block) const { return blocks_[block].values.data(); }
    T* gradients(std::size_t block) { return blocks_[block].gradients.data(); }
    void clear_gradients() { std::fill(gradients_.begin(), gradients_.end(), T{0}); }

    /// Uniform in [-limit, limit], a function of seed, block and element.
    void randomize(std::size_t block, double limit, std::uint64_t seed) {
        const random_stream random({seed, 0}, stream::initialization, block);
        const auto x = blocks_[block].values;
        for (std::size_t i = 0; i < x.size(); ++i)
            x[i] = static_cast<T>(limit * (2 * random.uniform(static_cast<std::uint32_t>(i & 0xFFFFFFu),
                                                              static_cast<std::uint32_t>(i >> 24)) -
                                           1));
    }

private:
    void refer() {
        std::size_t first = 0;
        for (auto& block : blocks_) {
            std::size_t size = 1;
            for (const std::size_t n : block.shape) size *= n;
            block.values = std::span(values_).subspan(first, size);
            block.gradients = std::span(gradients_).subspan(first, size);
            first += size;
        }
    }

    std::vector<T> values_, gradients_;
    std::vector<parameter_block<T>> blocks_;
};

struct sizes {
    std::size_t vocabulary = 0, embedding = 0, hidden = 0;
};

/// The blocks of the recurrent body; heads come after them. Shapes are row-major; gates are in the order i, f, g, o.
enum : std::size_t { embedding_block, input_block, recurrent_block, bias_block, first_head_block };

template <class T>
void add_body(parameter_memory<T>& memory, const sizes& n, std::uint64_t seed) {
    memory.add("embedding", {n.vocabulary + 1, n.embedding});  // the last row is the start token
    memory.add("input", {n.embedding, 4 * n.hidden});
    memory.add("recurrent", {n.hidden, 4 * n.hidden});
    memory.add("bias", {4 * n.hidden});
    const double limit = 1 / std::sqrt(static_cast<double>(n.hidden));
    memory.randomize(embedding_block, std::sqrt(3.0), seed);  // variance 1
    memory.randomize(input_block, limit, seed);
    memory.randomize(recurrent_block, limit, seed);
    std::fill_n(memory.blocks()[bias_block].values.data() + n.hidden, n.hidden, T{1});  // remember at first
}

/// Weights in the order of the products: those of forward, or those of backward. Made anew in every call, because
/// parameters may have changed.
template <class T>
class packed_body {
public:
    void assign(const parameter_memory<T>& memory, const sizes& n, bool backward) {
        n_ = n;
        hidden_ = padded<T>(n.hidden);
        embedding_ = memory.values(embedding_block);
        gate_.assign(4 * hidden_, packed_matrix<T>::none);
        for (std::size_t q = 0; q < 4; ++q)
            for (std::size_t u = 0; u < n.hidden; ++u) gate_[q * hidden_ + u] = q * n.hidden + u;
        const auto line = [&](std::vector<std::size_t>& to, std::size_t size, std::size_t used) {
            to.assign(size, packed_matrix<T>::none);
            for (std::size_t i = 0; i < used; ++i) to[i] = i * 4 * n.hidden;
        };
        line(from_embedding_, padded<T>(n.embedding), n.embedding);
        line(from_hidden_, hidden_, n.hidden);
        const T* const input_values = memory.values(input_block);
        const T* const recurrent_values = memory.values(recurrent_block);
        if (backward) {
            input_transposed.assign(from_embedding_, gate_, input_values);
            recurrent_transposed.assign(from_hidden_, gate_, recurrent_values);
            return;
        }
        input.assign(gate_, std::span(from_embedding_).first(n.embedding), input_values);
        recurrent.assign(gate_, std::span(from_hidden_).first(n.hidden), recurrent_values);
        T* const bias = bias_.zeroed(4 * hidden_);
        for (std::size_t r = 0; r < 4 * hidden_; ++r)
            if (gate_[r] != packed_matrix<T>::none) bias[r] = memory.values(bias_block)[gate_[r]];
    }
    const sizes& size() const { return n_; }
    std::size_t hidden() const { return hidden_; }  ///< padded
    const T* bias() const { return bias_.data(); }  ///< [4 hidden], of forward

    /// table[:, i] = input embedding[token[i]] + bias, and the embeddings themselves [embedding, i].
    void table(std::span<const std::int32_t> token, T* embedding, T* table) const {
        for (std::size_t i = 0; i < token.size(); ++i) {
            std::copy_n(embedding_ + static_cast<std::size_t>(token[i]) * n_.embedding, n_.embedding,
                        embedding + i * n_.embedding);
            std::copy_n(bias_.data(), 4 * hidden_, table + i * 4 * hidden_);
        }
        multiply(input, embedding, n_.embedding, token.size(), table, 4 * hidden_, true);
    }

    packed_matrix<T> input, recurrent, input_transposed, recurrent_transposed;

private:
    sizes n_;
    std::size_t hidden_ = 0;
    const T* embedding_ = nullptr;
    scratch<T> bias_;
    std::vector<std::size_t> gate_, from_embedding_, from_hidden_;
};

/// A row as the layer reads it: `depth` inputs from `first`, the start token first. Something is wanted at the states
/// `out_first` .. `out_first + out_count - 1`. Rows with different keys share no state.
struct sequence {
    std::size_t first = 0;
    std::uint32_t row = 0, depth = 0, out_first = 0, out_count = 0;
    double key = 0;
};

/// That something: token `t` of row `row`, whose action is the input after this state (if there is one).
struct wanted {
    std::uint32_t row = 0, t = 0;
    std::int32_t action = 0;
};

/// The tree of prefixes of some sequences. Nodes with children come first, level by level, then the others likewise;
/// within a level the children of one node are in order.
class prefix_tree {
public:
    std::vector<std::uint32_t> parent, slot;       ///< [nodes]: parent node, index into `used`
    std::vector<std::uint32_t> inner_at, leaf_at;  ///< [levels + 1]: where nodes with and without children begin
    std::vector<std::int32_t> used;                ///< input tokens that occur
    std::vector<std::uint32_t> out_node, out_at;  ///< nodes at which something is wanted; [levels + 1] where they begin
    std::vector<std::uint32_t> wanted_at;         ///< [out_node + 1]
    std::vector<wanted> wants;

    std::size_t nodes() const { return parent.size(); }
    std::size_t levels() const { return inner_at.size() - 1; }
    std::uint32_t inner() const { return inner_at.back(); }
    std::uint32_t width(std::size_t level) const {
        return inner_at[level + 1] - inner_at[level] + leaf_at[level + 1] - leaf_at[level];
    }
    std::uint32_t widest() const {
        std::uint32_t n = 0;
        for (std::size_t d = 0; d < levels(); ++d) n = std::max(n, width(d));
        return n;
    }

    /// `sorted`: by key, then by inputs. `shared[i]`: inputs that sequence i has in common with the one before it.
    void assign(std::span<const sequence> sorted, std::span<const std::uint32_t> shared,
                std::span<const std::int32_t> input, std::size_t vocabulary) {
        std::uint32_t levels = 0;
        for (const auto& s : sorted) levels = std::max(levels, s.depth);
        draft_.clear();
        path_.assign(levels, 0);
        visits_.clear();
        for (std::size_t i = 0; i < sorted.size(); ++i) {
            const auto& s = sorted[i];
            for (std::uint32_t d = i == 0 ? 0 : shared[i]; d < s.depth; ++d) {
                if (d > 0) draft_[path_[d - 1]].leaf = false;
                path_[d] = static_cast<std::uint32_t>(draft_.size());
                draft_.push_back({d, d > 0 ? path_[d - 1] : 0, input[s.first + d], true});
            }
            for (std::uint32_t t = 0; t < s.out_count; ++t) visits_.push_back(path_[s.out_first + t]);
        }
        inner_at.assign(levels + 1, 0);
        leaf_at.assign(levels + 1, 0);
        for (const auto& node : draft_) ++(node.leaf ? leaf_at : inner_at)[node.level + 1];
        for (std::uint32_t d = 0; d < levels; ++d) inner_at[d + 1] += inner_at[d];
        leaf_at[0] = inner_at[levels];
        for (std::uint32_t d = 0; d < levels; ++d) leaf_at[d + 1] += leaf_at[d];
        next_inner_ = inner_at;
        next_leaf_ = leaf_at;
        slot_of_.resize(vocabulary + 1, none);
        used.clear();
        parent.resize(draft_.size());
        slot.resize(draft_.size());
        number_.resize(draft_.size());
        for (std::size_t i = 0; i < draft_.size(); ++i) {
            const auto& node = draft_[i];
            const std::uint32_t n = (node.leaf ? next_leaf_ : next_inner_)[node.level]++;
            std::uint32_t& known = slot_of_[static_cast<std::size_t>(node.token)];
            if (known == none) {
                known = static_cast<std::uint32_t>(used.size());
                used.push_back(node.token);
            }
            number_[i] = n;
            parent[n] = number_[node.parent];
            slot[n] = known;
        }
        for (const std::int32_t token : used) slot_of_[static_cast<std::size_t>(token)] = none;
        place_wants(sorted, input);
    }

private:
    static constexpr std::uint32_t none = static_cast<std::uint32_t>(-1);
    struct draft {
        std::uint32_t level, parent;
        std::int32_t token;
        bool leaf;
    };

    void place_wants(std::span<const sequence> sorted, std::span<const std::int32_t> input) {
        count_.assign(nodes(), 0);
        for (const std::uint32_t n : visits_) ++count_[number_[n]];
        out_node.clear();
        out_at.assign(1, 0);
        wanted_at.assign(1, 0);
        const auto take = [&](std::uint32_t first, std::uint32_t last) {
            for (std::uint32_t n = first; n < last; ++n)
                if (count_[n] > 0) {
                    out_node.push_back(n);
                    wanted_at.push_back(wanted_at.back() + count_[n]);
                    count_[n] = wanted_at[wanted_at.size() - 2];  // from here on: where the next one goes
                }
        };
        for (std::size_t d = 0; d < levels(); ++d) {
            take(inner_at[d], inner_at[d + 1]);
            take(leaf_at[d], leaf_at[d + 1]);
            out_at.push_back(static_cast<std::uint32_t>(out_node.size()));
        }
        wants.resize(visits_.size());
        std::size_t i = 0;
        for (const auto& s : sorted)
            for (std::uint32_t t = 0; t < s.out_count; ++t, ++i) {
                const std::size_t next = s.first + s.out_first + t + 1;
                wants[count_[number_[visits_[i]]]++] = {s.row, t, next < input.size() ? input[next] : 0};
            }
    }

    std::vector<draft> draft_;
    std::vector<std::uint32_t> path_, visits_, number_, count_, next_inner_, next_leaf_, slot_of_;
};

/// The states of one level, by node.
template <class T>
struct level_states {
    T *h_inner, *h_leaf, *c_inner, *c_leaf;
    std::uint32_t first_inner, first_leaf, inner;
    std::size_t hidden;

    T* h(std::uint32_t node) const {
        return node < inner ? h_inner + (node - first_inner) * hidden : h_leaf + (node - first_leaf) * hidden;
    }
    T* c(std::uint32_t node) const {
        return node < inner ? c_inner + (node - first_inner) * hidden : c_leaf + (node - first_leaf) * hidden;
    }
};

/// One thread's part of a batch, with all memory that it needs.
template <class T>
struct shard {
    prefix_tree tree;
    scratch<T> embedding, table;                     ///< of used tokens: [embedding, used], [4 hidden, used]
    scratch<T> kept, h, c;                           ///< [5 hidden, nodes], [hidden, nodes] (or two levels)
    scratch<T> z;                                    ///< [4 hidden, a level's inner nodes]
    scratch<T> d_h, d_c, d_z, d_table, d_embedding;  ///< backward
    scratch<T> d_input, d_recurrent;                 ///< [4 hidden, embedding], [4 hidden, hidden]
    scratch<T> gathered, d_gathered, logits, weights, d_output, d_output_bias, outer;  ///< for heads
    std::vector<T> d_bias;

    level_states<T> level(std::size_t d, std::size_t hidden, bool keep) {
        const std::uint32_t first_inner = tree.inner_at[d], first_leaf = tree.leaf_at[d];
        const std::size_t inner = tree.inner_at[d + 1] - first_inner;
        const std::size_t offset = keep ? 0 : (d & 1) * tree.widest() * hidden;
        const std::size_t to_inner = keep ? first_inner * hidden : offset,
                          to_leaf = keep ? first_leaf * hidden : offset + inner * hidden;
        return {h.data() + to_inner, h.data() + to_leaf, c.data() + to_inner, c.data() + to_leaf,
                first_inner,         first_leaf,         tree.inner(),        hidden};
    }
};

/// Computes all states of a shard. visit(level, states) sees every level once, while it is in the cache.
/// keep: remembers what backward needs.
template <class T, class Visit>
void forward(const packed_body<T>& body, shard<T>& s, bool keep, Visit&& visit) {
    const prefix_tree& tree = s.tree;
    const std::size_t hidden = body.hidden(), gates = 4 * hidden;
    if (tree.nodes() == 0) return;
    const std::size_t widest = tree.widest(), columns = keep ? tree.nodes() : 2 * widest;
    T* const table = s.table.need(gates * tree.used.size());
    body.table(tree.used, s.embedding.need(body.size().embedding * tree.used.size()), table);
    s.h.need(hidden * columns);
    s.c.need(hidden * columns);
    T* const kept = keep ? s.kept.need(5 * hidden * tree.nodes()) : nullptr;
    const std::size_t z_stride = gates + lanes<T>;  // not a power of two
    T* const z = s.z.need(z_stride * widest);
    level_states<T> before{};
    for (std::size_t d = 0; d < tree.levels(); ++d) {
        const level_states<T> now = s.level(d, hidden, keep);
        const auto compute = [&](std::uint32_t first, std::uint32_t last) {
            for (std::uint32_t n = first; n < last; ++n) {
                const std::uint32_t parent = tree.parent[n];
                cell<T>(hidden, d == 0 ? nullptr : z + (parent - before.first_inner) * z_stride,
                        table + tree.slot[n] * gates, d == 0 ? nullptr : before.c(parent),
                        keep ? kept + n * 5 * hidden : nullptr, now.c(n), now.h(n));
            }
        };
        compute(tree.inner_at[d], tree.inner_at[d + 1]);
        compute(tree.leaf_at[d], tree.leaf_at[d + 1]);
        visit(d, now);
        multiply(body.recurrent, now.h_inner, hidden, tree.inner_at[d + 1] - tree.inner_at[d], z, z_stride);
        before = now;
    }
}

/// Gradients of a shard that was computed with keep. add_d_h(level, states, d_h): adds to d_h [hidden, level width],
/// inner nodes first. Leaves the body's gradients in the shard.
template <class T, class AddDh>
void backward(const packed_body<T>& body, shard<T>& s, AddDh&& add_d_h) {
    const prefix_tree& tree = s.tree;
    const std::size_t hidden = body.hidden(), gates = 4 * hidden, used = tree.used.size();
    const sizes& n = body.size();
    T* const d_table = s.d_table.zeroed(gates * used);
    T* const d_recurrent = s.d_recurrent.zeroed(gates * n.hidden);
    T* const d_input = s.d_input.zeroed(gates * n.embedding);
    s.d_bias.assign(gates, T{0});
    if (tree.nodes() == 0) return;
    const std::size_t widest = tree.widest(), stride = gates + lanes<T>;
    const std::size_t capacity = depth_block + widest;  // gradients before the recurrent weights, from the last node
    T* const d_z = s.d_z.need(stride * capacity);
    T* const d_h = s.d_h.need(hidden * widest);
    T* d_c = s.d_c.need(2 * hidden * widest);
    T* d_c_before = d_c + hidden * widest;
    std::uint32_t last = tree.inner();  // of the nodes whose d_z waits in memory
    const auto column = [&](std::uint32_t node) { return d_z + (capacity - (last - node)) * stride; };
    const auto flush = [&](std::uint32_t first) {
        add_outer(column(first), stride, gates, s.h.data() + first * hidden, hidden, n.hidden, last - first,
                  d_recurrent, gates, s.outer);
        last = first;
    };
    for (std::size_t d = tree.levels(); d-- > 0;) {
        const level_states<T> now = s.level(d, hidden, true);
        const std::uint32_t first = tree.inner_at[d], inner = tree.inner_at[d + 1] - first;
        multiply(body.recurrent_transposed, column(first), stride, inner, d_h, hidden);
        std::fill_n(d_h + inner * hidden, (tree.width(d) - inner) * hidden, T{0});
        add_d_h(d, now, d_h);
        if (last - first >= depth_block || d == 0) flush(first);
        level_states<T> before{};
        if (d > 0) {
            before = s.level(d - 1, hidden, true);
            std::fill_n(column(before.first_inner), (first - before.first_inner) * stride, T{0});
            std::fill_n(d_c_before, (first - before.first_inner) * hidden, T{0});
        }
        const auto compute = [&](std::uint32_t from, std::uint32_t to, const T* d_h_from, const T* d_c_from) {
            for (std::uint32_t node = from; node < to; ++node) {
                const std::uint32_t parent = tree.parent[node];
                cell_backward<T>(hidden, s.kept.data() + node * 5 * hidden, d == 0 ? nullptr : before.c(parent),
                                 d_h_from + (node - from) * hidden,
                                 d_c_from ? d_c_from + (node - from) * hidden : nullptr,
                                 d_table + tree.slot[node] * gates, d == 0 ? nullptr : column(parent),
                                 d == 0 ? nullptr : d_c_before + (parent - before.first_inner) * hidden);
            }
        };
        compute(first, first + inner, d_h, d_c);
        compute(tree.leaf_at[d], tree.leaf_at[d + 1], d_h + inner * hidden, nullptr);
        std::swap(d_c, d_c_before);
    }
    add_outer(d_table, gates, gates, s.embedding.data(), n.embedding, n.embedding, used, d_input, gates, s.outer);
    multiply(body.input_transposed, d_table, gates, used, s.d_embedding.need(padded<T>(n.embedding) * used),
             padded<T>(n.embedding));
    for (std::size_t i = 0; i < used; ++i) add_scaled(gates, T{1}, d_table + i * gates, s.d_bias.data());
}

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

inline std::size_t threads() {
#ifdef _OPENMP
    return omp_in_parallel() ? 1 : static_cast<std::size_t>(omp_get_max_threads());
#else
    return 1;
#endif
}

/// f(0) .. f(n - 1), one a thread. If parts throw, all are run and the exception of the first one goes on.
template <class F>
void for_each_part(std::size_t n, F&& f) {
#ifdef _OPENMP
    if (n > 1) {
        const int count = static_cast<int>(n);
#if RLGAF_EXCEPTIONS
        // An exception must not leave the region.
        std::exception_ptr thrown;
        int thrown_by = count;
#pragma omp parallel for num_threads(count) schedule(static, 1)
        for (int i = 0; i < count; ++i) {
            try {
                f(static_cast<std::size_t>(i));
            } catch (...) {
#pragma omp critical(rlgaf_lstm_part)
                if (i < thrown_by) {
                    thrown = std::current_exception();
                    thrown_by = i;
                }
            }
        }
        if (thrown) std::rethrow_exception(thrown);
#else
#pragma omp parallel for num_threads(count) schedule(static, 1)
        for (int i = 0; i < count; ++i) f(static_cast<std::size_t>(i));
#endif
        return;
    }
#endif
    for (std::size_t i = 0; i < n; ++i) f(i);
}

/// Adds the shards' gradients of the body to the parameters', in the order of the shards.
template <class T>
void add_body_gradients(parameter_memory<T>& memory, const packed_body<T>& body, work<T>& w, std::size_t threads) {
    const sizes& n = body.size();
    const std::size_t hidden = body.hidden();
    const auto add_gates = [&](T* to, const T* from) {
        for (std::size_t q = 0; q < 4; ++q)
            for (std::size_t u = 0; u < n.hidden; ++u) to[q * n.hidden + u] += from[q * hidden + u];
    };
    threads =
        std::clamp<std::size_t>(w.parts() * 4 * n.hidden * n.hidden / 200000, 1, threads);  // else not worth a thread
    for_each_part(threads, [&](std::size_t part) {
        for (std::size_t p = 0; p < w.parts(); ++p)
            for (std::size_t k = n.hidden * part / threads; k < n.hidden * (part + 1) / threads; ++k)
                add_gates(memory.gradients(recurrent_block) + k * 4 * n.hidden,
                          w.shards[p].d_recurrent.data() + k * 4 * hidden);
    });
    for (std::size_t p = 0; p < w.parts(); ++p) {
        shard<T>& s = w.shards[p];
        for (std::size_t k = 0; k < n.embedding; ++k)
            add_gates(memory.gradients(input_block) + k * 4 * n.hidden, s.d_input.data() + k * 4 * hidden);
        add_gates(memory.gradients(bias_block), s.d_bias.data());
        for (std::size_t i = 0; i < s.tree.used.size(); ++i) {
            T* const to = memory.gradients(embedding_block) + static_cast<std::size_t>(s.tree.used[i]) * n.embedding;
            const T* const from = s.d_embedding.data() + i * padded<T>(n.embedding);
            for (std::size_t j = 0; j < n.embedding; ++j) to[j] += from[j];
        }
    }
}

/// Memory of calls: moves with the model, but a copy starts with fresh one.
template <class Memory>
struct transient : Memory {
    transient() = default;
    transient(const transient&) : Memory() {}
    transient& operator=(const transient&) { return *this; }
    transient(transient&&) noexcept = default;
    transient& operator=(transient&&) noexcept = default;
    ~transient() = default;
};

/// Memory of calls and tapes that have ended, for those to come.
template <class W>
class work_pool {
public:
    std::unique_ptr<W> take() {
        if (free_.empty()) return std::make_unique<W>();
        auto w = std::move(free_.back());
        free_.pop_back();
        w->clear();
        return w;
    }
    void give_back(std::unique_ptr<W> w) { free_.push_back(std::move(w)); }

private:
    std::vector<std::unique_ptr<W>> free_;
};

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

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
