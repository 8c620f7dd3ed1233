#pragma once
#include <cmath>
#include <limits>

#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What a wrong row of good form keeps of its adversarial reward.
enum class gate_form {
    gated,  ///< nothing
    sign    ///< its negative: to look like an expert is worse if the answer is wrong
};

/// Lets a discriminator judge only what passes a check that it cannot be fooled about. Changes the adversarial outcome;
/// the checked ones are only read (scale_outcome{.weight = 0} after it takes them out of the sum).
/// Formula: W = correct < threshold, F = format < threshold, both 0 where that outcome is NaN or not named;
///          gated: a = weight a (1 - F)(1 - W) - wrong_penalty W - format_penalty F;  sign: (1 - 2 W) in place of (1 -
///          W).
/// Units:   reward. Survival bias: unchanged.
/// At kinks: an outcome of exactly the threshold passes.
/// Degenerate: a NaN adversarial reward stays, and a verifiable one of NaN ("does not apply") lets the row pass.
/// Errors:  option_error, also where no earlier stage adds an outcome that is named.
/// Needs:   verifiable outcomes as they were given: normalisers of all outcomes move the threshold, so add those that
///          are to be read after them.
/// Source:  the four modes of PRISM, arXiv 2604.28123.
struct verifiable_gate {
    using role = role::reward;
    chars adversarial = "discriminator";  ///< name of the outcome that it changes
    chars correct = "correct";            ///< name of the outcome that says what is right; "": nothing is wrong
    chars format = "";                    ///< name of the outcome that says what is well-formed; "": everything is
    gate_form form = gate_form::gated;
    double threshold = 0.5;     ///< finite; outcomes below it fail
    double weight = 1;          ///< finite
    double wrong_penalty = 0;   ///< finite, >= 0
    double format_penalty = 0;  ///< finite, >= 0

    void check() const {
        const double infinity = std::numeric_limits<double>::infinity();
        detail::check_option(std::abs(threshold) < infinity, "verifiable_gate", "threshold", "a finite number",
                             threshold);
        detail::check_option(std::abs(weight) < infinity, "verifiable_gate", "weight", "a finite number", weight);
        detail::check_option(wrong_penalty >= 0 && wrong_penalty < infinity, "verifiable_gate", "wrong_penalty",
                             "a finite number that is 0 or positive", wrong_penalty);
        detail::check_option(format_penalty >= 0 && format_penalty < infinity, "verifiable_gate", "format_penalty",
                             "a finite number that is 0 or positive", format_penalty);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>&, const Batch&, rewards<T>& out, workspace&) const {
        check();
        const std::span<double> a = detail::outcome_named(out, adversarial, "verifiable_gate", "adversarial");
        const std::span<const double> right = read(out, correct, "correct"), formed = read(out, format, "format");
        for (std::size_t i = 0; i < a.size(); ++i) {
            const bool wrong = fails(right, i), bad_format = fails(formed, i);
            const double kept = bad_format ? 0 : !wrong ? 1 : form == gate_form::sign ? -1 : 0;
            a[i] = weight * a[i] * kept - (wrong ? wrong_penalty : 0) - (bad_format ? format_penalty : 0);
        }
    }

private:
    template <class T>
    static std::span<const double> read(rewards<T>& out, const chars& name, const char* field) {
        if (name.size == 0) return {};
        return detail::outcome_named(out, name, "verifiable_gate", field);
    }
    bool fails(std::span<const double> outcome, std::size_t i) const {
        return !outcome.empty() && !is_nan(&outcome[i]) && outcome[i] < threshold;
    }
};

/// Puts rows of bad form last in their group without distorting its spread, as a normaliser would see it.
/// Formula: adversarial = (smallest of the group's rows with format >= threshold) - margin where format < threshold.
/// Degenerate: no row of the group is well-formed: -margin, all the same. NaN adversarial rewards take no part and
///             stay; where the format's is NaN the row counts as well-formed.
/// Errors:  shape_error; option_error. Needs: stands before group_normalize. Survival bias: unchanged.
/// Source:  PRISM, arXiv 2604.28123.
struct rank_malformed_last {
    using role = role::reward;
    chars adversarial = "discriminator";  ///< name of the outcome that it changes
    chars format = "format";              ///< name of the outcome that says what is well-formed
    double threshold = 0.5;               ///< finite; outcomes below it fail
    double margin = 1;                    ///< finite, >= 0

    void check() const {
        const double infinity = std::numeric_limits<double>::infinity();
        detail::check_option(std::abs(threshold) < infinity, "rank_malformed_last", "threshold", "a finite number",
                             threshold);
        detail::check_option(margin >= 0 && margin < infinity, "rank_malformed_last", "margin",
                             "a finite number that is 0 or positive", margin);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace& work) const {
        check();
        detail::check_groups(terms.group, out.rows(), "rank_malformed_last");
        const std::span<double> a = detail::outcome_named(out, adversarial, "rank_malformed_last", "adversarial");
        const std::span<const double> formed = detail::outcome_named(out, format, "rank_malformed_last", "format");
        const double none = std::numeric_limits<double>::infinity();
        work.a.assign(terms.group.count, none);
        for (std::size_t i = 0; i < a.size(); ++i)
            if (double& least = work.a[terms.group.id[i]]; !(formed[i] < threshold)) least = std::fmin(least, a[i]);
        for (std::size_t i = 0; i < a.size(); ++i) {
            const double least = work.a[terms.group.id[i]];
            if (formed[i] < threshold && !is_nan(&a[i])) a[i] = (least < none ? least : 0) - margin;
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
