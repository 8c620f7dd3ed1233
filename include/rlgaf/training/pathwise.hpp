#pragma once
#include <tuple>

#include "rlgaf/core/clock.hpp"
#include "rlgaf/discriminator/loss/bradley_terry.hpp"
#include "rlgaf/math/schedule.hpp"
#include "rlgaf/training/observer.hpp"
#include "rlgaf/training/update_pathwise.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct pathwise_options {
    std::size_t rounds = 100;  ///< of this call
    std::size_t rows = 64;     ///< samples, and demonstrations, of every step of either side, > 0
    std::uint64_t seed = 1;
    relaxation_options relaxation{};           ///< its inverse_temperature multiplies the schedule's
    relgan_temperature inverse_temperature{};  ///< by round of this trainer
    step_options policy{.learning_rate = 1e-4, .max_norm = 5};
    step_options discriminator{.learning_rate = 1e-4, .max_norm = 5};
    schedule policy_rate{};                ///< multiplies policy.learning_rate, by round of this call
    schedule discriminator_rate{};         ///< likewise
    std::size_t discriminator_steps = 5;   ///< a round, on samples of their own each
    std::size_t discriminator_warmup = 0;  ///< first rounds of the trainer in which only the discriminator trains
    bool relaxed_discriminator = true;     ///< its samples are relaxed, its demonstrations are not; false: hard samples
    std::size_t schedule_from = 0;         ///< rounds that the two rates have behind them, as when a run goes on

    void check() const {
        relaxation.check();
        inverse_temperature.check();
        policy.check();
        discriminator.check();
        policy_rate.check();
        discriminator_rate.check();
        detail::check_option(rows > 0, "pathwise_options", "rows", "at least 1", 0);
    }
};

/// Adversarial training without policy gradient: samples are relaxed (Gumbel-softmax, or straight-through), and the
/// discriminator's gradient flows through them into the policy. The route that the RLGAF paper tried and gave up on; for
/// comparison. It needs a policy and a discriminator with the ability `relaxes`, and rewards that are differentiable.
///
///   pathwise_trainer trainer{policy, discriminator, experts, bradley_terry{.score_penalty = 0}};
///   trainer.run({.rounds = 1000, .inverse_temperature = {.highest = 100, .steps = 1000}}, progress_bar{});
///
/// The policy's loss is the discriminator's with the sides exchanged (bradley_terry: RelGAN's; bce: non-saturating GAN), or
/// that of a fifth argument: with wgan{} the policy climbs the raw score. A round: discriminator_steps steps of the
/// discriminator, then one of the policy. All three are referred to, never copied. `run` may be called again and goes on.
/// Weight constraints of the discriminator come after the policy's loss; wgan{} as its loss has no bound without one.
/// Observers: reward_mean is minus policy_loss; accuracy is that of the round's first discriminator step; on_rollout sees
/// the tokens drawn for the policy's step.
/// Errors: shape_error, option_error, numeric_error, before the step that they would spoil.
/// Source: Kusner and Hernandez-Lobato 2016, arXiv 1611.04051; Jang et al. 2017, arXiv 1611.01144 (straight-through);
///         Nie, Narodytska and Patel 2019, ICLR (RelGAN); Yu et al. 2023, arXiv 2305.06176.
template <class P, class S, class E, class Loss = bradley_terry, class PolicyLoss = Loss, class... Constraint>
class pathwise_trainer {
    static_assert(
        relaxes<P, S>,
        "rlgaf: pathwise_trainer needs a policy and a discriminator that share a `relaxed` type: forward_relaxed "
        "and backward_relaxed, forward(relaxed) and input_cotangent, see relaxes in backend/abilities.hpp");
    static_assert(expert_source<E, typename P::batch>, "rlgaf: pathwise_trainer needs experts with `sample(n, key)`");
    static_assert(component_of<Loss, role::discriminator_loss> && component_of<PolicyLoss, role::discriminator_loss> &&
                      detail::judged_by<Loss>() == detail::judged::rows &&
                      detail::judged_by<PolicyLoss>() == detail::judged::rows,
                  "rlgaf: pathwise_trainer takes one or two discriminator losses of row scores");
    static_assert((component_of<Constraint, role::weight_constraint> && ... && true),
                  "rlgaf: after the two losses pathwise_trainer takes weight constraints: weight_clip, spectral_norm");

public:
    pathwise_trainer(P& policy, S& discriminator, E& experts, Loss loss = {})
        : pathwise_trainer(policy, discriminator, experts, loss, loss) {}
    pathwise_trainer(P& policy, S& discriminator, E& experts, Loss loss, PolicyLoss policy_loss,
                     Constraint... constraint)
        : policy_(policy),
          discriminator_(discriminator),
          experts_(experts),
          loss_(loss),
          policy_loss_(policy_loss),
          constraint_(part<Constraint>{constraint}...) {}

    /// Runs `options.rounds` rounds; returns the report of the last one.
    template <class... Observers>
    round_report run(const pathwise_options& options, Observers&&... observers) {
        static_assert((detail::check_observer<std::remove_reference_t<Observers>, typename P::batch>() && ... && true));
        options.check();
        const double start = clock_seconds();
        detail::notify_begin(run_info{.rounds = options.rounds, .per_sample_streams = per_sample_streams<P>()},
                             observers...);
        round_report report{.rounds = options.rounds};
        for (std::size_t i = 0; i < options.rounds; ++i) {
            pathwise_options now = options;
            now.policy.learning_rate *= options.policy_rate(options.schedule_from + i);
            now.discriminator.learning_rate *= options.discriminator_rate(options.schedule_from + i);
            report = one_round(now, report);
            report.round = i + 1;
            report.seconds = clock_seconds() - start;
            detail::notify_rollout(report, hard_rows(x_.samples), observers...);
            if (detail::notify_round(report, observers...)) break;
        }
        detail::notify_end(report, observers...);
        return report;
    }

    /// Rounds over all calls of `run`.
    std::size_t rounds_done() const { return rounds_done_; }
    /// For a checkpoint: all but the options and what the trainer refers to (policy, discriminator, experts).
    template <class Archive>
    void visit(Archive& a) {
        loss_.memory.visit(a), policy_loss_.memory.visit(a);
        std::apply([&](auto&... c) { (c.memory.visit(a), ...); }, constraint_);
        a("steps", hard_.steps), a("round_number", round_number_), a("rounds_done", rounds_done_);
    }
    /// The last samples, with the gradient that they carried to the policy.
    const typename P::relaxed& last_samples() const { return x_.samples; }

private:
    round_report one_round(const pathwise_options& options, const round_report& before) {
        round_report report{.rounds = options.rounds, .discarded_steps = before.discarded_steps};
        const std::size_t number = round_number_++;  // a round that fails is not repeated with the same random numbers
        const rng_key key{options.seed, static_cast<std::uint32_t>(number)};
        relaxation_options relaxation = options.relaxation;
        relaxation.inverse_temperature *= options.inverse_temperature(number);
        const auto own_key = [key](std::size_t k) { return rng_key{key.seed ^ ((k + 1) << 40), key.step}; };
        id_.resize(options.rows);

        double start = clock_seconds();
        for (std::size_t k = 0; k < options.discriminator_steps; ++k) {
            count_up(detail::span_of(id_), std::uint64_t{k} * options.rows);
            (void)policy_.forward_relaxed({}, id_, relaxation, key, x_.samples);
            const pathwise_update_report done = judge(options, experts_.sample(options.rows, own_key(k)), own_key(k));
            report.discriminator_loss = done.loss.loss;
            report.discriminator_grad_norm = done.grad_norm;
            report.discriminator_steps += done.applied;
            report.discarded_steps += !done.applied;
            report.score_expert = done.loss.real_mean;
            report.score_policy = done.loss.fake_mean;
            if (k == 0) report.accuracy = done.loss.accuracy;
        }
        report.discriminator_seconds = clock_seconds() - start;

        start = clock_seconds();
        count_up(detail::span_of(id_), std::uint64_t{options.discriminator_steps} * options.rows);
        if (number >= options.discriminator_warmup) {
            const std::size_t k = options.discriminator_steps;
            const pathwise_update_report done =
                update_pathwise(policy_, discriminator_, {}, id_, experts_.sample(options.rows, own_key(k)), relaxation,
                                key, options.policy, policy_loss_, x_);
            report.policy_loss = done.loss.loss;
            report.reward_mean = -done.loss.loss;
            report.policy_grad_norm = done.grad_norm;
            report.policy_steps = done.applied;
            report.discarded_steps += !done.applied;
            report.score_policy = done.loss.real_mean;  // the sides are exchanged
        }
        report.policy_seconds = clock_seconds() - start;
        detail::describe_samples(report, hard_rows(x_.samples));
        ++rounds_done_;
        return report;
    }

    pathwise_update_report judge(const pathwise_options& options, const typename P::batch& real, rng_key key) {
        const auto step = [&](auto&... c) -> pathwise_update_report {
            if (options.relaxed_discriminator)
                return update_relaxed_discriminator(discriminator_, real, options.discriminator, loss_, x_, c...);
            const discriminator_update_report done =
                update_discriminator(discriminator_, real, hard_rows(x_.samples), detail::one_to_one(x_, options.rows),
                                     {.step = options.discriminator}, loss_, hard_, key, c...);
            return {done.loss, done.grad_norm, done.applied};
        };
        return std::apply(step, constraint_);
    }

    P& policy_;
    S& discriminator_;
    E& experts_;
    part<Loss> loss_;
    part<PolicyLoss> policy_loss_;
    std::tuple<part<Constraint>...> constraint_;
    pathwise_scratch<P> x_;
    discriminator_scratch<typename P::scalar> hard_;
    std::vector<std::uint64_t> id_;
    std::size_t round_number_ = 0;  // begun; a round that failed keeps its number
    std::size_t rounds_done_ = 0;
};

}  // namespace rlgaf::inline RLGAF_ABI
