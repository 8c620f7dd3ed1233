#pragma once
#include <array>
#include <string_view>

#include "rlgaf/core/config.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// Colours of Okabe and Ito, "Color universal design" (2008), which colour-blind people can tell apart, without the
/// yellow that white paper swallows.
inline constexpr std::array<std::string_view, 7> chart_colours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                                  "#56b4e9", "#e69f00", "#4d4d4d"};

}  // namespace rlgaf::inline RLGAF_ABI::detail
