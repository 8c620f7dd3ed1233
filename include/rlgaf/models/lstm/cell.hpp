#pragma once
#include "rlgaf/models/lstm/packet.hpp"

RLGAF_QUIET_PACKETS
namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

template <class T>
EIGEN_ALWAYS_INLINE packet<T> tanh_of(const packet<T>& x) {
    if constexpr (lanes<T> == 1)
        return std::tanh(x);
    else if constexpr (Eigen::internal::packet_traits<T>::HasTanh)
        return Eigen::internal::ptanh(x);
    else {  // 1 - 2 / (exp(2x) + 1)
        const packet<T> e = Eigen::internal::pexp(Eigen::internal::padd(x, x));
        return Eigen::internal::psub(all<T>(1), Eigen::internal::pdiv(all<T>(2), Eigen::internal::padd(e, all<T>(1))));
    }
}
template <class T>
EIGEN_ALWAYS_INLINE packet<T> sigmoid_of(const packet<T>& x) {
    const packet<T> half = all<T>(T(0.5));
    return Eigen::internal::pmadd(half, tanh_of<T>(Eigen::internal::pmul(half, x)), half);
}
template <class T>
EIGEN_ALWAYS_INLINE packet<T> exp_of(const packet<T>& x) {
    if constexpr (lanes<T> == 1)
        return std::exp(x);
    else
        return Eigen::internal::pexp(x);
}

/// One state from its parent's. `hidden` is a whole number of packets.
/// Formula: (i, f, g, o) = (sigmoid, sigmoid, tanh, sigmoid)(z + table);  c = f c_before + i g;  h = o tanh(c).
/// z and c_before are null for a first state. `kept` gets i, f, g, o, tanh(c), or is null.
template <class T>
void cell(std::size_t hidden, const T* z, const T* table, const T* c_before, T* kept, T* c, T* h) {
    using namespace Eigen::internal;
    for (std::size_t j = 0; j < hidden; j += lanes<T>) {
        packet<T> i = load(table + j), f = load(table + hidden + j), g = load(table + 2 * hidden + j),
                  o = load(table + 3 * hidden + j);
        if (z) {
            i = padd(i, load(z + j));
            f = padd(f, load(z + hidden + j));
            g = padd(g, load(z + 2 * hidden + j));
            o = padd(o, load(z + 3 * hidden + j));
        }
        i = sigmoid_of<T>(i);
        g = tanh_of<T>(g);
        o = sigmoid_of<T>(o);
        f = sigmoid_of<T>(f);
        packet<T> next = pmul(i, g);
        if (c_before) next = pmadd(f, load(c_before + j), next);
        const packet<T> squashed = tanh_of<T>(next);
        store(c + j, next);
        store(h + j, pmul(o, squashed));
        if (kept) {
            store(kept + j, i);
            store(kept + hidden + j, f);
            store(kept + 2 * hidden + j, g);
            store(kept + 3 * hidden + j, o);
            store(kept + 4 * hidden + j, squashed);
        }
    }
}

/// Gradients of one state. d_h is complete; d_c (null: zero) is what comes from the children.
/// Adds to d_table, and where there is a parent to its d_z (before the recurrent weights) and its d_c.
template <class T>
void cell_backward(std::size_t hidden, const T* kept, const T* c_before, const T* d_h, const T* d_c, T* d_table, T* d_z,
                   T* d_c_before) {
    using namespace Eigen::internal;
    const packet<T> one = all<T>(1);
    const auto add_to = [&](T* p, const packet<T>& x) { store(p, padd(load(p), x)); };
    for (std::size_t j = 0; j < hidden; j += lanes<T>) {
        const packet<T> i = load(kept + j), f = load(kept + hidden + j), g = load(kept + 2 * hidden + j),
                        o = load(kept + 3 * hidden + j), squashed = load(kept + 4 * hidden + j);
        const packet<T> dh = load(d_h + j), dho = pmul(dh, o);
        packet<T> dc = psub(dho, pmul(dho, pmul(squashed, squashed)));
        if (d_c) dc = padd(dc, load(d_c + j));
        const packet<T> di = pmul(pmul(dc, g), pmul(i, psub(one, i)));
        const packet<T> dg = pmul(pmul(dc, i), psub(one, pmul(g, g)));
        const packet<T> d_o = pmul(pmul(dho, squashed), psub(one, o));
        add_to(d_table + j, di);
        add_to(d_table + 2 * hidden + j, dg);
        add_to(d_table + 3 * hidden + j, d_o);
        if (d_z) {
            const packet<T> df = pmul(pmul(dc, load(c_before + j)), pmul(f, psub(one, f)));
            add_to(d_table + hidden + j, df);
            add_to(d_z + j, di);
            add_to(d_z + hidden + j, df);
            add_to(d_z + 2 * hidden + j, dg);
            add_to(d_z + 3 * hidden + j, d_o);
            add_to(d_c_before + j, pmul(dc, f));
        }
    }
}

/// to += a * from, over a whole number of packets.
template <class T>
void add_scaled(std::size_t n, T a, const T* from, T* to) {
    const packet<T> factor = all<T>(a);
    for (std::size_t j = 0; j < n; j += lanes<T>)
        store(to + j, Eigen::internal::pmadd(factor, load(from + j), load(to + j)));
}

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
RLGAF_QUIET_PACKETS_END
