#pragma once
#include <type_traits>

#include "rlgaf/reward_shaping/stage.hpp"
#include "rlgaf/reward_shaping/transport.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct step_transport_options {
    double scale = 1;                ///< > 0
    double epsilon = 0.05;           ///< > 0, in units of C: small is sharp and slow to converge
    std::uint32_t iterations = 100;  ///< > 0
};

namespace detail {
/// Every `width` numbers become a vector of length 1, or stay 0.
inline void to_unit_length(std::vector<double>& x, std::size_t width) {
    for (std::size_t first = 0; first + width <= x.size(); first += width) {
        double square = 0;
        for (std::size_t k = 0; k < width; ++k) square += x[first + k] * x[first + k];
        if (square > 0)
            for (std::size_t k = 0; k < width; ++k) x[first + k] /= std::sqrt(square);
    }
}

template <class F>
struct step_transport {
    using role = role::reward;
    F steps;
    std::size_t width;
    std::vector<std::vector<double>> demonstrations;
    step_transport_options options;

    void check() const {
        check_positive(options.scale, name, "scale");
        check_positive(options.epsilon, name, "epsilon");
        check_option(options.iterations > 0, name, "iterations", "positive", options.iterations);
        check_option(width > 0, name, "width", "positive", static_cast<double>(width));
        check_option(!demonstrations.empty(), name, "demonstrations", "at least one", 0);
        for (const auto& steps_of_one : demonstrations) check_steps(steps_of_one, "demonstrations");
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch& batch, rewards<T>& out, workspace& work) const {
        check();
        const ragged_view<T> token = out.token();
        check_same_shape_if_given(token, terms.mask, name, "terms.mask");
        std::vector<double>&x = work.d, &paid = work.e;
        for (std::size_t b = 0; b < token.rows(); ++b) {
            x.clear();
            if constexpr (std::is_invocable_v<const F&, const Batch&, std::size_t, std::vector<double>&>)
                steps(batch, b, x);
            else
                static_assert(sizeof(Batch) == 0,
                              "rlgaf: step_transport_reward needs a callable `void (const batch&, std::size_t row, "
                              "std::vector<double>& x)` that appends `width` features for each token of the row");
            check_size(x.size(), token.length(b) * width, name, "features of a row");
            work.index.clear();
            const included_tokens included(terms.mask, b);
            for (std::size_t t = 0; t < token.length(b); ++t)
                if (included[t]) {
                    const std::size_t to = work.index.size() * width;
                    for (std::size_t k = 0; k < width; ++k) x[to + k] = x[t * width + k];
                    work.index.push_back(t);
                }
            const std::size_t m = work.index.size();
            if (m == 0) continue;
            x.resize(m * width);
            check_steps(x, "features of a row");
            to_unit_length(x, width);
            paid.assign(2 * m, 0.0);  // by the demonstration at hand, and by the nearest one so far
            const std::span<double> now = span_of(paid).first(m), nearest = span_of(paid).last(m);
            double least = std::numeric_limits<double>::infinity();
            for (const auto& demonstration : demonstrations) {
                set_costs(x, demonstration, work.a);
                carry(span_of(work.a), m, demonstration.size() / width, options.iterations, work.b, work.c, now);
                double total = 0;
                for (const double v : now) total += v;
                if (total < least) {
                    least = total;
                    for (std::size_t i = 0; i < m; ++i) nearest[i] = now[i];
                }
            }
            const double unit = options.scale * options.epsilon / static_cast<double>(m);
            for (std::size_t i = 0; i < m; ++i) token.row(b)[work.index[i]] -= static_cast<T>(unit * nearest[i]);
        }
    }

private:
    static constexpr const char* name = "step_transport_reward";

    void check_steps(const std::vector<double>& x, const char* what) const {
        if (x.empty() || x.size() % width != 0) [[unlikely]]
            fail(error_kind::shape, name, what, short_text("a positive multiple of ", width, " numbers"),
                 short_text(x.size()));
        check_finite(std::span<const double>(x), name, what);
    }
    void set_costs(std::span<const double> x, std::span<const double> e, std::vector<double>& cost) const {
        cost.clear();
        for (std::size_t i = 0; i < x.size(); i += width)
            for (std::size_t j = 0; j < e.size(); j += width) {
                double dot = 0;
                for (std::size_t k = 0; k < width; ++k) dot += x[i + k] * e[j + k];
                cost.push_back((1 - dot) / options.epsilon);
            }
    }
};
}  // namespace detail

/// Tokens are paid by how far each has to be carried to become a step of the nearest demonstration: optimal transport
/// between the steps of two episodes. No discriminator is trained.
/// Formula: token reward -= scale sum_j P_tj C_tj, C_tj = 1 - cos(x_t, e_j), P = argmin sum P C - epsilon H(P) over plans
///          that give each of the row's m unmasked tokens 1 / m and each of the demonstration's n steps 1 / n; of the
///          demonstrations the one with the least sum P C, the first of equals.
/// Shapes:  steps: `void (const batch&, std::size_t row, std::vector<double>& x)` appends [length, width], masked tokens
///          included; demonstrations: [n, width] each.
/// Units:   a row's tokens add up to at least -2 scale, whatever its length. Survival bias: none by itself; with a
///          discount, longer rows.
/// Degenerate: a feature vector of 0 is at distance 1 of everything. A row without unmasked tokens is paid nothing.
/// Errors:  shape_error; option_error; numeric_error for features that are not finite.
/// Needs:   m n (width + 2 iterations) operations for each row and demonstration: few, short demonstrations.
/// Source:  Cuturi 2013, arXiv 1306.0895; Papagiannis and Li 2020, arXiv 2008.09167; Haldar et al. 2022, arXiv 2206.15469
///          (ROT).
template <class F>
auto step_transport_reward(F steps, std::size_t width, std::vector<std::vector<double>> demonstrations,
                           step_transport_options options = {}) {
    detail::step_transport<F> stage{static_cast<F&&>(steps), width,
                                    static_cast<std::vector<std::vector<double>>&&>(demonstrations), options};
    stage.check();
    for (std::vector<double>& one : stage.demonstrations) detail::to_unit_length(one, width);
    return stage;
}

}  // namespace rlgaf::inline RLGAF_ABI
