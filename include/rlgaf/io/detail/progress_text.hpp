#pragma once
/// Texts of a progress line, and what the terminal can do.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#if defined(_WIN32)
#include <io.h>
#else
#include <unistd.h>
#endif

#include "rlgaf/core/config.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// "8s", "3m05s", "2h07m", "4d03h".
inline std::string duration_text(double seconds) {
    if (!(seconds >= 0) || seconds > 1e9) return "?";
    const auto s = static_cast<long long>(std::llround(seconds));
    if (s < 60) return fmt::format("{}s", s);
    if (s < 3600) return fmt::format("{}m{:02}s", s / 60, s % 60);
    if (s < 86400) return fmt::format("{}h{:02}m", s / 3600, s / 60 % 60);
    return fmt::format("{}d{:02}h", s / 86400, s / 3600 % 24);
}

/// "12.3 it/s", or "4.20 s/it" where one takes longer than a second.
inline std::string rate_text(double per_second) {
    if (!(per_second > 0) || !(per_second < 1e12)) return "? it/s";
    if (per_second < 1) return fmt::format("{:.2f} s/it", 1 / per_second);
    return per_second < 100 ? fmt::format("{:.1f} it/s", per_second) : fmt::format("{:.0f} it/s", per_second);
}

inline bool is_terminal(std::FILE* stream) noexcept {
#if defined(_WIN32)
    return _isatty(_fileno(stream)) != 0;
#else
    return isatty(fileno(stream)) != 0;
#endif
}

/// The convention of no-color.org: set and not empty means no colours; so does a terminal that calls itself dumb.
inline bool colours_wanted() noexcept {
    const char* no_color = std::getenv("NO_COLOR");
    const char* term = std::getenv("TERM");
    return (no_color == nullptr || *no_color == '\0') && (term == nullptr || std::string_view(term) != "dumb");
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
