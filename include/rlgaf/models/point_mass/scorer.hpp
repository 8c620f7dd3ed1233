#pragma once
#include <array>

#include "rlgaf/models/optimizer_choice.hpp"
#include "rlgaf/models/point_mass/owned_block.hpp"
#include "rlgaf/models/point_mass_world.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct point_mass_scorer_options {
    std::size_t hidden = 8;  ///< tanh units; 0: linear in the quadratic features
    std::uint64_t seed = 1;  ///< of the first weights
    optimizer_choice optimizer = adamw{};
};

/// One number a row: the mean over its steps of a small net on quadratic features of state and action.
/// Formula: score = mean over t of direct . f + out . tanh(W f),  f = (1, x, v, a, x^2, v^2, a^2, x v, x a, v a).
/// Needs:   rows with at least one step; a row without any scores 0.
template <class T>
class point_mass_scorer {
public:
    using scalar = T;
    using batch = point_mass_batch<T>;
    struct tape {
        batch b;
    };

    explicit point_mass_scorer(const point_mass_scorer_options& options)
        : inner_({options.hidden, features}), out_({options.hidden}), optimizer_(options.optimizer) {
        inner_.randomize(0.3, options.seed, 16);
        out_.randomize(0.3, options.seed, 17);
    }

    void evaluate(const batch& b, std::span<T> score) {
        detail::check_size(score.size(), rows(b), "point_mass_scorer::evaluate", "score");
        for (std::size_t i = 0; i < rows(b); ++i) {
            double sum = 0;
            for (std::size_t s = b.offset[i]; s < b.offset[i + 1]; ++s) {
                const auto f = features_of(b, s);
                for (std::size_t k = 0; k < features; ++k) sum += direct_[k] * f[k];
                for (std::size_t j = 0; j < hidden(); ++j) sum += out_[j] * unit(j, f);
            }
            score[i] = static_cast<T>(b.length[i] == 0 ? 0 : sum / b.length[i]);
        }
    }
    tape forward(const batch& b, std::span<T> score) {
        evaluate(b, score);
        return {b};
    }
    void backward(tape&& taped, std::span<const T> d_score) {
        const batch& b = taped.b;
        detail::check_size(d_score.size(), rows(b), "point_mass_scorer::backward", "d_score");
        for (std::size_t i = 0; i < rows(b); ++i)
            for (std::size_t s = b.offset[i]; s < b.offset[i + 1]; ++s) {
                const double d = static_cast<double>(d_score[i]) / b.length[i];
                const auto f = features_of(b, s);
                for (std::size_t k = 0; k < features; ++k) direct_.add(k, d * f[k]);
                for (std::size_t j = 0; j < hidden(); ++j) {
                    const double h = unit(j, f), d_inner = d * out_[j] * (1 - h * h);
                    out_.add(j, d * h);
                    for (std::size_t k = 0; k < features; ++k) inner_.add(j * features + k, d_inner * f[k]);
                }
            }
    }

    std::array<parameter_block<T>, 3> parameters() {
        return {direct_.block("direct"), inner_.block("inner"), out_.block("out")};
    }
    template <class Archive>
    void visit(Archive& a) {
        visit_parameters(a, *this);
        optimizer_.visit(a);
    }
    step_report step(const step_options& o) { return optimizer_.step(parameters(), o); }
    void discard() {
        direct_.discard();
        inner_.discard();
        out_.discard();
    }
    /// The same parameters, no gradients and an optimiser without memory, as if they were loaded from a file.
    point_mass_scorer clone() const {
        point_mass_scorer copy = *this;
        copy.discard();
        copy.optimizer_.forget();
        return copy;
    }

private:
    static constexpr std::size_t features = 10;
    std::size_t hidden() const { return out_.values.size(); }
    static std::array<double, features> features_of(const batch& b, std::size_t s) {
        const double x = static_cast<double>(b.position[s]), v = static_cast<double>(b.velocity[s]),
                     a = static_cast<double>(b.action[s]);
        return {1, x, v, a, x * x, v * v, a * a, x * v, x * a, v * a};
    }
    double unit(std::size_t j, const std::array<double, features>& f) const {
        double sum = 0;
        for (std::size_t k = 0; k < features; ++k) sum += inner_[j * features + k] * f[k];
        return std::tanh(sum);
    }

    detail::owned_block<T> direct_{{features}}, inner_, out_;
    chosen_optimizer<T> optimizer_;
};

}  // namespace rlgaf::inline RLGAF_ABI
