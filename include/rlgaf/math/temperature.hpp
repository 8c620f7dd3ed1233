#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#include "rlgaf/core/error.hpp"
#include "rlgaf/core/scalar.hpp"

namespace rlgaf::inline RLGAF_ABI {

enum class temperature_shape { constant, exponential, linear, logarithmic, sigmoid, quadratic, square_root };

/// RelGAN's inverse temperature: what logits are multiplied by before a Gumbel-softmax. It rises from about 1 to
/// `highest`, from exploring to nearly one-hot, and stays there.
/// Formula: with x = step / steps, y = step / (steps - 1), B = highest:  exponential B^x;  linear 1 + (B - 1) y;
///          logarithmic 1 + (B - 1) log(step + 1) / log(steps);  sigmoid 1 + (B - 1) sigmoid(20 (x - 1 / 2));
///          quadratic 1 + (B - 1) y^2;  square_root 1 + (B - 1) sqrt(y);  constant B. At most B.
/// Units:   1 / temperature. The paper's code has steps = 5000 however many are run.
/// Errors:  option_error.
/// Source:  Nie, Narodytska and Patel 2019, ICLR (RelGAN), and its released code.
struct relgan_temperature {
    temperature_shape shape = temperature_shape::exponential;
    double highest = 100;        ///< finite, >= 1; 2 to 100 on synthetic data, 100 or 1000 on text
    std::uint64_t steps = 5000;  ///< >= 2

    void check() const {
        detail::check_option(highest >= 1 && highest < std::numeric_limits<double>::infinity(), "relgan_temperature",
                             "highest", "a finite number of at least 1", highest);
        detail::check_option(steps >= 2, "relgan_temperature", "steps", "at least 2", static_cast<double>(steps));
    }

    double operator()(std::uint64_t step) const {
        check();
        const double i = static_cast<double>(step), n = static_cast<double>(steps), y = i / (n - 1);
        double share = 1;
        switch (shape) {
            case temperature_shape::exponential:
                return std::fmin(std::pow(highest, i / n), highest);
            case temperature_shape::linear:
                share = y;
                break;
            case temperature_shape::logarithmic:
                share = std::log(i + 1) / std::log(n);
                break;
            case temperature_shape::sigmoid:
                share = sigmoid(20 * (i / n - 0.5));
                break;
            case temperature_shape::quadratic:
                share = y * y;
                break;
            case temperature_shape::square_root:
                share = std::sqrt(y);
                break;
            case temperature_shape::constant:
                break;
        }
        return 1 + (highest - 1) * std::fmin(share, 1.0);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
