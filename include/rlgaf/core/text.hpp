#pragma once
#include <concepts>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "rlgaf/core/config.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Characters that stand elsewhere: a literal, a std::string, a std::string_view, a short_text.
struct chars {
    const char* data = "";
    std::size_t size = 0;

    chars() = default;
    chars(const char* zero_terminated) : data(zero_terminated), size(std::strlen(zero_terminated)) {}
    template <class S>
        requires requires(const S& s) {
            { s.data() } -> std::same_as<const char*>;
            s.size();
        }
    chars(const S& s) : data(s.data()), size(s.size()) {}
    friend bool operator==(const chars& a, const chars& b) {
        return a.size == b.size && std::memcmp(a.data, b.data, a.size) == 0;
    }
};

/// A short text put together from characters and numbers: what errors and names on the floors are made of, since
/// <string> would be a quarter of the time that they take to compile. What does not fit is cut off.
template <std::size_t Capacity>
class basic_text {
public:
    basic_text() = default;
    template <class... Pieces>
        requires(sizeof...(Pieces) > 0)
    basic_text(const Pieces&... pieces) { (append(pieces), ...); }

    const char* data() const { return data_; }
    const char* c_str() const { return data_; }
    std::size_t size() const { return size_; }
    friend bool operator==(const basic_text& a, const chars& b) { return chars(a) == b; }

private:
    void append(const chars& s) {
        const std::size_t n = s.size < Capacity - size_ ? s.size : Capacity - size_;
        std::memcpy(data_ + size_, s.data, n);
        data_[size_ += n] = '\0';
    }
    template <std::integral I>
    void append(I i) {
        char buffer[24];
        if constexpr (std::signed_integral<I>)
            std::snprintf(buffer, sizeof buffer, "%lld", static_cast<long long>(i));
        else
            std::snprintf(buffer, sizeof buffer, "%llu", static_cast<unsigned long long>(i));
        append(chars(buffer));
    }
    void append(double x) {
        char buffer[32];
        std::snprintf(buffer, sizeof buffer, "%.9g", x);
        append(chars(buffer));
    }

    std::size_t size_ = 0;
    char data_[Capacity + 1] = {};
};
template <class Stream, std::size_t Capacity>
auto operator<<(Stream& out, const basic_text<Capacity>& t) -> decltype(out << t.c_str()) {
    return out << t.c_str();
}
using short_text = basic_text<240>;

}  // namespace rlgaf::inline RLGAF_ABI
