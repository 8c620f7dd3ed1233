#pragma once
#include "rlgaf/backend/conformance_clone.hpp"
#include "rlgaf/backend/conformance_descent.hpp"
#include "rlgaf/backend/conformance_model.hpp"
#include "rlgaf/backend/conformance_slope.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

/// All checks of one model on one batch.
template <class S, class M>
void check_model(M& m, const typename S::batch& b, const conformance_options& o, conformance_report& report) {
    const limits<typename S::scalar> limit(o);
    run(report, "evaluate and forward agree", [&] { return check_outputs<S>(m, b, limit); });
    run(report, "select and concat", [&] { return check_rearranged<S>(m, b, limit); });
    for (std::size_t k = 0; k < S::channels; ++k) {
        std::string name = "gradient of ";
        name += S::name(k);
        run(report, name.c_str(), [&]() -> std::string {
            if constexpr (flat_parameters<M>)
                return check_gradient<S>(m, b, k, o, limit);
            else
                return "skipped: no parameters() to take differences of; see \"a step descends\"";
        });
    }
    run(report, "a step descends", [&] { return check_descent<S>(m, b, o); });
    run(report, "gradients accumulate", [&] { return check_accumulation<S>(m, b, o, limit); });
    run(report, "step and discard clear", [&] { return check_clearing<S>(m, b, o, limit); });
    run(report, "a NaN gradient is discarded", [&] { return check_nonfinite<S>(m, b, o, limit); });
}

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
