#pragma once
#include "rlgaf/core/finite.hpp"
#include "rlgaf/reward_shaping/terms.hpp"

/// What reward stages share.
namespace rlgaf::inline RLGAF_ABI::detail {

/// Errors: shape_error unless there are `width` scores a row.
template <class T>
void check_scores(const shaping_terms<T>& terms, const rewards<T>& out, const char* stage) {
    check_size(terms.score.size(), out.rows() * terms.width, stage, "terms.score");
}
template <class T>
void check_expert_scores(const shaping_terms<T>& terms, const rewards<T>& out, const char* stage) {
    check_scores(terms, out, stage);
    check_size(terms.expert_score.size(), terms.score.size(), stage, "terms.expert_score");
}
/// Errors: shape_error unless log_prob, which says how long rows are, and the mask fit.
template <class T>
void check_row_lengths(const shaping_terms<T>& terms, const rewards<T>& out, const char* stage) {
    check_size(terms.log_prob.rows(), out.rows(), stage, "terms.log_prob");
    check_same_shape_if_given(terms.log_prob, terms.mask, stage, "terms.mask");
}
/// Errors: numeric_error for an infinite outcome.
template <class T>
void check_outcomes(rewards<T>& out, const char* function) {
    for (std::size_t k = 0; k < out.outcomes(); ++k) {
        const std::span<const double> outcome = out.outcome(k);
        for (std::size_t i = first_nonfinite(outcome); i < outcome.size();
             i += 1 + first_nonfinite(outcome.subspan(i + 1)))
            if (!is_nan(&outcome[i])) [[unlikely]]
                fail(error_kind::numeric, function, short_text("reward '", out.name(k), "' of row ", i),
                     "a finite number, or NaN for \"does not apply\"", short_text(outcome[i]));
    }
}
/// Errors: option_error if there are several rows and each is a group of its own.
inline void check_shared_groups(const groups& group, workspace& work, const char* stage) {
    work.c.assign(group.count, 0.0);
    bool shared = group.id.size() < 2;
    for (const std::uint32_t g : group.id) shared = ++work.c[g] > 1 || shared;
    if (!shared) [[unlikely]]
        fail(error_kind::option, stage, "groups",
             "a group of more than one row (groups of one row have no spread; give the advantage estimator a "
             "group_size above 1)",
             short_text(group.id.size(), " groups of one row"));
}
/// Errors: shape_error unless there is one number a token in x.
template <class T>
ragged_view<T> tokens_to_pay(const shaping_terms<T>& terms, const ragged_view<const T>& x, rewards<T>& out,
                             const char* stage, const char* argument) {
    const ragged_view<T> token = out.token();
    check_same_shape(token, x, stage, argument);
    check_same_shape_if_given(token, terms.mask, stage, "terms.mask");
    return token;
}

/// Adds the outcome "discriminator": f(x...), the mean over a row's `width` numbers.
template <class T, class F, class... Scores>
RLGAF_FLATTEN void add_score_reward(rewards<T>& out, std::size_t width, F&& f, const Scores&... x) {
    const std::span<double> r = out.add_outcome("discriminator");
    if (width == 1) {
        T value[block_tokens];  // apart from the caller's arrays: no compiler has to ask whether they overlap
        for_each_block(r.size(), [&](const std::size_t first, const std::size_t n) {
            for (std::size_t i = 0; i < n; ++i) value[i] = f(x[first + i]...);
            for (std::size_t i = 0; i < n; ++i) r[first + i] = static_cast<double>(value[i]);
        });
        return;
    }
    for (std::size_t i = 0; i < r.size(); ++i) {
        for (std::size_t k = i * width; k < (i + 1) * width; ++k) r[i] += static_cast<double>(f(x[k]...));
        r[i] /= static_cast<double>(width);
    }
}

/// Tokens of row i that are the policy's own.
template <class T>
double unmasked_tokens(const shaping_terms<T>& terms, std::size_t i) {
    const std::size_t n = terms.log_prob.length(i);
    return static_cast<double>(terms.mask.empty() ? n : count_included(terms.mask.data(i), n));
}

/// The sum of row i's outcomes, which become 0. NaN ("does not apply") is not taken and stays.
template <class T>
double take_outcomes(rewards<T>& out, std::size_t i) {
    double sum = 0;
    for (std::size_t k = 0; k < out.outcomes(); ++k)
        if (double& r = out.outcome(k)[i]; !is_nan(&r)) sum += r, r = 0;
    return sum;
}

/// The outcome of this name. Errors: option_error if no earlier stage added it.
template <class T>
std::span<double> outcome_named(rewards<T>& out, const chars& name, const char* stage, const char* field) {
    for (std::size_t k = 0; k < out.outcomes(); ++k)
        if (out.name(k) == name) return out.outcome(k);
    fail(error_kind::option, stage, short_text(".", field), "the name of an outcome that an earlier stage adds",
         short_text("\"", name, "\""));
}

/// Archives a list of states, its size first.
template <class Archive, class State>
void visit_list(Archive& a, std::vector<State>& list) {
    std::uint64_t n = list.size();
    a("count", n);
    list.resize(n);
    for (State& s : list) s.visit(a);
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
