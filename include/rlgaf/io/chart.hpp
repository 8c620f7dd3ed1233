#pragma once
/// Line and scatter charts as an SVG file that needs nothing else.
#include <filesystem>
#include <string>

#include "rlgaf/io/atomic_file.hpp"
#include "rlgaf/io/chart_data.hpp"
#include "rlgaf/io/detail/chart_drawing.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The chart as the text of an SVG file. Equal charts give equal text.
///
/// Errors: shape_error where x, y, low and high of a series differ in length; option_error for a size or a range.
inline std::string render_svg(const chart& c) {
    c.check();
    return detail::chart_drawing(c).draw();
}

/// Errors: as `render_svg`; file_error.
inline void write_svg(const std::filesystem::path& path, const chart& c) { write_file_atomically(path, render_svg(c)); }

}  // namespace rlgaf::inline RLGAF_ABI
