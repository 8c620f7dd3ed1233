#pragma once
#include <vector>

#include "rlgaf/backend/abilities.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {

/// Errors: shape_error naming the first block whose size differs; sizes: of each block, as doubles.
template <class T>
void check_block_sizes(std::span<const parameter_block<T>> blocks, const std::vector<double>& sizes,
                       const char* function, const char* argument) {
    check_size(blocks.size(), sizes.size(), function, argument);
    for (std::size_t k = 0; k < blocks.size(); ++k)
        if (static_cast<double>(blocks[k].values.size()) != sizes[k]) [[unlikely]]
            fail(error_kind::shape, function, short_text(argument, " block ", blocks[k].name),
                 short_text(sizes[k], " elements"), short_text(blocks[k].values.size()));
}

}  // namespace detail

/// Running average of a policy's parameters, for evaluation and export: it moves less than the last step.
/// Formula: after each call k: average = sum of decay^(k-j) theta_j / sum of decay^(k-j), the start corrected for: the
///          first call takes theta over, a long run forgets with decay.
/// Shapes:  blocks: those of the same model at every call. The average is held in double, whatever T is: small moves of
///          a float parameter are not lost in it.
/// Errors:  shape_error where blocks differ from those of the first call; option_error for an update while swapped in,
///          or a swap that does not fit. Allocates in the first update and the first swap.
/// Needs:   one call after each applied optimiser step. swap_in puts the average into the model for an evaluation and
///          swap_out the parameters back, bit for bit; train on between them and what was learnt is lost.
/// Source:  Polyak and Juditsky 1992; the bias correction of Kingma and Ba 2014; OpenRLHF: 0.992.
struct parameter_average {
    double decay = 0.992;  ///< in [0, 1)

    struct state {
        std::vector<double> average;  ///< all blocks, one behind the other
        std::vector<double> size;     ///< of each block
        std::vector<double> held;     ///< the parameters while the average is in the model
        double weight = 0;            ///< sum of decay^(k-j)
        std::uint64_t swapped = 0;    ///< 1 while the average is in the model
        template <class Archive>
        void visit(Archive& a) {
            a("average", average), a("size", size), a("held", held), a("weight", weight), a("swapped", swapped);
        }
    };
    void check() const {
        detail::check_option(decay >= 0 && decay < 1, "parameter_average", "decay", "in [0, 1)", decay);
    }

    template <class T>
    void operator()(state& s, std::span<const parameter_block<T>> blocks) const {
        check();
        detail::check_option(s.swapped == 0, "parameter_average", "swap", "out before an update", 1);
        if (s.weight == 0) {
            s.size.clear();
            std::size_t n = 0;
            for (const auto& block : blocks) {
                s.size.push_back(static_cast<double>(block.values.size()));
                n += block.values.size();
            }
            s.average.assign(n, 0.0);
        }
        detail::check_block_sizes(blocks, s.size, "parameter_average", "blocks");
        s.weight = decay * s.weight + 1;
        const double share = 1 / s.weight;
        double* mean = s.average.data();
        for (const auto& block : blocks)
            for (const T v : block.values) {
                *mean += share * (static_cast<double>(v) - *mean);
                ++mean;
            }
    }

    /// The average takes the parameters' place, rounded to T.
    template <class T>
    void swap_in(state& s, std::span<const parameter_block<T>> blocks) const {
        detail::check_option(s.swapped == 0 && s.weight > 0, "parameter_average", "swap",
                             "out, with an average to take in", s.weight);
        detail::check_block_sizes(blocks, s.size, "parameter_average::swap_in", "blocks");
        s.held.clear();
        s.held.reserve(s.average.size());
        s.swapped = 1;
        const double* mean = s.average.data();
        for (const auto& block : blocks)
            for (T& v : block.values) {
                s.held.push_back(static_cast<double>(v));
                v = static_cast<T>(*mean++);
            }
    }
    template <class T>
    void swap_out(state& s, std::span<const parameter_block<T>> blocks) const {
        detail::check_option(s.swapped == 1, "parameter_average", "swap", "in", 0);
        detail::check_block_sizes(blocks, s.size, "parameter_average::swap_out", "blocks");
        const double* live = s.held.data();
        for (const auto& block : blocks)
            for (T& v : block.values) v = static_cast<T>(*live++);
        s.held.clear();
        s.swapped = 0;
    }
};

/// TR-DPO's reference: it follows the policy now and then instead of standing still, so that a long run is not held to
/// where it began.
/// Formula: at every `every`-th call: reference = mix theta + (1 - mix) reference, in double, one cast. Returns whether
///          it was one.
/// Shapes:  both models' blocks: as many, of the same names and sizes.
/// Errors:  shape_error; option_error. No allocation.
/// Needs:   one call after each applied optimiser step. After a sync, reference log-probs of rows that are still in use
///          are those of another policy: evaluate them again.
/// Source:  Gorbatovski et al. 2024, arXiv 2404.09656, equations 5 and 6; TRL: sync_ref_model (0.6, 512).
struct reference_sync {
    double mix = 0.6;           ///< in (0, 1]; 1: the policy is taken over
    std::uint64_t every = 512;  ///< optimiser steps, > 0

    struct state {
        std::uint64_t steps = 0;
        template <class Archive>
        void visit(Archive& a) {
            a("steps", steps);
        }
    };
    void check() const {
        detail::check_option(mix > 0 && mix <= 1, "reference_sync", "mix", "in (0, 1]", mix);
        detail::check_option(every > 0, "reference_sync", "every", "at least 1", 0);
    }

    template <class T>
    bool operator()(state& s, std::span<const parameter_block<T>> policy,
                    std::span<const parameter_block<T>> reference) const {
        check();
        detail::check_size(reference.size(), policy.size(), "reference_sync", "reference");
        for (std::size_t k = 0; k < policy.size(); ++k) {
            const short_text argument("reference block ", policy[k].name);
            if (!(reference[k].name == chars(policy[k].name))) [[unlikely]]
                fail(error_kind::shape, "reference_sync", argument, "the same name", reference[k].name);
            detail::check_size(reference[k].values.size(), policy[k].values.size(), "reference_sync", argument.c_str());
        }
        if (++s.steps % every != 0) return false;
        for (std::size_t k = 0; k < policy.size(); ++k)
            for (std::size_t i = 0; i < policy[k].values.size(); ++i) {
                T& r = reference[k].values[i];
                const double theta = static_cast<double>(policy[k].values[i]);
                r = static_cast<T>(mix * theta + (1 - mix) * static_cast<double>(r));
            }
        return true;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
