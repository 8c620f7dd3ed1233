#pragma once
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "rlgaf/core/error.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Philox4x32-10: four 32-bit words as a pure function of a counter and a key.
/// Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", SC11.
constexpr std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                                  std::array<std::uint32_t, 2> key) noexcept {
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter[0];
        const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * counter[2];
        counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
                   static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
        key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
    }
    return counter;
}

/// What a number is drawn for. Streams never overlap; new ones are added at the end.
enum class stream : std::uint16_t {
    rollout,         ///< actions of a policy
    rollout_from,    ///< continuations of a prefix; rollout k of n of prefix p is sample p * n + k
    prompts,         ///< which prompts a round takes
    experts,         ///< which demonstrations a round takes
    shuffle,         ///< order of rows in minibatches and epochs
    replay,          ///< which past samples the discriminator sees again
    dropout,         ///< units that a forward drops
    noise,           ///< perturbations of inputs
    initialization,  ///< first parameter values
    environment,     ///< transitions of an environment
    user,            ///< free for the user
    discriminator,   ///< which fresh samples a discriminator step takes
    selection,       ///< tokens that a loss picks at random
    corruption,      ///< tokens that are replaced, rows that are cut
    gumbel           ///< relaxed actions
};

/// Names one step of one run: everything random in it follows from this key and the sample's own id.
struct rng_key {
    std::uint64_t seed = 0;
    std::uint32_t step = 0;
};

/// The random numbers of one sample in one stream. Stateless: a draw depends on (key, stream, sample, token, draw)
/// only, not on the batch it is in, the thread it runs on or what was drawn before. No standard-library distributions.
class random_stream {
public:
    constexpr random_stream(rng_key key, stream which, std::uint64_t sample = 0) noexcept
        : key_{static_cast<std::uint32_t>(key.seed), static_cast<std::uint32_t>(key.seed >> 32)},
          low_(static_cast<std::uint32_t>(sample)),
          high_(static_cast<std::uint32_t>(sample >> 32) << 16 | static_cast<std::uint32_t>(which)),
          step_(key.step) {}

    /// token < 2^24, draw < 2^8, sample < 2^48.
    constexpr std::array<std::uint32_t, 4> bits(std::uint32_t token, std::uint32_t draw = 0) const noexcept {
        return philox4x32({(token & 0xFFFFFFu) | draw << 24, low_, high_, step_}, key_);
    }
    /// In [0, 1), 53 bits.
    constexpr double uniform(std::uint32_t token, std::uint32_t draw = 0) const noexcept {
        const auto w = bits(token, draw);
        return static_cast<double>((std::uint64_t{w[0]} << 32 | w[1]) >> 11) * 0x1p-53;
    }
    /// In 0 .. n - 1 for n < 2^32; the bias is below n / 2^64.
    constexpr std::uint64_t below(std::uint64_t n, std::uint32_t token, std::uint32_t draw = 0) const noexcept {
        const auto w = bits(token, draw);
        return (w[0] * n + (w[1] * n >> 32)) >> 32;
    }
    /// Standard normal (Box-Muller).
    double normal(std::uint32_t token, std::uint32_t draw = 0) const noexcept {
        const auto w = bits(token, draw);
        const double u = (static_cast<double>((std::uint64_t{w[0]} << 32 | w[1]) >> 11) + 1.0) * 0x1p-53;
        const double v = static_cast<double>((std::uint64_t{w[2]} << 32 | w[3]) >> 11) * 0x1p-53;
        return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586476925286766559 * v);
    }

private:
    std::array<std::uint32_t, 2> key_;
    std::uint32_t low_, high_, step_;
};

/// The index at which the running sum of the weights first exceeds u * total, scanning in order: a draw from the
/// categorical distribution with these unnormalised, non-negative weights. u in [0, 1). Never returns a zero weight.
template <class T>
std::size_t sample_categorical(std::span<const T> weight, double u) {
    double total = 0;
    for (const T w : weight) total += static_cast<double>(w);
    if (!(total > 0)) [[unlikely]]
        fail(error_kind::numeric, "sample_categorical", "weight", "a positive sum", short_text(total));
    double rest = u * total;
    std::size_t last = 0;
    for (std::size_t i = 0; i < weight.size(); ++i) {
        const double w = static_cast<double>(weight[i]);
        if (w > 0) {
            if (rest < w) return i;
            last = i;
        }
        rest -= w;
    }
    return last;
}

/// Fisher-Yates with one of the key's streams.
template <class T>
void shuffle(std::span<T> x, rng_key key, std::uint64_t sample = 0, stream which = stream::shuffle) {
    const random_stream random(key, which, sample);
    for (std::size_t i = x.size(); i > 1; --i) {
        const std::size_t j = static_cast<std::size_t>(
            random.below(i, static_cast<std::uint32_t>(i & 0xFFFFFFu), static_cast<std::uint32_t>(i >> 24)));
        const T held = x[i - 1];
        x[i - 1] = x[j];
        x[j] = held;
    }
}

}  // namespace rlgaf::inline RLGAF_ABI
