// Discriminator losses in place of the default's.
#include "support/stabilisers.hpp"

namespace stabilisers {

namespace {
template <class Loss>
variant with_loss(const char* name, Loss loss) {
    return {"loss", name, [loss](setting& s) { train(s, default_advantage(), loss, default_reward()); }};
}
}  // namespace

void add_losses(std::vector<variant>& all) {
    using namespace rlgaf;
    all.push_back(with_loss("bce", bce{}));
    all.push_back(with_loss("gail", gail{}));
    all.push_back(with_loss("lsgan", lsgan{}));
    all.push_back(with_loss("hinge", hinge{}));
    all.push_back(with_loss("total_variation", total_variation{}));
    all.push_back(with_loss("wgan", wgan{}));
    for (const auto& [name, which] : {std::pair{"f_gan kl", divergence::kl},
                                      {"f_gan reverse_kl", divergence::reverse_kl},
                                      {"f_gan pearson", divergence::pearson},
                                      {"f_gan squared_hellinger", divergence::squared_hellinger},
                                      {"f_gan jensen_shannon", divergence::jensen_shannon},
                                      {"f_gan gan", divergence::gan},
                                      {"f_gan total_variation", divergence::total_variation},
                                      {"f_gan alpha .5", divergence::alpha}})
        all.push_back(with_loss(name, f_gan{.kind = which}));
    // losses whose scores mean something else than log odds, with the rewards that go with them
    const auto with_own = [&](const char* name, auto loss, auto map) {
        all.push_back({"loss", name, [=](setting& s) { train(s, default_advantage(), loss, reward_of(map)); }});
    };
    with_own("lsgan + its reward", lsgan{}, least_squares_reward{});
    with_own("total_variation + its reward", total_variation{}, tanh_reward{});
    with_own("f_gan reverse_kl + its reward", f_gan{.kind = divergence::reverse_kl},
             f_gan_reward{.divergence = {divergence::reverse_kl}});
}

void add_relativistic(std::vector<variant>& all) {
    using namespace rlgaf;
    all.push_back(with_loss("bradley_terry", bradley_terry{}));
    all.push_back(with_loss("bradley_terry margin 1", bradley_terry{.margin = 1}));
    all.push_back(with_loss("bradley_terry centering .01", bradley_terry{.centering = 0.01}));
    all.push_back(with_loss("bradley_terry noise .2", bradley_terry{.noise = 0.2}));
    all.push_back(with_loss("bradley_terry_all_pairs", bradley_terry_all_pairs{}));
    all.push_back(with_loss("rp_ls", rp_ls{}));
    all.push_back(with_loss("rp_hinge", rp_hinge{}));
    all.push_back(with_loss("ragan", ragan{}));
    all.push_back(with_loss("ra_ls", ra_ls{}));
    all.push_back(with_loss("ra_hinge", ra_hinge{}));
    all.push_back(with_loss("rao_kupper", rao_kupper{}));
    all.push_back(with_loss("davidson", davidson{}));
}

}  // namespace stabilisers
