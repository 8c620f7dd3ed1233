#pragma once
/// Estimates with their intervals, one a row, in groups: an SVG file that needs nothing else.
#include <string>

#include "rlgaf/io/detail/interval_drawing.hpp"
#include "rlgaf/io/interval_chart_data.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The chart as the text of an SVG file. Equal charts give equal text. Errors: option_error.
inline std::string render_svg(const interval_chart& c) {
    c.check();
    return detail::interval_drawing(c).draw();
}

}  // namespace rlgaf::inline RLGAF_ABI
