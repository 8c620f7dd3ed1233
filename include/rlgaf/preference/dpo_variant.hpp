#pragma once
#include "rlgaf/core/scalar.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The loss of one pair: c and r are the implicit rewards of chosen and rejected, h = c - r, e = label_smoothing.
enum class dpo_variant {
    sigmoid,    ///< (1 - e) softplus(-h) + e softplus(h). DPO: Rafailov et al. 2023, 2305.18290, equation 7; e > 0:
                ///< cDPO, Mitchell 2023
    robust,     ///< [(1 - e) softplus(-h) - e softplus(h)] / (1 - 2 e). Chowdhury et al. 2024, 2403.00409
    ipo,        ///< ((h - 1/2) / beta)^2. Azar et al. 2023, 2310.12036, equation 17
    hinge,      ///< max(0, 1 - h). SLiC: Zhao et al. 2023, 2305.10425; with a reference: Liu et al. 2023, 2309.06657
    exo_pair,   ///< KL of (q, 1 - q) to (1 - e, e), q = sigmoid(h). EXO: Ji et al. 2024, 2402.00856, equation 16
    nca_pair,   ///< softplus(-c) + softplus(c) / 2 + softplus(r) / 2. NCA: Chen et al. 2024, 2402.05369
    bco_pair,   ///< softplus(-c) + softplus(r). BCO without its reward shift: Jung et al. 2024, 2404.04656
    sppo_hard,  ///< ((c - 1/2) / beta)^2 + ((r + 1/2) / beta)^2. SPPO: Wu et al. 2024, 2405.00675, equation 4.7
    apo_zero,   ///< sigmoid(-c) + sigmoid(r). APO: D'Oosterlinck et al. 2024, 2408.06266, equation 7
    apo_down,   ///< sigmoid(c) + sigmoid(-h). The same, equation 8: for a policy better than the chosen answers
    discopop    ///< (1 - m) softplus(-h) + m exp(-h), m = sigmoid(h / tau). DiscoPOP: Lu et al. 2024, 2406.08414
};

/// Loss of one pair and its slopes by the implicit rewards.
struct dpo_slopes {
    double loss, d_chosen, d_rejected;
};

namespace detail {

struct dpo_numbers {
    double beta, label_smoothing, tau;
};
inline dpo_slopes dpo_pair_loss(dpo_variant variant, double c, double r, const dpo_numbers& o) noexcept {
    const double h = c - r, e = o.label_smoothing, beta = o.beta, tau = o.tau;
    const auto by_gap = [](double loss, double d) { return dpo_slopes{loss, d, -d}; };
    const auto slope_of_sigmoid = [](double x) { return sigmoid(x) * sigmoid(-x); };
    switch (variant) {
        case dpo_variant::sigmoid:
            return by_gap((1 - e) * softplus(-h) + e * softplus(h), e - sigmoid(-h));
        case dpo_variant::robust:
            return by_gap(((1 - e) * softplus(-h) - e * softplus(h)) / (1 - 2 * e),
                          -((1 - e) * sigmoid(-h) + e * sigmoid(h)) / (1 - 2 * e));
        case dpo_variant::ipo:
            return by_gap((h - 0.5) * (h - 0.5) / (beta * beta), 2 * (h - 0.5) / (beta * beta));
        case dpo_variant::hinge:
            return by_gap(h < 1 ? 1 - h : 0, h < 1 ? -1 : 0);
        case dpo_variant::exo_pair:
            return by_gap(
                sigmoid(h) * (log_sigmoid(h) - std::log1p(-e)) + sigmoid(-h) * (log_sigmoid(-h) - std::log(e)),
                slope_of_sigmoid(h) * (h - std::log1p(-e) + std::log(e)));
        case dpo_variant::nca_pair:
            return {softplus(-c) + (softplus(c) + softplus(r)) / 2, sigmoid(c) / 2 - sigmoid(-c), sigmoid(r) / 2};
        case dpo_variant::bco_pair:
            return {softplus(-c) + softplus(r), -sigmoid(-c), sigmoid(r)};
        case dpo_variant::sppo_hard:
            return {((c - 0.5) * (c - 0.5) + (r + 0.5) * (r + 0.5)) / (beta * beta), 2 * (c - 0.5) / (beta * beta),
                    2 * (r + 0.5) / (beta * beta)};
        case dpo_variant::apo_zero:
            return {sigmoid(-c) + sigmoid(r), -slope_of_sigmoid(c), slope_of_sigmoid(r)};
        case dpo_variant::discopop: {
            const double m = sigmoid(h / tau), rest = sigmoid(-h / tau), slope_of_m = m * rest / tau;
            const double tail = std::exp(log_sigmoid(h / tau) - h);  // m exp(-h), where neither factor is a number
            return by_gap(rest * softplus(-h) + tail,
                          -rest * sigmoid(-h) - slope_of_m * softplus(-h) - tail + tail * rest / tau);
        }
        case dpo_variant::apo_down:
            break;
    }
    return {sigmoid(c) + sigmoid(-h), slope_of_sigmoid(c) - slope_of_sigmoid(h), slope_of_sigmoid(h)};
}

/// Whether the loss is a function of h alone, so that a margin means something.
inline bool knows_gap_only(dpo_variant v) noexcept {
    return v == dpo_variant::sigmoid || v == dpo_variant::robust || v == dpo_variant::ipo || v == dpo_variant::hinge ||
           v == dpo_variant::exo_pair || v == dpo_variant::discopop;
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
