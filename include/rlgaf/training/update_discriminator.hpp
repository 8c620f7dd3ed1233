#pragma once
#include "rlgaf/training/roles.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct discriminator_update_options {
    step_options step{.learning_rate = 3e-4, .max_norm = 1};
    std::size_t micro_batch_rows = 0;  ///< rows a forward pass at most; 0: all

    void check() const { step.check(); }
};

struct discriminator_update_report {
    discriminator_loss_stats loss;  ///< before the step
    double grad_norm = 0;
    bool applied = false;
};

/// Memory of `update_discriminator`, and the scores that it saw before its step: demonstrations first, then samples.
template <class T>
struct discriminator_scratch {
    std::vector<T> score, d_score;
    std::vector<std::size_t> pick;
};

/// Role 5: one optimiser step of the discriminator on demonstrations and samples, in one joint forward pass.
/// Shapes: pairs.real_of_fake [rows of fake], indices into the rows of real.
template <class S, class Batch, class Loss>
discriminator_update_report update_discriminator(S& scorer, const Batch& real, const Batch& fake, const matching& pairs,
                                                 const discriminator_update_options& options, part<Loss>& loss,
                                                 discriminator_scratch<typename S::scalar>& scratch) {
    using T = typename S::scalar;
    options.check();
    loss.component.check();
    const std::size_t n_real = rows(real), n_fake = rows(fake);
    scratch.score.assign(n_real + n_fake, T{0});
    scratch.d_score.assign(n_real + n_fake, T{0});
    const std::span<T> score(scratch.score), d_score(scratch.d_score);

    discriminator_update_report report;
    scorer.discard();  // what an error left behind
    accumulate_gradient(scorer, concat(real, fake), score, d_score, options.micro_batch_rows, scratch.pick, [&] {
        detail::check_finite(std::span<const T>(score), "update_discriminator", "score");
        report.loss = loss(discriminator_terms<T>{score.first(n_real), score.subspan(n_real), pairs},
                           d_score.first(n_real), d_score.subspan(n_real));
    });
    const step_report step = scorer.step(options.step);
    report.grad_norm = step.grad_norm;
    report.applied = step.applied;
    return report;
}

}  // namespace rlgaf::inline RLGAF_ABI
