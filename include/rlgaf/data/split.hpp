#pragma once
/// Splits that come out the same on every machine.
#include <cmath>
#include <cstddef>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "rlgaf/core/error.hpp"
#include "rlgaf/core/random.hpp"

namespace rlgaf::inline RLGAF_ABI {

template <class T>
struct data_split {
    std::vector<T> train;
    std::vector<T> held_out;
};

/// Shuffles `data` with the key's `shuffle` stream and puts the last `held_out` elements aside.
///
/// Errors: option_error if there are not as many.
template <class T>
data_split<T> split(std::vector<T> data, std::size_t held_out, rng_key key) {
    if (held_out > data.size()) [[unlikely]]
        fail(error_kind::option, "split", "held_out", "at most the " + std::to_string(data.size()) + " elements",
             std::to_string(held_out));
    shuffle(std::span<T>(data), key);
    const auto middle = data.end() - static_cast<std::ptrdiff_t>(held_out);
    data_split<T> result;
    result.held_out.assign(std::make_move_iterator(middle), std::make_move_iterator(data.end()));
    data.erase(middle, data.end());
    result.train = std::move(data);
    return result;
}

/// The same with a share of the elements, 0..1, rounded to the nearest number of them. Errors: option_error.
template <class T>
data_split<T> split_fraction(std::vector<T> data, double held_out, rng_key key) {
    detail::check_option(held_out >= 0 && held_out <= 1, "split_fraction", "held_out", "0..1", held_out);
    const auto count = static_cast<std::size_t>(std::llround(held_out * static_cast<double>(data.size())));
    return split(std::move(data), count, key);
}

}  // namespace rlgaf::inline RLGAF_ABI
