/// What the policy minimises under each reward, with the discriminator at its optimum and held there: by enumeration.
#include "rlgaf/discriminator/loss/bce.hpp"
#include "rlgaf/discriminator/loss/f_gan.hpp"
#include "rlgaf/reward_shaping/critic_reward.hpp"
#include "rlgaf/reward_shaping/score_reward.hpp"
#include "support/pointwise_checks.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;

namespace {
using vector = std::vector<double>;

double kl(const vector& a, const vector& b) {
    double sum = 0;
    for (std::size_t k = 0; k < a.size(); ++k) sum += a[k] * std::log(a[k] / b[k]);
    return sum;
}
double mean(const vector& q, const vector& r) {
    double sum = 0;
    for (std::size_t k = 0; k < q.size(); ++k) sum += q[k] * r[k];
    return sum;
}
template <class F>
vector mapped(const vector& x, F&& f) {
    vector out;
    for (const double v : x) out.push_back(f(v));
    return out;
}
template <class Stage>
vector reward(const Stage& stage, const vector& score) {
    shaping_step<double> step{.score = score};
    step.begin(std::vector<std::uint32_t>(score.size(), 1));
    step.run(stage);
    return step.outcome(0);
}

/// Expert p, policy q, their mixture, and the optimal scores of bce.
struct game {
    vector p, q, m, s;
    explicit game(const two_distributions& both) : p(both.p), q(both.q) {
        for (std::size_t k = 0; k < p.size(); ++k) {
            m.push_back((p[k] + q[k]) / 2);
            s.push_back(std::log(p[k] / q[k]));
        }
        both.check_optimum(rlgaf::bce{}, [](double u) { return std::log(u); });
    }
};
}  // namespace

TEST_CASE("Rewards from the optimal discriminator: what their expectation under the policy is") {
    dice d(11);
    for (int i = 0; i < 300; ++i) {
        const game g(random_distributions(d, 2 + d.below(5)));
        // logit (AIRL): the reverse KL, mode seeking
        REQUIRE(gap(mean(g.q, g.s), -kl(g.q, g.p)) < 1e-13);
        REQUIRE(gap(mean(g.q, reward(rlgaf::logit_reward{}, g.s)), -kl(g.q, g.p)) < 1e-13);
        // -log(1 - D) (GAIL)
        const double gail = std::log(2) - kl(g.q, g.m);
        REQUIRE(gap(mean(g.q, mapped(g.s, [](double s) { return std::log1p(std::exp(s)); })), gail) < 1e-13);
        REQUIRE(gap(mean(g.q, reward(rlgaf::neg_log_one_minus_d_reward{}, g.s)), gail) < 1e-13);
        // log D (non-saturating)
        const double log_d = kl(g.q, g.m) - kl(g.q, g.p) - std::log(2);
        REQUIRE(gap(mean(g.q, mapped(g.s, [](double s) { return -std::log1p(std::exp(-s)); })), log_d) < 1e-13);
        REQUIRE(gap(mean(g.q, reward(rlgaf::log_d_reward{}, g.s)), log_d) < 1e-13);
        // -s exp(s) (FAIRL): the forward KL, mode covering
        REQUIRE(gap(mean(g.q, mapped(g.s, [](double s) { return -s * std::exp(s); })), -kl(g.p, g.q)) < 1e-13);
        REQUIRE(gap(mean(g.q, reward(rlgaf::fairl_reward{.clip = 700}, g.s)), -kl(g.p, g.q)) < 1e-13);
        // 2 D - 1 (ScratchGAN)
        double shared = 0;
        for (std::size_t k = 0; k < g.q.size(); ++k) shared += g.q[k] * 2 * g.q[k] / (g.p[k] + g.q[k]);
        REQUIRE(gap(mean(g.q, mapped(g.s, [](double s) { return std::tanh(s / 2); })), 1 - shared) < 1e-13);
        REQUIRE(gap(mean(g.q, reward(rlgaf::two_d_minus_one_reward{}, g.s)), 1 - shared) < 1e-13);
        // the loss itself: 2 log 2 - 2 JS
        const double js = (kl(g.p, g.m) + kl(g.q, g.m)) / 2;
        const two_distributions both{g.p, g.q};
        REQUIRE(gap(both.expected(rlgaf::bce{}, g.s).stats.loss, 2 * std::log(2) - 2 * js) < 1e-13);
    }
}

TEST_CASE("Optimal f-GAN scores claim the density ratio, whose logarithm is the logit reward") {
    using rlgaf::divergence;
    dice d(12);
    for (int i = 0; i < 300; ++i) {
        const two_distributions both = random_distributions(d, 2 + d.below(5));
        for (const rlgaf::f_divergence f :
             {rlgaf::f_divergence{divergence::kl}, rlgaf::f_divergence{divergence::reverse_kl},
              rlgaf::f_divergence{divergence::pearson}, rlgaf::f_divergence{divergence::squared_hellinger},
              rlgaf::f_divergence{divergence::jensen_shannon}, rlgaf::f_divergence{divergence::gan},
              rlgaf::f_divergence{divergence::alpha, 0.5}, rlgaf::f_divergence{divergence::alpha, 1.5}}) {
            vector s;
            for (std::size_t k = 0; k < both.p.size(); ++k) s.push_back(f.score(both.p[k] / both.q[k]));
            REQUIRE(gap(mean(both.q, mapped(s, [&](double x) { return f.ratio(x); })), 1) < 1e-11);
            REQUIRE(gap(mean(both.q, mapped(s, [&](double x) { return std::log(f.ratio(x)); })), -kl(both.q, both.p)) <
                    1e-11);
        }
        // the saturating reward of gan is GAIL's, its other one log D
        const rlgaf::f_divergence gan{divergence::gan};
        for (const double x : {-3.0, 0.2, 2.0}) {
            REQUIRE(gap(gan.conjugate(x).value, std::log1p(std::exp(x))) < 1e-15);
            REQUIRE(gap(gan.activation(x).value, -std::log1p(std::exp(-x))) < 1e-15);
        }
    }
}
