#pragma once
/// What an interval chart shows; `io/interval_chart.hpp` draws it.
#include <optional>
#include <string>
#include <vector>

#include "rlgaf/core/error.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A value that is NaN or infinite leaves its row empty; an interval of such ends is not drawn.
struct interval_row {
    std::string name = {};
    double value = 0, low = 0, high = 0;
    std::string note = {};  ///< shown at the right
};
struct interval_group {
    std::string name = {};  ///< a heading; empty: none
    std::vector<interval_row> rows = {};
};
/// Dots are filled where the interval leaves out `reference`. What lies beyond the axis is drawn at its edge, with its
/// numbers.
struct interval_chart {
    std::string title = {}, caption = {}, x_label = {};  ///< title and caption are wrapped
    std::vector<interval_group> groups = {};
    double reference = 0;              ///< a dashed line
    std::optional<double> x_min = {};  ///< ends of the axis; from most of the values where they are not given
    std::optional<double> x_max = {};
    double width = 860;  ///< pixels, 320..4000; the height follows from the rows

    /// Errors: option_error.
    void check() const {
        const auto finite = [](double x) { return x - x == 0; };
        detail::check_option(width >= 320 && width <= 4000, "interval_chart", "width", "320..4000", width);
        detail::check_option(finite(reference), "interval_chart", "reference", "a finite number", reference);
        if (x_min) detail::check_option(finite(*x_min), "interval_chart", "x_min", "a finite number", *x_min);
        if (x_max) detail::check_option(finite(*x_max), "interval_chart", "x_max", "a finite number", *x_max);
        if (x_min && x_max) detail::check_option(*x_min < *x_max, "interval_chart", "x_max", "more than x_min", *x_max);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
