#include "rlgaf/policy_gradient/loss/cispo.hpp"
#include "rlgaf/policy_gradient/loss/clip_cov.hpp"
#include "rlgaf/policy_gradient/loss/gspo_token.hpp"
#include "rlgaf/policy_gradient/loss/is_reinforce.hpp"
#include "rlgaf/policy_gradient/loss/kl_cov.hpp"
#include "rlgaf/policy_gradient/loss/policy_gradient_loss.hpp"
#include "rlgaf/policy_gradient/loss/sapo.hpp"
#include "rlgaf/policy_gradient/loss/two_sided_clip.hpp"
#include "support/policy_loss_checks.hpp"

using namespace rlgaf_test;

TEST_CASE("on the policy's own samples every token-level loss is the plain policy gradient") {
    dice d(223);
    const policy_loss_traits traits{.function = "", .needs = {"old_log_prob", "advantage"}};
    rlgaf::workspace work;
    for (int i = 0; i < 300; ++i) {
        policy_case c = random_policy_case(d, traits);
        c.old_log_prob = c.log_prob;
        const table plain = run(rlgaf::policy_gradient_loss{}, c).gradient;
        const auto same = [&](const auto& loss) {
            const table g = run(loss, c).gradient;
            for (std::size_t b = 0; b < g.size(); ++b) REQUIRE(gap(g[b], plain[b]) < 1e-15);
        };
        same(rlgaf::two_sided_clip{});
        same(rlgaf::is_reinforce{});
        same(rlgaf::cispo{});
        same(rlgaf::sapo{});
        same(rlgaf::gspo_token{});
        same([&](const auto& terms, std::span<const double> weight, const auto& d_log_prob) {
            return rlgaf::kl_cov{.fraction = 0.5}(terms, weight, d_log_prob, work);
        });
        same([&](const auto& terms, std::span<const double> weight, const auto& d_log_prob) {
            rlgaf::clip_cov::state memory;
            return rlgaf::clip_cov{.fraction = 0}(memory, terms, weight, d_log_prob, work);
        });
    }
}
