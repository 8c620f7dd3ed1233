#pragma once
#include "rlgaf/models/lstm/cell.hpp"

RLGAF_QUIET_PACKETS
namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// The tempered distribution of one state.
template <class T>
struct softmax_result {
    double sum = 1;      ///< of the weights
    double log_sum = 0;  ///< log-prob of v is logit[v] - log_sum
    double entropy = 0;
    double max = 0;  ///< of the logits
};

/// In: logits without bias [padded n]. Out: logit[v] = (logit[v] + bias[v]) / temperature - max; weight[v] =
/// exp(logit[v]). Padding of the weights becomes zero.
template <class T>
softmax_result<T> softmax(std::size_t n, const T* bias, T inverse_temperature, T* logit, T* weight, bool entropy) {
    using namespace Eigen::internal;
    const std::size_t size = padded<T>(n);
    const packet<T> scale = all<T>(inverse_temperature);
    for (std::size_t j = 0; j < size; j += lanes<T>)
        store(logit + j, pmul(scale, padd(load(logit + j), load(bias + j))));
    for (std::size_t j = n; j < size; ++j) logit[j] = logit[0];
    packet<T> largest = load(logit);
    for (std::size_t j = lanes<T>; j < size; j += lanes<T>) largest = pmax(largest, load(logit + j));
    const packet<T> max = all<T>(predux_max(largest));
    for (std::size_t j = 0; j < size; j += lanes<T>) {
        const packet<T> x = psub(load(logit + j), max);
        store(logit + j, x);
        store(weight + j, exp_of<T>(x));
    }
    for (std::size_t j = n; j < size; ++j) weight[j] = 0;
    softmax_result<T> result;
    result.max = static_cast<double>(predux_max(largest));
    packet<T> sum = all<T>(0), moment = all<T>(0);
    for (std::size_t j = 0; j < size; j += lanes<T>) sum = padd(sum, load(weight + j));
    result.sum = static_cast<double>(predux(sum));
    result.log_sum = std::log(result.sum);
    if (entropy) {
        for (std::size_t j = 0; j < size; j += lanes<T>) moment = pmadd(load(weight + j), load(logit + j), moment);
        result.entropy = result.log_sum - static_cast<double>(predux(moment)) / result.sum;
    }
    return result;
}

/// x[v] = weight[v] (a x[v] + b): the gradient by logits from what softmax left behind.
template <class T>
void softmax_backward(std::size_t n, T a, T b, const T* weight, T* x) {
    using namespace Eigen::internal;
    const packet<T> slope = all<T>(a), constant = all<T>(b);
    for (std::size_t j = 0; j < n; j += lanes<T>)
        store(x + j, pmul(load(weight + j), pmadd(slope, load(x + j), constant)));
}

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
RLGAF_QUIET_PACKETS_END
