#pragma once
/// A policy or a scorer made of a torch::nn module (LibTorch 1.13 or later). The only header that includes torch.
///
///     rlgaf::torch_policy policy{net, {.start_token = bos, .end_token = eos}};
///     rlgaf::torch_scorer discriminator{judge, {.start_token = bos}};
///
/// The module is a holder (TORCH_MODULE) or a std::shared_ptr to a module. What it has to do:
///   policy  forward(tokens) -> logits [B, T, V]: logits[b, t] are those of the token AFTER position t and depend on
///           positions 0 .. t only.
///   scorer  forward(tokens) -> [B, T], a number a position, or [B], a number a row. A last dimension of 1 is dropped.
///   tokens  int64 [B, T], padded on the right with `pad_token`: one row is start token, prompt, completion. A module
///           that returns [B] has to tell padding from tokens by itself, or has forward(tokens, lengths) instead, where
///           lengths, int64 [B], count the positions of a row before the padding.
/// A scorer of more than one number a row, `.width = W`, gives [B, W] or [B, T, W] instead.
/// The first action is predicted at the last position before it: the end of the prompt, or the start token where there
/// is no prompt. With `.start_token = -1` nothing is put in front, and rows need prompts.
///
/// On a GPU: `.device = torch::kCUDA` moves the module there, and tokens and logits follow it. Arrays that rlgaf sees,
/// sampling included, stay on the host. Nothing else changes, but `parameters()` has no host memory to show.
/// Module modes: rollout and evaluate set eval(), forward sets train(): dropout then draws from torch's own generator.
/// A policy with dropout needs `.train_mode = false` where the first ratio has to be 1. What is differentiated in
/// eval() runs without cuDNN, which cannot differentiate its recurrent nets there.
///
/// Gradient penalties and input noise (ability perturbs_inputs) move embeddings, so the scorer's module says where they
/// are. Two more functions, and every scorer of tokens is one of embeddings:
///
///     struct judge_impl : torch::nn::Cloneable<judge_impl> {
///         void reset() override { ... }
///         torch::Tensor embed(torch::Tensor tokens) { return embedding(tokens); }                   // [B, T, E]
///         torch::Tensor forward_embedded(torch::Tensor x) { return head(std::get<0>(gru(x))); }     // or (x, lengths)
///         torch::Tensor forward(torch::Tensor tokens) { return forward_embedded(embed(tokens)); }
///         torch::nn::Embedding embedding{nullptr};
///         torch::nn::GRU gru{nullptr};
///         torch::nn::Linear head{nullptr};
///     };
#include <ATen/core/ivalue.h>  // before the rest: clang 14 needs it with torch 1.13
//
#include <ATen/Context.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/cloneable.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/optim/adamw.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "rlgaf/backend/check.hpp"
#include "rlgaf/backend/token_batch.hpp"
#include "rlgaf/core/finite.hpp"
#include "rlgaf/core/reduce.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Makes the optimiser at the first step, of the parameters that require a gradient then.
using torch_optimizer_factory = std::function<std::unique_ptr<torch::optim::Optimizer>(std::vector<torch::Tensor>)>;

struct torch_policy_options {
    std::int32_t start_token = 0;    ///< in front of every row; -1: none, rows need prompts then
    std::int32_t end_token = -1;     ///< the action that ends a row; -1: none, a row is whole at max_length actions
    std::int32_t pad_token = 0;      ///< a token that the module accepts; what it says there is not read
    std::uint32_t max_length = 64;   ///< > 0; actions a row where rollout_options sets no limit
    std::size_t rollout_rows = 256;  ///< rows in one forward of a rollout, bounds its memory; 0: all
    bool train_mode = true;          ///< forward in train(), dropout on; false: in eval()
    std::optional<torch::Device> device = {};  ///< where the module is moved to; default: it stays where it is
    torch_optimizer_factory optimizer = {};    ///< default: torch's AdamW with this weight decay
    double weight_decay = 0;                   ///< >= 0, times the learning rate; of the default optimiser

    void check() const {
        detail::check_option(start_token >= -1, "torch_policy_options", "start_token", "a token or -1", start_token);
        detail::check_option(end_token >= -1, "torch_policy_options", "end_token", "a token or -1", end_token);
        detail::check_option(pad_token >= 0, "torch_policy_options", "pad_token", "a token", pad_token);
        detail::check_option(max_length > 0, "torch_policy_options", "max_length", "positive", max_length);
        detail::check_option(weight_decay >= 0, "torch_policy_options", "weight_decay", "0 or positive", weight_decay);
    }
};

/// Where a scorer of positions [B, T] is read. Modules that return [B] read for themselves.
enum class torch_reading {
    last_token,   ///< at the last position of the row
    mean_of_row,  ///< averaged over the completion's unmasked tokens; 0 where there is none
};

struct torch_scorer_options {
    std::int32_t start_token = 0;                       ///< in front of every row; -1: none
    std::int32_t pad_token = 0;                         ///< a token that the module accepts
    torch_reading reading = torch_reading::last_token;  ///< of modules that return [B, T]
    bool train_mode = true;                             ///< forward in train(), dropout on; false: in eval()
    std::optional<torch::Device> device = {};           ///< where the module is moved to; default: it stays where it is
    torch_optimizer_factory optimizer = {};             ///< default: torch's AdamW with this weight decay
    double weight_decay = 0;                            ///< >= 0, times the learning rate; of the default optimiser
    std::int32_t width = 1;                             ///< > 0; numbers a row, or a position

    void check() const {
        detail::check_option(start_token >= -1, "torch_scorer_options", "start_token", "a token or -1", start_token);
        detail::check_option(pad_token >= 0, "torch_scorer_options", "pad_token", "a token", pad_token);
        detail::check_option(weight_decay >= 0, "torch_scorer_options", "weight_decay", "0 or positive", weight_decay);
        detail::check_option(width > 0, "torch_scorer_options", "width", "positive", width);
    }
};

namespace detail {

template <class M>
struct torch_module_of {
    using type = M;
};
template <class M>
    requires requires { typename M::ContainedType; }
struct torch_module_of<M> {
    using type = typename M::ContainedType;
};

template <class N>
concept torch_reads_tokens = requires(N& n, torch::Tensor t) {
    { n.forward(t) } -> std::convertible_to<torch::Tensor>;
};
template <class N>
concept torch_reads_lengths = requires(N& n, torch::Tensor t) {
    { n.forward(t, t) } -> std::convertible_to<torch::Tensor>;
};
template <class N>
concept torch_reads_embedded = requires(N& n, torch::Tensor x) {
    { n.forward_embedded(x) } -> std::convertible_to<torch::Tensor>;
};
template <class N>
concept torch_reads_embedded_lengths = requires(N& n, torch::Tensor x) {
    { n.forward_embedded(x, x) } -> std::convertible_to<torch::Tensor>;
};
template <class N>
concept torch_embeds = requires(N& n, torch::Tensor t) {
    { n.embed(t) } -> std::convertible_to<torch::Tensor>;
    requires torch_reads_embedded<N> || torch_reads_embedded_lengths<N>;
};
template <class N>
concept torch_clonable = std::derived_from<N, torch::nn::Cloneable<N>>;

inline std::string torch_shape(const torch::Tensor& t) {
    if (!t.defined()) return "no tensor";
    std::string text = "[";
    for (std::int64_t d = 0; d < t.dim(); ++d) text += (d ? ", " : "") + std::to_string(t.size(d));
    return text + "]";
}

/// Rows in the form that modules read.
struct torch_rows {
    torch::Tensor tokens;             ///< int64 [B, T] on the host
    torch::Tensor lengths;            ///< int64 [B]: positions before the padding
    std::vector<std::int64_t> begin;  ///< [B]: the position of the completion's first token

    /// `prompt(i)` and `completion(i)` are spans. T is at least 1.
    template <class Prompt, class Completion>
    torch_rows(std::size_t count, std::int32_t start, std::int32_t pad, Prompt&& prompt, Completion&& completion)
        : lengths(torch::empty({static_cast<std::int64_t>(count)}, torch::kLong)), begin(count) {
        std::int64_t* const length = lengths.data_ptr<std::int64_t>();
        std::int64_t longest = 1;
        for (std::size_t i = 0; i < count; ++i) {
            begin[i] = (start >= 0 ? 1 : 0) + static_cast<std::int64_t>(prompt(i).size());
            length[i] = begin[i] + static_cast<std::int64_t>(completion(i).size());
            longest = std::max(longest, length[i]);
        }
        tokens = torch::full({static_cast<std::int64_t>(count), longest}, pad, torch::kLong);
        std::int64_t* row = tokens.data_ptr<std::int64_t>();
        for (std::size_t i = 0; i < count; ++i, row += longest) {
            std::int64_t* at = row;
            if (start >= 0) *at++ = start;
            for (const std::int32_t token : prompt(i)) *at++ = token;
            for (const std::int32_t token : completion(i)) *at++ = token;
        }
    }

    /// Bool [B, T, 1]: padding.
    torch::Tensor padding() const { return padding_after(lengths, tokens.size(1)); }
    static torch::Tensor padding_after(const torch::Tensor& lengths, std::int64_t positions) {
        return (torch::arange(positions).unsqueeze(0) >= lengths.unsqueeze(1)).unsqueeze(-1);
    }
};

/// Host numbers in the device's memory. Copies, because autograd keeps what it is given.
template <class T>
torch::Tensor torch_tensor(const std::vector<T>& x, const torch::Tensor& like) {
    const torch::Tensor host = torch::empty({static_cast<std::int64_t>(x.size())}, c10::CppTypeToScalarType<T>::value);
    std::copy(x.begin(), x.end(), host.data_ptr<T>());
    return host.to(like.device(), std::is_floating_point_v<T> ? like.scalar_type() : host.scalar_type());
}

/// Single precision in host memory, contiguous.
inline torch::Tensor torch_host(const torch::Tensor& x) {
    return x.detach().to(torch::kCPU, torch::kFloat).contiguous();
}

/// Numbers of the unmasked tokens, in their order, to their places in the batch and back.
inline void torch_scatter(const mask_view& included, const torch::Tensor& x, const ragged_view<float>& to) {
    if (to.empty()) return;
    const torch::Tensor host = torch_host(x);
    const float* from = host.data_ptr<float>();
    for_each_token(to, included, [&](std::size_t i, std::size_t t) { to.row(i)[t] = *from++; });
}
struct torch_slots {
    std::vector<std::size_t> offset;  ///< of the batch
    std::vector<std::uint8_t> mask;   ///< of the batch

    torch::Tensor gather(const ragged_view<const float>& from, const torch::Tensor& like, const char* function,
                         const char* argument) const {
        const auto shape = ragged_view<const float>::packed(nullptr, offset);
        check_same_shape(shape, from, function, argument);
        const mask_view included = mask.empty() ? mask_view{} : mask_view::packed(mask.data(), offset);
        std::vector<float> x;
        for_each_token(shape, included, [&](std::size_t i, std::size_t k) { x.push_back(from.row(i)[k]); });
        return torch_tensor(x, like);
    }
};

/// cuDNN is off while one of these lives. For the whole process: modules that run beside it are slower then.
class torch_without_cudnn {
public:
    explicit torch_without_cudnn(bool off) : was_on_(off && at::globalContext().userEnabledCuDNN()) {
        if (was_on_) at::globalContext().setUserEnabledCuDNN(false);
    }
    torch_without_cudnn(const torch_without_cudnn&) = delete;
    torch_without_cudnn& operator=(const torch_without_cudnn&) = delete;
    ~torch_without_cudnn() {
        if (was_on_) at::globalContext().setUserEnabledCuDNN(true);
    }

private:
    bool was_on_;
};

/// What policy and scorer share: the module, its parameters and its optimiser.
template <class Net>
class torch_model {
public:
    using parameter = parameter_block<float>;

    template <class Options>
    torch_model(std::shared_ptr<Net> net, const Options& options, const char* name)
        : net_(std::move(net)), name_(name), factory_(options.optimizer), weight_decay_(options.weight_decay) {
        options.check();
        if (!net_) fail(error_kind::option, name_, "module", "a module", "an empty holder");
        if (options.device) net_->to(*options.device);
        const std::vector<torch::Tensor> all = net_->parameters();
        device_ = options.device ? *options.device : all.empty() ? torch::Device(torch::kCPU) : all.front().device();
    }
    Net& net() const { return *net_; }

    /// Errors: shape_error with torch's own words.
    torch::Tensor run(const torch_rows& rows, bool train) {
        return guarded("module.forward", rows, train, [&] {
            const torch::Tensor tokens = rows.tokens.to(device_);
            if constexpr (torch_reads_tokens<Net>)
                return net_->forward(tokens);
            else
                return net_->forward(tokens, rows.lengths.to(device_));
        });
    }
    /// Both with dropout off. Errors: shape_error, also for embeddings that are not [B, T, E].
    torch::Tensor embed(const torch_rows& rows) {
        torch::Tensor x = guarded("module.embed", rows, false, [&] { return net_->embed(rows.tokens.to(device_)); });
        if (!x.defined() || x.dim() != 3 || x.size(0) != rows.tokens.size(0) || x.size(1) != rows.tokens.size(1) ||
            !x.is_floating_point()) [[unlikely]]
            fail(error_kind::shape, name_, "module.embed",
                 "floating-point embeddings [B, T, E] of tokens " + torch_shape(rows.tokens), torch_shape(x));
        return x;
    }
    torch::Tensor run_embedded(const torch_rows& rows, const torch::Tensor& x) {
        return guarded("module.forward_embedded", rows, false, [&] {
            if constexpr (torch_reads_embedded<Net>)
                return net_->forward_embedded(x);
            else
                return net_->forward_embedded(x, rows.lengths.to(device_));
        });
    }

    step_report step(const step_options& options) {
        options.check();
        const torch::NoGradGuard no_grad;
        const std::vector<torch::Tensor> trained = trainable();
        torch::Tensor squares = torch::zeros({}, torch::dtype(torch::kDouble).device(device_));
        for (const torch::Tensor& p : trained)
            if (p.grad().defined()) squares += p.grad().to(device_, torch::kDouble).square().sum();
        const double norm = std::sqrt(squares.item<double>());
        const step_report report{norm, first_nonfinite(std::span<const double>(&norm, 1)) == 1};
        if (report.applied && !trained.empty()) {
            if (options.max_norm > 0 && norm > options.max_norm)
                for (const torch::Tensor& p : trained)
                    if (p.grad().defined()) p.grad().mul_(options.max_norm / norm);
            if (!optimizer_)
                optimizer_ = factory_ ? factory_(trained)
                                      : std::make_unique<torch::optim::AdamW>(
                                            trained, torch::optim::AdamWOptions().weight_decay(weight_decay_));
            for (auto& group : optimizer_->param_groups()) group.options().set_lr(options.learning_rate);
            optimizer_->step();
        }
        discard();
        return report;
    }

    void discard() {
        const torch::NoGradGuard no_grad;
        for (const torch::Tensor& p : trainable())
            if (p.grad().defined()) p.grad().zero_();
    }

    /// Errors: option_error for a parameter that is not dense, single precision and in host memory.
    std::span<const parameter> parameters() {
        const torch::NoGradGuard no_grad;
        blocks_.clear();
        for (const auto& [name, p] : named_trainable()) {
            if (!p.device().is_cpu() || p.scalar_type() != torch::kFloat || !p.is_contiguous())
                fail(error_kind::option, name_, "parameters(), " + name, "contiguous float in host memory",
                     std::string(c10::toString(p.scalar_type())) + " on " + p.device().str());
            if (!p.grad().defined() || !p.grad().is_contiguous()) {
                torch::Tensor& gradient = p.mutable_grad();
                gradient = gradient.defined() ? gradient.contiguous() : torch::zeros_like(p);
            }
            parameter block{name, {}, {}, {}};
            for (const std::int64_t n : p.sizes()) block.shape.push_back(static_cast<std::size_t>(n));
            const auto n = static_cast<std::size_t>(p.numel());
            block.values = std::span(p.template data_ptr<float>(), n);
            block.gradients = std::span(p.mutable_grad().template data_ptr<float>(), n);
            blocks_.push_back(std::move(block));
        }
        return blocks_;
    }

    /// Parameters and buffers of its own; nothing of the optimiser.
    std::shared_ptr<Net> clone_net() const {
        auto copy = std::dynamic_pointer_cast<Net>(net_->clone(device_));
        const std::vector<torch::Tensor> from = net_->parameters(), to = copy->parameters();
        for (std::size_t i = 0; i < from.size(); ++i) to[i].set_requires_grad(from[i].requires_grad());
        return copy;
    }

private:
    template <class F>
    torch::Tensor guarded(const char* function, const torch_rows& rows, bool train, F&& f) {
        net_->train(train);
        const torch_without_cudnn guard(!train && device_.is_cuda() && torch::GradMode::is_enabled());
        try {
            return f();
        } catch (const c10::OutOfMemoryError&) {
            throw;
        } catch (const c10::Error& error) {
            const std::string text = error.what_without_backtrace();
            fail(error_kind::shape, name_, function,
                 "to accept int64 tokens " + torch_shape(rows.tokens) + " between 0 and " +
                     std::to_string(rows.tokens.max().item<std::int64_t>()),
                 "torch's error: " + text.substr(0, text.find('\n')));
        }
    }

    /// Parameters that require a gradient; tied ones once.
    std::vector<std::pair<std::string, torch::Tensor>> named_trainable() const {
        std::vector<std::pair<std::string, torch::Tensor>> some;
        std::unordered_set<const void*> seen;
        for (const auto& item : net_->named_parameters())
            if (item.value().requires_grad() && seen.insert(item.value().unsafeGetTensorImpl()).second)
                some.emplace_back(item.key(), item.value());
        return some;
    }
    std::vector<torch::Tensor> trainable() const {
        std::vector<torch::Tensor> some;
        for (const auto& item : named_trainable()) some.push_back(item.second);
        return some;
    }

    std::shared_ptr<Net> net_;
    const char* name_;
    torch::Device device_ = torch::kCPU;
    torch_optimizer_factory factory_;
    double weight_decay_;
    std::unique_ptr<torch::optim::Optimizer> optimizer_;
    std::vector<parameter> blocks_;
};

/// One draw from softmax(logit / temperature), truncated to the top_k likeliest and of these to the smallest set with a
/// share of top_p, then renormalised. Ties: the lower token first.
class torch_sampler {
public:
    struct draw {
        std::int32_t token;
        float log_prob;  ///< in the distribution that was drawn from
    };
    /// Errors: numeric_error for NaN and for logits without a finite maximum.
    draw operator()(std::span<const float> logit, const rollout_options& o, double u) {
        const std::size_t size = logit.size();
        double largest = -std::numeric_limits<double>::infinity();
        for (const float z : logit) largest = std::fmax(largest, static_cast<double>(z));
        weight_.resize(size);
        for (std::size_t v = 0; v < size; ++v)
            weight_[v] = std::exp((static_cast<double>(logit[v]) - largest) / o.temperature);
        if (o.truncates()) truncate(o);
        const std::size_t token = sample_categorical(std::span<const double>(weight_), u);
        const double total = sum(std::span<const double>(weight_));
        return {static_cast<std::int32_t>(token), static_cast<float>(std::log(weight_[token] / total))};
    }

private:
    void truncate(const rollout_options& o) {
        order_.resize(weight_.size());
        for (std::size_t v = 0; v < order_.size(); ++v) order_[v] = v;
        const auto likelier = [&](std::size_t a, std::size_t b) {
            return weight_[a] > weight_[b] || (weight_[a] == weight_[b] && a < b);
        };
        std::size_t kept = o.top_k == 0 ? order_.size() : std::min<std::size_t>(o.top_k, order_.size());
        std::partial_sort(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(kept), order_.end(), likelier);
        if (o.top_p < 1) {
            double mass = 0, reached = 0;
            for (std::size_t i = 0; i < kept; ++i) mass += weight_[order_[i]];
            for (std::size_t i = 0; i < kept && reached < o.top_p * mass; ++i) {
                reached += weight_[order_[i]];
                if (reached >= o.top_p * mass) kept = i + 1;
            }
        }
        for (std::size_t i = kept; i < order_.size(); ++i) weight_[order_[i]] = 0;
    }

    std::vector<double> weight_;
    std::vector<std::size_t> order_;
};

}  // namespace detail

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
class torch_policy {
    using net = typename detail::torch_module_of<Module>::type;
    static_assert(detail::torch_reads_tokens<net> || detail::torch_reads_lengths<net>,
                  "rlgaf: the torch module needs `torch::Tensor forward(torch::Tensor tokens)`: int64 [B, T] to logits "
                  "[B, T, V]");

public:
    using scalar = float;
    using batch = token_batch<float>;
    using prompts = token_prompts;
    static constexpr bool gives_entropy = true;
    static constexpr bool per_sample_streams = true;

    class tape {
        friend torch_policy;
        torch::Tensor log_prob, all;     // [N] of the N unmasked actions, [N, V]
        torch::Tensor logits, d_logits;  // [N, V] where there was a visitor
        detail::torch_slots slots;
    };

    /// Refers to the holder's module; copies nothing.
    explicit torch_policy(std::shared_ptr<net> module, torch_policy_options options = {})
        : options_(std::move(options)), model_(std::move(module), options_, "torch_policy") {}
    explicit torch_policy(const Module& holder, torch_policy_options options = {}) requires(!std::same_as<Module, net>)
        : torch_policy(holder.is_empty() ? nullptr : holder.ptr(), std::move(options)) {}

    net& module() const { return model_.net(); }

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
            evaluate(b, {.log_prob = ragged_view<float>::packed(known.data(), b.offset)});
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

    void evaluate(const batch& b, policy_outputs<scalar> out) {
        const torch::NoGradGuard no_grad;
        read(b, out, false);
    }
    tape forward(const batch& b, policy_outputs<scalar> out) {
        const torch::AutoGradMode grad(true);
        return read(b, out, options_.train_mode);
    }
    /// Ability exposes_logits.
    tape forward(const batch& b, policy_outputs<scalar> out, logit_visitor<scalar> visitor) {
        const torch::AutoGradMode grad(true);
        return read(b, out, options_.train_mode, &visitor);
    }

    void backward(tape&& t, policy_cotangents<scalar> c) {
        const tape done = std::move(t);
        if (!done.log_prob.defined() || !done.log_prob.requires_grad()) return;
        refuse_value(c.d_value.empty(), "torch_policy::backward", "d_value");
        std::vector<torch::Tensor> output, gradient;
        const auto gather = [&](const ragged_view<const float>& from, const char* argument) {
            return done.slots.gather(from, done.log_prob, "torch_policy::backward", argument);
        };
        if (done.d_logits.defined()) {
            output.push_back(done.logits);
            gradient.push_back(done.d_logits);
        }
        if (!c.d_log_prob.empty()) {
            output.push_back(done.log_prob);
            gradient.push_back(gather(c.d_log_prob, "d_log_prob"));
        }
        if (!c.d_entropy.empty()) {
            const torch::AutoGradMode grad(true);
            output.push_back(entropy_of(done.all));
            gradient.push_back(gather(c.d_entropy, "d_entropy"));
        }
        if (!output.empty()) torch::autograd::backward(output, gradient);
    }

    step_report step(const step_options& options) { return model_.step(options); }
    void discard() { model_.discard(); }

    /// Ability flat_parameters: those that require a gradient, named as in the module.
    /// Errors: option_error where they are not float in host memory.
    std::span<const parameter_block<scalar>> parameters() { return model_.parameters(); }

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

    static void refuse_value(bool empty, const char* function, const char* argument) {
        if (!empty) fail(error_kind::option, function, argument, "an empty view (no module output is a value)", "rows");
    }

    void check_logits(const torch::Tensor& logits, const torch::Tensor& tokens) const {
        if (!logits.defined() || logits.dim() != 3 || logits.size(0) != tokens.size(0) ||
            logits.size(1) != tokens.size(1) || !logits.is_floating_point()) [[unlikely]]
            fail(error_kind::shape, "torch_policy", "module.forward",
                 "floating-point logits [B, T, V] = [" + std::to_string(tokens.size(0)) + ", " +
                     std::to_string(tokens.size(1)) + ", V] of tokens " + detail::torch_shape(tokens),
                 detail::torch_shape(logits));
    }
    static void check_begin(std::int64_t begin, std::size_t row) {
        if (begin == 0) [[unlikely]]
            fail(error_kind::shape, "torch_policy", "row " + std::to_string(row),
                 "a prompt, or .start_token, before the first action", "nothing");
    }

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
            check_begin(length[i], alive[i]);
            last[i] = static_cast<std::int64_t>(i) * in.tokens.size(1) + length[i] - 1;
        }
        const torch::Tensor logits = model_.run(in, false);
        check_logits(logits, in.tokens);
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

    tape read(const batch& b, const policy_outputs<scalar>& out, bool train,
              const logit_visitor<scalar>* visitor = nullptr) {
        const auto shape = ragged_view<const float>::packed(nullptr, b.offset);
        detail::check_same_shape_if_given(shape, out.log_prob, "torch_policy", "log_prob");
        detail::check_same_shape_if_given(shape, out.entropy, "torch_policy", "entropy");
        refuse_value(out.value.empty(), "torch_policy", "value");

        // The completion's last token is an action and never an input.
        const detail::torch_rows in(
            rows(b), options_.start_token, options_.pad_token,
            [&](std::size_t i) { return rows(b.prompt) > 0 ? b.prompt.row(i) : std::span<const std::int32_t>{}; },
            [&](std::size_t i) { return b.row(i).first(b.length[i] > 0 ? b.length[i] - 1 : 0); });
        std::vector<std::int64_t> position, action;
        std::vector<double> temperature;
        bool tempered = false;
        for_each_token(shape, mask(b), [&](std::size_t i, std::size_t t) {
            if (t == 0) check_begin(in.begin[i], i);
            position.push_back(static_cast<std::int64_t>(i) * in.tokens.size(1) + in.begin[i] - 1 +
                               static_cast<std::int64_t>(t));
            action.push_back(b.row(i)[t]);
            temperature.push_back(b.temperature[i]);
            tempered = tempered || b.temperature[i] != 1;
        });
        tape result;
        result.slots = {b.offset, b.mask};
        if (position.empty()) return result;

        const torch::Tensor logits = model_.run(in, train);
        check_logits(logits, in.tokens);
        for (const std::int64_t a : action)
            if (a < 0 || a >= logits.size(2)) [[unlikely]]
                fail(error_kind::numeric, "torch_policy", "tokens",
                     "actions from 0 to V - 1 = " + std::to_string(logits.size(2) - 1), std::to_string(a));
        torch::Tensor z = logits.reshape({-1, logits.size(2)}).index_select(0, detail::torch_tensor(position, logits));
        if (z.scalar_type() == torch::kHalf || z.scalar_type() == torch::kBFloat16) z = z.to(torch::kFloat);
        if (tempered) z = z / detail::torch_tensor(temperature, z).unsqueeze(1);
        result.all = torch::log_softmax(z, -1);
        result.log_prob = result.all.gather(1, detail::torch_tensor(action, z).unsqueeze(1)).squeeze(1);

        detail::torch_scatter(mask(b), result.log_prob, out.log_prob);
        if (!out.entropy.empty()) {
            const torch::NoGradGuard no_grad;
            detail::torch_scatter(mask(b), entropy_of(result.all), out.entropy);
        }
        if (visitor) {
            result.logits = z;
            result.d_logits = visit(z, *visitor);
        }
        return result;
    }

    /// A probability of 0 adds nothing and has no gradient.
    static torch::Tensor entropy_of(const torch::Tensor& all) {
        const torch::Tensor finite = all.clamp_min(-1e30);
        return -(finite.exp() * finite).sum(-1);
    }

    /// Shows [N, V] to the visitor, a bounded part at a time, and returns what it adds.
    static torch::Tensor visit(const torch::Tensor& logits, const logit_visitor<float>& visitor) {
        const torch::NoGradGuard no_grad;
        const std::int64_t tokens = logits.size(0), size = logits.size(1);
        const std::int64_t part = std::max<std::int64_t>(1, (std::int64_t{1} << 22) / std::max<std::int64_t>(1, size));
        const auto vocabulary = static_cast<std::size_t>(size);
        const torch::Tensor all = torch::empty_like(logits);
        for (std::int64_t first = 0; first < tokens; first += part) {
            const std::int64_t count = std::min(part, tokens - first);
            const torch::Tensor host = detail::torch_host(logits.narrow(0, first, count)), d = torch::zeros_like(host);
            for (std::int64_t i = 0; i < count; ++i)
                visitor(static_cast<std::size_t>(first + i),
                        std::span<const float>(host.template data_ptr<float>() + i * size, vocabulary),
                        std::span(d.template data_ptr<float>() + i * size, vocabulary));
            all.narrow(0, first, count).copy_(d);
        }
        return all;
    }

    torch_policy_options options_;
    detail::torch_model<net> model_;
    detail::torch_sampler sampler_;
};

/// A discriminator or reward model over tokens made of a torch module; one number a row, or `.width` of them.
/// Formula: score = out[b] of a module that returns [B]; of one that returns [B, T], what `reading` says. A row without
///          any position scores 0 and has no gradient. The score of a token is out[b, t] at its position.
/// Inputs:  a perturbation moves embeddings, at all positions before the padding: start token, prompt and completion.
///          `towards` pairs positions from the beginning of the rows on. Element e of position t of row i gets noise
///          number t * E + e of sample i, on every device.
/// Errors:  shape_error for an output that is neither [B] nor [B, T] ([B, W] nor [B, T, W]), for scores of tokens where
///          it is not [B, T], for a perturbation of rows of other lengths.
/// Needs:   rows that do not depend on each other, nor on how much padding follows them. Scores of tokens: a causal
///          module. Perturbations: forward(tokens) = forward_embedded(embed(tokens)).
template <class Module>
class torch_scorer {
    using net = typename detail::torch_module_of<Module>::type;
    static_assert(detail::torch_reads_tokens<net> || detail::torch_reads_lengths<net>,
                  "rlgaf: the torch module needs `torch::Tensor forward(torch::Tensor tokens)`: int64 [B, T] to scores "
                  "[B] or [B, T]");
    static constexpr bool embeds = detail::torch_embeds<net>;

public:
    using scalar = float;
    using batch = token_batch<float>;

    class tape {
        friend torch_scorer;
        torch::Tensor score;  // [B, W]
        std::size_t count = 0;
    };
    class token_tape {
        friend torch_scorer;
        torch::Tensor score;  // [N] of the N unmasked tokens
        detail::torch_slots slots;
    };
    class perturbation {
        friend torch_scorer;
        torch::Tensor move;  // [B, T, E], 0 at padding; never written to, so that copies may share it
    };

    /// Refers to the holder's module; copies nothing.
    explicit torch_scorer(std::shared_ptr<net> module, torch_scorer_options options = {})
        : options_(std::move(options)), model_(std::move(module), options_, "torch_scorer") {}
    explicit torch_scorer(const Module& holder, torch_scorer_options options = {}) requires(!std::same_as<Module, net>)
        : torch_scorer(holder.is_empty() ? nullptr : holder.ptr(), std::move(options)) {}

    net& module() const { return model_.net(); }
    std::size_t width() const { return static_cast<std::size_t>(options_.width); }

    void evaluate(const batch& b, std::span<scalar> score) {
        const torch::NoGradGuard no_grad;
        read(b, score, false);
    }
    tape forward(const batch& b, std::span<scalar> score) {
        const torch::AutoGradMode grad(true);
        return read(b, score, options_.train_mode);
    }
    void backward(tape&& t, std::span<const scalar> d_score) {
        const tape done = std::move(t);
        detail::check_size(d_score.size(), done.count, "torch_scorer::backward", "d_score");
        if (done.score.defined() && done.score.requires_grad()) done.score.backward(like_scores(d_score, done.score));
    }

    /// Ability scores_tokens. Masked slots are left alone. Errors: option_error unless width is 1.
    void evaluate_tokens(const batch& b, ragged_view<scalar> score) {
        const torch::NoGradGuard no_grad;
        read_tokens(b, score, false);
    }
    token_tape forward_tokens(const batch& b, ragged_view<scalar> score) {
        const torch::AutoGradMode grad(true);
        return read_tokens(b, score, options_.train_mode);
    }
    void backward_tokens(token_tape&& t, ragged_view<const scalar> d_score) {
        const token_tape done = std::move(t);
        if (!done.score.defined() || !done.score.requires_grad()) return;
        done.score.backward(done.slots.gather(d_score, done.score, "torch_scorer::backward_tokens", "d_score"));
    }

    /// Ability perturbs_inputs, of modules with `embed` and `forward_embedded`.
    perturbation noise(const batch& b, double sigma, rng_key key) requires embeds {
        detail::check_option(sigma >= 0, "torch_scorer::noise", "sigma", "0 or positive", sigma);
        if (rows(b) == 0) return {};
        const torch::NoGradGuard no_grad;
        const detail::torch_rows in = rows_of(b);
        const torch::Tensor x = model_.embed(in), host = torch::zeros(x.sizes(), torch::kDouble);
        double* row = host.template data_ptr<double>();
        for (std::size_t i = 0; i < rows(b); ++i, row += x.size(1) * x.size(2)) {
            const random_stream random(key, stream::noise, i);
            const auto n = static_cast<std::size_t>(in.lengths.template data_ptr<std::int64_t>()[i] * x.size(2));
            for (std::size_t k = 0; k < n; ++k)
                row[k] = sigma *
                         random.normal(static_cast<std::uint32_t>(k & 0xFFFFFF), static_cast<std::uint32_t>(k >> 24));
        }
        return moved_by(host.to(x.device(), x.scalar_type()));
    }
    /// Errors: shape_error unless both batches have as many rows as d.
    perturbation towards(const batch& b, const batch& other, std::span<const scalar> d) requires embeds {
        detail::check_size(d.size(), rows(b), "torch_scorer::towards", "d");
        detail::check_size(rows(other), rows(b), "torch_scorer::towards", "rows of the other batch");
        if (rows(b) == 0) return {};
        const torch::NoGradGuard no_grad;
        const detail::torch_rows from = rows_of(b), to = rows_of(other);
        const std::int64_t both = std::min(from.tokens.size(1), to.tokens.size(1));
        const torch::Tensor x = model_.embed(from), gap = model_.embed(to).narrow(1, 0, both) - x.narrow(1, 0, both);
        const torch::Tensor outside =
            detail::torch_rows::padding_after(torch::minimum(from.lengths, to.lengths), both).to(x.device());
        const torch::Tensor move = torch::zeros_like(x);
        move.narrow(1, 0, both).copy_((gap * factors(d, x)).masked_fill(outside, 0));
        return moved_by(move);
    }
    perturbation input_gradient(const batch& b, const perturbation& p, std::span<const scalar> d) requires embeds {
        detail::check_size(d.size(), rows(b) * width(), "torch_scorer::input_gradient", "d");
        if (rows(b) == 0) return {};
        const torch::AutoGradMode grad(true);
        const detail::torch_rows in = rows_of(b);
        const torch::Tensor x = embedded(in, p).detach().requires_grad_(true);
        const torch::Tensor score = scores(model_.run_embedded(in, x), b, in);
        torch::Tensor g;
        if (score.requires_grad())
            g = torch::autograd::grad({score}, {x}, {like_scores(d, score)}, {}, false, true).front();
        if (!g.defined()) g = torch::zeros_like(x);
        return moved_by(g.detach().masked_fill(in.padding().to(g.device()), 0));
    }
    /// Errors: shape_error unless there is a number for each row.
    void row_norms(const perturbation& p, std::span<scalar> norm) const requires embeds {
        check_rows(p, norm.size(), "torch_scorer::row_norms");
        std::fill(norm.begin(), norm.end(), 0.0f);
        if (!p.move.defined()) return;
        const torch::Tensor n = detail::torch_host(p.move.to(torch::kDouble).square().sum({1, 2}).sqrt());
        std::copy_n(n.template data_ptr<float>(), norm.size(), norm.begin());
    }
    void scale(perturbation& p, std::span<const scalar> d) const requires embeds {
        check_rows(p, d.size(), "torch_scorer::scale");
        if (p.move.defined()) p.move = p.move * factors(d, p.move);
    }
    void add(perturbation& p, const perturbation& more) const requires embeds {
        if (p.move.defined() && more.move.defined()) {
            check_shape(more, p.move, "torch_scorer::add");
            p.move = p.move + more.move;
        } else if (more.move.defined()) {
            p.move = more.move;
        }
    }
    tape forward(const batch& b, const perturbation& p, std::span<scalar> score) requires embeds {
        const torch::AutoGradMode grad(true);
        tape result = begin(b, score);
        if (rows(b) == 0) return result;
        const detail::torch_rows in = rows_of(b);
        result.score = scores(model_.run_embedded(in, embedded(in, p)), b, in);
        write(result.score, score);
        return result;
    }

    step_report step(const step_options& options) { return model_.step(options); }
    void discard() { model_.discard(); }

    /// As torch_policy's.
    std::span<const parameter_block<scalar>> parameters() { return model_.parameters(); }
    torch_scorer clone() const requires detail::torch_clonable<net> {
        return torch_scorer(model_.clone_net(), options_);
    }

private:
    detail::torch_rows rows_of(const batch& b) const {
        return {rows(b), options_.start_token, options_.pad_token,
                [&](std::size_t i) { return rows(b.prompt) > 0 ? b.prompt.row(i) : std::span<const std::int32_t>{}; },
                [&](std::size_t i) { return b.row(i); }};
    }
    tape begin(const batch& b, std::span<scalar> score) const {
        tape result;
        result.count = rows(b) * width();
        detail::check_size(score.size(), result.count, "torch_scorer", "score");
        return result;
    }
    tape read(const batch& b, std::span<scalar> score, bool train) {
        tape result = begin(b, score);
        if (rows(b) == 0) return result;
        const detail::torch_rows in = rows_of(b);
        result.score = scores(model_.run(in, train), b, in);
        write(result.score, score);
        return result;
    }
    static void write(const torch::Tensor& from, std::span<scalar> to) {
        const torch::Tensor host = detail::torch_host(from);
        std::copy_n(host.template data_ptr<float>(), to.size(), to.begin());
    }
    static torch::Tensor like_scores(std::span<const scalar> d, const torch::Tensor& score) {
        return detail::torch_tensor(std::vector<float>(d.begin(), d.end()), score).view_as(score);
    }

    /// What the module returned as [B, W], or [B, T, W].
    torch::Tensor checked(torch::Tensor out, const detail::torch_rows& in) const {
        const std::int64_t count = in.tokens.size(0), positions = in.tokens.size(1), numbers = options_.width;
        if (out.defined() && numbers == 1) {
            if (out.dim() > 1 && out.size(-1) == 1 && (out.dim() > 2 || positions > 1)) out = out.squeeze(-1);
            out = out.unsqueeze(-1);
        }
        const std::int64_t dim = out.defined() ? out.dim() : 0;
        if (!(dim == 2 || (dim == 3 && out.size(1) == positions)) || out.size(0) != count ||
            out.size(dim - 1) != numbers) [[unlikely]] {
            const std::string w = numbers == 1 ? "" : ", " + std::to_string(numbers);
            const std::string t = detail::torch_shape(in.tokens);
            fail(error_kind::shape, "torch_scorer", "module.forward",
                 (numbers == 1 ? "[B] = [" : "[B, W] = [") + std::to_string(count) + w +
                     (numbers == 1 ? "] or [B, T] = " : "] or [B, T, W] = ") + t.substr(0, t.size() - 1) + w + "]",
                 detail::torch_shape(out.defined() && numbers == 1 ? out.squeeze(-1) : out));
        }
        const bool half = out.scalar_type() == torch::kHalf || out.scalar_type() == torch::kBFloat16;
        return half ? out.to(torch::kFloat) : out;
    }
    torch::Tensor scores(const torch::Tensor& returned, const batch& b, const detail::torch_rows& in) const {
        const torch::Tensor out = checked(returned, in);
        return out.dim() == 3 ? collect(out, b, in) : out;
    }

    /// Row sums of picked positions, so that others are never read: [B, T, W] to [B, W].
    torch::Tensor collect(const torch::Tensor& out, const batch& b, const detail::torch_rows& in) const {
        std::vector<std::int64_t> row, position;
        std::vector<double> weight;
        const auto pick = [&](std::size_t i, std::int64_t t, double w) {
            row.push_back(static_cast<std::int64_t>(i));
            position.push_back(static_cast<std::int64_t>(i) * out.size(1) + t);
            weight.push_back(w);
        };
        const std::int64_t* const length = in.lengths.template data_ptr<std::int64_t>();
        for (std::size_t i = 0; i < rows(b); ++i) {
            if (options_.reading == torch_reading::last_token) {
                if (length[i] > 0) pick(i, length[i] - 1, 1);
                continue;
            }
            const auto included = [&](std::size_t t) { return b.mask.empty() || b.mask[b.offset[i] + t] != 0; };
            std::size_t n = 0;
            for (std::size_t t = 0; t < b.length[i]; ++t) n += included(t) ? 1 : 0;
            for (std::size_t t = 0; t < b.length[i]; ++t)
                if (included(t)) pick(i, in.begin[i] + static_cast<std::int64_t>(t), 1 / static_cast<double>(n));
        }
        const torch::Tensor picked = out.flatten(0, 1).index_select(0, detail::torch_tensor(position, out));
        return torch::zeros({out.size(0), out.size(2)}, out.options())
            .index_add(0, detail::torch_tensor(row, out), picked * detail::torch_tensor(weight, out).unsqueeze(1));
    }

    token_tape read_tokens(const batch& b, const ragged_view<scalar>& score, bool train) {
        detail::check_option(options_.width == 1, "torch_scorer_options", "width", "1 for scores of tokens",
                             options_.width);
        detail::check_same_shape(tokens(b), score, "torch_scorer", "score");
        const detail::torch_rows in = rows_of(b);
        std::vector<std::int64_t> position;
        for_each_token(tokens(b), mask(b), [&](std::size_t i, std::size_t t) {
            position.push_back(static_cast<std::int64_t>(i) * in.tokens.size(1) + in.begin[i] +
                               static_cast<std::int64_t>(t));
        });
        token_tape result;
        result.slots = {b.offset, b.mask};
        if (position.empty()) return result;
        const torch::Tensor out = checked(model_.run(in, train), in);
        if (out.dim() != 3) [[unlikely]]
            fail(error_kind::shape, "torch_scorer", "module.forward",
                 "[B, T] = " + detail::torch_shape(in.tokens) + " for scores of tokens",
                 detail::torch_shape(out.squeeze(-1)));
        result.score = out.flatten().index_select(0, detail::torch_tensor(position, out));
        detail::torch_scatter(mask(b), result.score, score);
        return result;
    }

    static perturbation moved_by(const torch::Tensor& move) {
        perturbation p;
        p.move = move;
        return p;
    }
    torch::Tensor embedded(const detail::torch_rows& in, const perturbation& p) {
        const torch::Tensor x = model_.embed(in);
        if (!p.move.defined()) return x;
        check_shape(p, x, "torch_scorer");
        return x + p.move;
    }
    static torch::Tensor factors(std::span<const scalar> d, const torch::Tensor& like) {
        return detail::torch_tensor(std::vector<float>(d.begin(), d.end()), like).view({-1, 1, 1});
    }
    static void check_rows(const perturbation& p, std::size_t count, const char* function) {
        if (p.move.defined())
            detail::check_size(count, static_cast<std::size_t>(p.move.size(0)), function, "rows of the perturbation");
    }
    static void check_shape(const perturbation& p, const torch::Tensor& like, const char* function) {
        if (p.move.sizes() != like.sizes()) [[unlikely]]
            fail(error_kind::shape, function, "perturbation", "one of the same rows, " + detail::torch_shape(like),
                 detail::torch_shape(p.move));
    }

    torch_scorer_options options_;
    detail::torch_model<net> model_;
};

/// A holder gives the adapter of its type, a std::shared_ptr that of the module.
template <class Holder>
torch_policy(Holder, torch_policy_options = {}) -> torch_policy<Holder>;
template <class Net>
torch_policy(std::shared_ptr<Net>, torch_policy_options = {}) -> torch_policy<Net>;
template <class Holder>
torch_scorer(Holder, torch_scorer_options = {}) -> torch_scorer<Holder>;
template <class Net>
torch_scorer(std::shared_ptr<Net>, torch_scorer_options = {}) -> torch_scorer<Net>;

}  // namespace rlgaf::inline RLGAF_ABI
