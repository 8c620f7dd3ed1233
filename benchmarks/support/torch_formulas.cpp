#include "support/torch_formulas.hpp"

#ifdef RLGAF_WITH_TORCH
#include <ATen/core/ivalue.h>
#include <torch/torch.h>

#include <cmath>
#include <map>

namespace {

using torch::Tensor;

/// The share of tokens (or rows) whose gradient a clip of the ratio takes. Without a gradient, as all statistics.
Tensor clipped_share(const Tensor& advantage, const Tensor& ratio, double low, double high) {
    const torch::NoGradGuard no_gradient;
    return (((advantage > 0) & (ratio > high)) | ((advantage < 0) & (ratio < low))).to(torch::kFloat32).mean();
}

/// What a formula may read: [B, T], but reward [B] and scores [B T]. log_prob, entropy, value and scores are leaves.
/// Ratios come with the statistics that the kernels return: the mean of ratio - 1 - log_ratio, and the largest ratio.
struct inputs {
    Tensor log_prob, old, reference, advantage, entropy, value, reward, real, fake, norm;
    std::int64_t rows, tokens, group;

    Tensor log_ratio() const { return (log_prob - old).clamp(-20, 20); }
    static void measure(const Tensor& log_ratio, const Tensor& token_ratio, const Tensor& ratio) {
        const torch::NoGradGuard no_gradient;
        (token_ratio - 1 - log_ratio).mean();
        ratio.max();
    }
    Tensor ratio() const {
        const Tensor d = log_ratio(), r = d.exp();
        measure(d, r, r);
        return r;
    }
    /// exp of what `of_rows` makes of the log-ratios, [B].
    template <class F>
    Tensor row_ratio(F&& of_rows) const {
        const Tensor d = log_prob - old, r = of_rows(d).exp();
        const torch::NoGradGuard no_gradient;
        const Tensor held = d.clamp(-20, 20);
        measure(held, held.exp(), r);
        return r;
    }
    Tensor sequence_ratio() const {
        return row_ratio([](const Tensor& d) { return d.mean(1).clamp(-20, 20); });
    }
    Tensor sum_ratio() const {
        return row_ratio([](const Tensor& d) { return d.sum(1).clamp(-20, 20); });
    }
    Tensor gain() const { return advantage.mean(1); }
    Tensor by_group() const { return reward.view({-1, group}); }
    Tensor on_tokens(const Tensor& x) const { return x.reshape({rows, 1}).expand({rows, tokens}).contiguous(); }
    Tensor reward_to_go() const { return advantage.flip({1}).cumsum(1).flip({1}); }
};
Tensor clipped(const Tensor& a, const Tensor& r, double low, double high) {
    clipped_share(a, r, 1 - low, 1 + high);
    return torch::max(-a * r, -a * r.clamp(1 - low, 1 + high));
}
Tensor whitened(const Tensor& x) { return (x - x.mean()) / (x.std() + 1e-8); }

using formula = Tensor (*)(const inputs&);
const std::map<std::string, formula>& losses() {
    static const std::map<std::string, formula> table = {
        {"policy_gradient_loss", [](const inputs& x) { return (-x.advantage * x.log_prob).mean(); }},
        {"is_reinforce",
         [](const inputs& x) {
             const Tensor r = x.ratio();
             clipped_share(x.advantage, r, 0, 2);
             return (-r.clamp_max(2).detach() * x.advantage * x.log_prob).mean();
         }},
        {"ppo_clip",
         [](const inputs& x) {
             const Tensor both = clipped(x.advantage, x.ratio(), 0.2, 0.28);
             return torch::where(x.advantage < 0, torch::min(both, -3 * x.advantage), both).mean();
         }},
        {"two_sided_clip",
         [](const inputs& x) {
             const Tensor r = x.ratio();
             clipped_share(x.advantage, r, 0.8, 1.2);
             return (-torch::min(r.clamp_max(4) * x.advantage, r.clamp(0.8, 1.2) * x.advantage)).mean();
         }},
        {"cispo",
         [](const inputs& x) {
             const Tensor r = x.ratio();
             clipped_share(x.advantage, r, 0, 5);
             return (-r.clamp(0, 5).detach() * x.advantage * x.log_prob).mean();
         }},
        {"sapo",
         [](const inputs& x) {
             const Tensor tau =
                 torch::where(x.advantage > 0, torch::ones_like(x.advantage), torch::full_like(x.advantage, 1.05));
             return (-x.advantage * 4 / tau * torch::sigmoid(tau * (x.ratio() - 1))).mean();
         }},
        {"gspo", [](const inputs& x) { return clipped(x.gain(), x.sequence_ratio(), 3e-4, 4e-4).mean(); }},
        {"gspo_token",
         [](const inputs& x) {
             const Tensor s = x.sequence_ratio().detach().unsqueeze(1) * (x.log_prob - x.log_prob.detach()).exp();
             return clipped(x.advantage, s, 3e-4, 4e-4).mean();
         }},
        {"gmpo",
         [](const inputs& x) {
             const Tensor up = x.gain().unsqueeze(1);
             const Tensor c = x.row_ratio([&](const Tensor& d) {
                 clipped_share(up, d, -0.4, 0.4);
                 return torch::where(up > 0, d.clamp_max(0.4), d.clamp_min(-0.4)).mean(1);
             });
             return (-x.gain() * c).mean();
         }},
        {"luspo",
         [](const inputs& x) {
             return (clipped(x.gain(), x.sequence_ratio(), 2e-3, 2.5e-3) * static_cast<double>(x.tokens)).mean();
         }},
        {"vespo",
         [](const inputs& x) {
             const Tensor w = x.row_ratio([](const Tensor& d) { return d.sum(1).clamp(-18.42, 20); }).detach();
             const Tensor phi =
                 torch::where(x.gain() >= 0, w.pow(2) * (3 * (1 - w)).exp(), w.pow(3) * (2 * (1 - w)).exp());
             return (-phi.unsqueeze(1) * x.advantage * x.log_prob).mean();
         }},
        {"topr",
         [](const inputs& x) {
             const Tensor w = x.sum_ratio().clamp_max(1).detach();
             return (-torch::where(x.gain() >= 0, torch::ones_like(w), w).unsqueeze(1) * x.advantage * x.log_prob)
                 .mean();
         }},
        {"sequence_clip", [](const inputs& x) { return clipped(x.gain(), x.sum_ratio(), 0.2, 0.2).mean(); }},
        {"astar_po",
         [](const inputs& x) { return (1e-3 * (x.log_prob - x.reference).sum(1) - x.gain()).pow(2).mean(); }},
        {"kl_cov",
         [](const inputs& x) {
             const Tensor cov =
                 ((x.advantage - x.advantage.mean()) * (x.log_prob - x.log_prob.mean())).detach().flatten();
             const std::int64_t k = std::max<std::int64_t>(1, cov.numel() / 5000);
             const Tensor chosen = torch::zeros_like(cov).scatter_(0, std::get<1>(cov.topk(k)), 1).view_as(x.log_prob);
             return (-x.advantage * x.ratio() + chosen * 0.1 * (x.log_prob - x.old).abs()).mean();
         }},
        {"clip_cov",
         [](const inputs& x) {
             const Tensor cov = ((x.advantage - x.advantage.mean()) * (x.log_prob - x.log_prob.mean())).detach();
             const Tensor r = x.ratio();
             const Tensor held = ((x.advantage > 0) & (r > 1.2)) | ((x.advantage < 0) & (r < 0.8));
             const Tensor free = ((cov > 1) & (cov < 5) & held.logical_not()).flatten().nonzero().flatten();
             const std::int64_t k = std::min<std::int64_t>(free.numel(), std::max<std::int64_t>(1, cov.numel() / 5000));
             const Tensor pick = free.index({torch::randperm(free.numel()).slice(0, 0, k)});
             const Tensor keep = torch::ones_like(cov).flatten().index_fill_(0, pick, 0).view_as(cov);
             return (keep * clipped(x.advantage, r, 0.2, 0.2)).mean();
         }},
        {"kl_loss k1", [](const inputs& x) { return (x.log_prob - x.reference).mean(); }},
        {"kl_loss abs", [](const inputs& x) { return (x.log_prob - x.reference).abs().mean(); }},
        {"kl_loss k2", [](const inputs& x) { return (0.5 * (x.log_prob - x.reference).pow(2)).mean(); }},
        {"kl_loss k3",
         [](const inputs& x) {
             const Tensor u = x.reference - x.log_prob;
             return (u.exp() - u - 1).mean();
         }},
        {"entropy_bonus", [](const inputs& x) { return -0.01 * x.entropy.mean(); }},
        {"sft", [](const inputs& x) { return -x.log_prob.mean(); }},
        {"sft dft", [](const inputs& x) { return (-x.log_prob.detach().exp() * x.log_prob).mean(); }},
        {"value_loss", [](const inputs& x) { return 0.5 * (x.value - x.advantage).pow(2).mean(); }},
        {"value_loss clipped",
         [](const inputs& x) {
             const Tensor near = torch::max(torch::min(x.value, x.old + 0.2), x.old - 0.2);
             return 0.5 * torch::max((x.value - x.advantage).pow(2), (near - x.advantage).pow(2)).mean();
         }},
        {"value_loss huber", [](const inputs& x) { return torch::smooth_l1_loss(x.value, x.advantage); }},
        {"dpo",
         [](const inputs& x) {
             const Tensor row = (x.log_prob - x.reference).sum(1).view({-1, 2});
             return -torch::log_sigmoid(0.1 * (row.select(1, 0) - row.select(1, 1))).mean();
         }},
        {"bce",
         [](const inputs& x) { return -torch::log_sigmoid(x.real).mean() - torch::log_sigmoid(-x.fake).mean(); }},
        {"gail",
         [](const inputs& x) {
             const auto entropy = [](const Tensor& s) { return torch::softplus(s) - s * torch::sigmoid(s); };
             return (-torch::log_sigmoid(x.real) - 1e-3 * entropy(x.real)).mean() +
                    (-torch::log_sigmoid(-x.fake) - 1e-3 * entropy(x.fake)).mean();
         }},
        {"lsgan", [](const inputs& x) { return 0.5 * ((x.real - 1).pow(2).mean() + x.fake.pow(2).mean()); }},
        {"wgan", [](const inputs& x) { return x.fake.mean() - x.real.mean(); }},
        {"hinge", [](const inputs& x) { return torch::relu(1 - x.real).mean() + torch::relu(1 + x.fake).mean(); }},
        {"total_variation", [](const inputs& x) { return torch::tanh(x.fake).mean() - torch::tanh(x.real).mean(); }},
        {"f_gan kl", [](const inputs& x) { return (x.fake.clamp(-20, 20) - 1).exp().mean() - x.real.mean(); }},
        {"f_gan pearson", [](const inputs& x) { return (x.fake.pow(2) / 4 + x.fake).mean() - x.real.mean(); }},
        {"bradley_terry",
         [](const inputs& x) {
             return (5e-4 * (x.real.pow(2) + x.fake.pow(2)) - torch::log_sigmoid(x.real - x.fake)).mean();
         }},
        {"rp_ls", [](const inputs& x) { return (x.real - x.fake - 1).pow(2).mean(); }},
        {"rp_hinge", [](const inputs& x) { return torch::relu(1 - (x.real - x.fake)).mean(); }},
        {"ragan",
         [](const inputs& x) {
             return -torch::log_sigmoid(x.real - x.fake.mean()).mean() -
                    torch::log_sigmoid(x.real.mean() - x.fake).mean();
         }},
        {"ra_ls",
         [](const inputs& x) {
             return (x.real - x.fake.mean() - 1).pow(2).mean() + (x.real.mean() - x.fake - 1).pow(2).mean();
         }},
        {"ra_hinge",
         [](const inputs& x) {
             return torch::relu(1 - (x.real - x.fake.mean())).mean() + torch::relu(1 - (x.real.mean() - x.fake)).mean();
         }},
        {"rao_kupper", [](const inputs& x) { return -torch::log_sigmoid(x.real - x.fake - std::log(2.0)).mean(); }},
        {"davidson",
         [](const inputs& x) {
             const Tensor lost = (x.fake - x.real) / 2;
             return (1 + lost.exp() + (2 * lost).exp()).log().mean();
         }},
        {"score_l2", [](const inputs& x) { return 0.5 * (x.real.pow(2).mean() + x.fake.pow(2).mean()); }},
        {"reward_model", [](const inputs& x) { return -torch::log_sigmoid(x.real - x.fake).mean(); }},
    };
    return table;
}

/// Also off_policy with its defaults: retrace from state values.
Tensor vtrace(const inputs& x) {
    const Tensor v = x.value.detach(), rho = (x.log_prob.detach() - x.old).exp();
    const Tensor capped = rho.clamp_max(1);
    Tensor error = torch::zeros({x.rows}, v.options()), next = error, target = error;
    std::vector<Tensor> all(static_cast<std::size_t>(x.tokens));
    for (std::int64_t t = x.tokens; t-- > 0;) {
        const Tensor now = v.select(1, t), c = capped.select(1, t), r = x.advantage.select(1, t);
        all[static_cast<std::size_t>(t)] = c * (r + target - now);
        error = c * (r + next - now) + c * error;
        target = now + error;
        next = now;
    }
    return torch::stack(all, 1);
}

/// Without a gradient. Advantages come with their mean and deviation, as from the kernels.
const std::map<std::string, formula>& estimators() {
    static const std::map<std::string, formula> table = {
        {"grpo",
         [](const inputs& x) {
             const Tensor g = x.by_group();
             return x.on_tokens((g - g.mean(1, true)) / (g.std(1, true, true) + 1e-4));
         }},
        {"rloo",
         [](const inputs& x) {
             const Tensor g = x.by_group();
             const double n = static_cast<double>(x.group);
             return x.on_tokens((g - g.mean(1, true)) * (n / (n - 1)));
         }},
        {"reinforce", [](const inputs& x) { return x.on_tokens(x.reward - x.reward.mean()); }},
        {"reinforce_plus_plus", [](const inputs& x) { return whitened(x.reward_to_go()); }},
        {"opo",
         [](const inputs& x) {
             const Tensor g = x.by_group(), n = torch::full_like(g, static_cast<double>(x.tokens));
             return x.on_tokens(g - (n * g).sum(1, true) / n.sum(1, true));
         }},
        {"remax", [](const inputs& x) { return x.on_tokens(x.reward - x.reward.roll(1)); }},
        {"gpg",
         [](const inputs& x) {
             const Tensor g = x.by_group();
             const Tensor teaches = (g.std(1, true, false) > 1e-6).sum().to(g.dtype()) * x.group;
             return x.on_tokens((g - g.mean(1, true)) * (static_cast<double>(x.rows) / teaches.clamp_min(1)));
         }},
        {"max_second",
         [](const inputs& x) {
             const auto best = x.by_group().topk(2, 1);
             const Tensor value = std::get<0>(best), index = std::get<1>(best);
             const Tensor gap = value.select(1, 0) - value.select(1, 1);
             return x.on_tokens(torch::zeros_like(x.by_group()).scatter(1, index.slice(1, 0, 1), gap.unsqueeze(1)));
         }},
        {"maligan",
         [](const inputs& x) {
             return x.on_tokens(torch::softmax(x.by_group(), 1) - 1.0 / static_cast<double>(x.group));
         }},
        {"gae",
         [](const inputs& x) {
             const Tensor v = x.value.detach();
             Tensor last = torch::zeros({x.rows}, v.options()), next = last;
             std::vector<Tensor> all(static_cast<std::size_t>(x.tokens));
             for (std::int64_t t = x.tokens; t-- > 0;) {
                 const Tensor now = v.select(1, t);
                 last = x.advantage.select(1, t) + next - now + 0.95 * last;
                 next = now;
                 all[static_cast<std::size_t>(t)] = last;
             }
             return whitened(torch::stack(all, 1));
         }},
        {"vtrace", vtrace},
        {"off_policy", vtrace},
        {"optimal_token_baseline",
         [](const inputs& x) {
             const Tensor go = x.reward_to_go().view({-1, x.group, x.tokens});
             const Tensor w = x.norm.cumsum(1).view({-1, x.group, x.tokens});
             return go - (go * w).sum(1, true) / (w.sum(1, true) + 1e-8);
         }},
        {"kl_penalty", [](const inputs& x) { return -0.02 * (x.log_prob.detach() - x.reference); }},
        {"importance_weights",
         [](const inputs& x) { return x.norm * (x.log_prob.detach() - x.old).clamp(-20, 20).exp().clamp(0, 2); }},
        {"d_reward", [](const inputs& x) { return torch::sigmoid(x.fake.detach()); }},
        {"two_d_minus_one_reward", [](const inputs& x) { return 2 * torch::sigmoid(x.fake.detach()) - 1; }},
        {"tanh_reward", [](const inputs& x) { return torch::tanh(x.fake.detach()); }},
        {"logit_reward", [](const inputs& x) { return x.fake.detach().clamp(-10, 10); }},
        {"log_d_reward", [](const inputs& x) { return torch::log_sigmoid(x.fake.detach()); }},
        {"neg_log_one_minus_d_reward", [](const inputs& x) { return -torch::log_sigmoid(-x.fake.detach()); }},
    };
    return table;
}

inputs random_inputs(std::int64_t rows, std::int64_t tokens, bool wide, std::int64_t group) {
    torch::manual_seed(1);
    const auto options = torch::dtype(wide ? torch::kFloat64 : torch::kFloat32);
    const auto normal = [&](torch::IntArrayRef shape, double mean, double spread) {
        return torch::randn(shape, options) * spread + mean;
    };
    inputs x;
    x.rows = rows, x.tokens = tokens, x.group = group;
    x.log_prob = normal({rows, tokens}, -2, 0.5).detach();
    x.old = x.log_prob + normal({rows, tokens}, 0, 0.1);
    x.reference = normal({rows, tokens}, -2, 0.5);
    x.advantage = normal({rows, tokens}, 0, 1);
    x.entropy = normal({rows, tokens}, 2, 0.5).detach();
    x.value = normal({rows, tokens}, 0, 1).detach();
    x.norm = torch::rand({rows, tokens}, options);
    x.reward = normal({rows}, 0, 1);
    x.real = normal({rows * tokens}, 1, 2).detach();
    x.fake = normal({rows * tokens}, -1, 2).detach();
    for (Tensor* leaf : {&x.log_prob, &x.entropy, &x.value, &x.real, &x.fake}) leaf->set_requires_grad(true);
    return x;
}

}  // namespace

torch_kernel make_torch_kernel(const std::string& kernel, std::size_t rows, std::size_t tokens, bool wide,
                               std::size_t group_size) {
    at::set_num_threads(1);
    const auto loss = losses().find(kernel);
    const auto estimator = estimators().find(kernel);
    if (loss == losses().end() && estimator == estimators().end()) return {};
    const inputs x = random_inputs(static_cast<std::int64_t>(rows), static_cast<std::int64_t>(tokens), wide,
                                   static_cast<std::int64_t>(group_size));
    if (loss != losses().end())  // gradients accumulate, as the kernels' do
        return {[x, f = loss->second] { f(x).backward(); }};
    const bool advantage =
        kernel != "kl_penalty" && kernel != "importance_weights" && kernel.find("reward") == std::string::npos;
    return {[x, f = estimator->second, advantage] {
        const torch::NoGradGuard no_gradient;
        const Tensor out = f(x);
        if (advantage) out.mean(), out.std();
    }};
}

#else
torch_kernel make_torch_kernel(const std::string&, std::size_t, std::size_t, bool, std::size_t) { return {}; }
#endif
