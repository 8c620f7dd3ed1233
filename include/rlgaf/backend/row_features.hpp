#pragma once
#include <type_traits>

#include "rlgaf/backend/scorer.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {
template <class Batch, class T, class F>
class row_features {
public:
    using scalar = T;
    struct tape {};

    row_features(std::size_t width, F function) : width_(width), function_(static_cast<F&&>(function)) {
        check_option(width > 0, "row_features", "width", "positive", 0);
    }
    std::size_t width() const { return width_; }

    void evaluate(const Batch& batch, std::span<T> x) {
        check_size(x.size(), rows(batch) * width_, "row_features", "x");
        for (T& v : x) v = T{0};
        for (std::size_t i = 0; i < rows(batch); ++i) function_(batch, i, x.subspan(i * width_, width_));
    }
    tape forward(const Batch&, std::span<T>) {
        fail(error_kind::option, "row_features", "discriminator_updates",
             "0, or no_experts for experts: fixed features do not train", "a step");
    }
    void backward(tape&&, std::span<const T>) {}
    step_report step(const step_options&) { return {}; }
    void discard() {}

private:
    std::size_t width_;
    F function_;
};
}  // namespace detail

/// Fixed features of rows in the discriminator's place, for rewards that compare samples with demonstrations and train
/// nothing: mmd_reward, optimal_transport_reward, rank_reward. Run with `.discriminator_updates = 0`.
///
///   auto features = row_features<my_policy>(16, [](const auto& batch, std::size_t row, std::span<double> x) { ... });
///   adversarial_trainer trainer{policy, features, experts, mmd_reward{}};
///
/// Shapes:  function: sets x [width], which starts at 0, of P::scalar.
/// Errors:  option_error for a width of 0, and where a trainer tries to train it; shape_error.
template <class P, class F>
auto row_features(std::size_t width, F function) {
    using T = typename P::scalar;
    constexpr bool callable = std::is_invocable_v<F&, const typename P::batch&, std::size_t, std::span<T>>;
    static_assert(
        callable,
        "rlgaf: row_features needs a callable `void (const batch&, std::size_t row, std::span<scalar> x)` that "
        "sets the row's `width` features");
    if constexpr (callable) return detail::row_features<typename P::batch, T, F>(width, static_cast<F&&>(function));
}

}  // namespace rlgaf::inline RLGAF_ABI
