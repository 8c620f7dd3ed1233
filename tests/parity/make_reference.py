#!/usr/bin/env python3
"""Writes reference.json beside this file: what the peers' own code answers to small random batches.

The tests read the JSON only; nothing else needs Python. To make it anew (Debian 12, python3-torch installed):

    python3 -m venv --system-site-packages /tmp/peers
    /tmp/peers/bin/pip install --no-deps --ignore-requires-python \
        trl==1.16.0 verl==0.9.1 openrlhf==0.11.2 rlax==0.1.9 cleanrl==1.2.0
    /tmp/peers/bin/pip install jax==0.4.30 jaxlib==0.4.30 numpy==1.24.2 'scipy<1.12' ml_dtypes==0.4.0
    nice /tmp/peers/bin/python tests/parity/make_reference.py

The peers are not imported, because they want GPUs, clusters and models. Their functions are looked up in the installed
files by name, or by how their statements begin, compiled as they stand and called; what they would ask of a trainer is
answered by a stand-in. Gradients come from torch.autograd (JAX for rlax), all in double precision.

An entry: {name, peer, function, component, case, options, ... what it gives}. `component` and `options` are in the
words of the tests; `case` names the batch that was given. `tolerance` (1e-10 if absent) is larger only where the peer
adds an epsilon of its own or computes in single precision, and `because` says so. `differs` marks what is deliberately
not the same here; each has a test case of its own. Masked tokens hold numbers, too: neither side may use them. null is
NaN.
"""
import __future__

import ast
import collections
import importlib.metadata
import itertools
import json
import math
import pathlib
import random
import types

import jax
import jax.numpy as jnp
import numpy as np
import torch

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
jax.config.update("jax_enable_x64", True)

# --- The peers' code --------------------------------------------------------------------------------------------------


class stand_in(types.SimpleNamespace):
    """An object with the given attributes; also stands for the peers' configuration objects."""

    def get(self, name, default=None):
        return getattr(self, name, default)


def parsed(peer, path):
    file = pathlib.Path(importlib.metadata.distribution(peer).locate_file(path))
    return ast.parse(file.read_text()), file


def run(nodes, file, scope):
    module = ast.fix_missing_locations(ast.Module(body=nodes, type_ignores=[]))
    exec(compile(module, str(file), "exec", flags=__future__.annotations.compiler_flag, dont_inherit=True), scope)


def find(tree, name):
    node = tree
    for part in name.split("."):
        node = next(n for n in node.body if getattr(n, "name", None) == part)
    return node


def define(scope, peer, path, *names):
    """Defines functions, classes or methods of one of the peer's files in `scope`; other decorators than no_grad go."""
    tree, file = parsed(peer, path)
    for name in names:
        node = find(tree, name)
        node.decorator_list = [d for d in node.decorator_list if ast.unparse(d) == "torch.no_grad()"]
        run([node], file, scope)
    return scope


def statements(scope, peer, path, name, first, last):
    """Runs the statements of a function from the one that begins with `first` to the next that begins with `last`."""
    tree, file = parsed(peer, path)
    for node in ast.walk(find(tree, name) if name else tree):
        for body in (getattr(node, field, None) for field in ("body", "orelse")):
            if not isinstance(body, list):
                continue
            text = [ast.unparse(s) for s in body]
            begin = next((i for i, s in enumerate(text) if s.startswith(first)), None)
            if begin is None:
                continue
            end = next((i for i in range(begin, len(body)) if text[i].startswith(last)), None)
            if end is not None:
                run(body[begin : end + 1], file, scope)
                return scope
    raise LookupError(f"{path}: {name}: {first!r} ... {last!r}")


CORE = "verl/trainer/ppo/core_algos.py"
verl_math = define({"torch": torch}, "verl", "verl/utils/torch_functional.py", "masked_sum", "masked_mean",
                   "masked_var", "masked_whiten", "clip_by_value", "entropy_from_logits")
verl = {"torch": torch, "np": np, "defaultdict": collections.defaultdict, "verl_F": stand_in(**verl_math),
        "ActorConfig": stand_in, "AlgoConfig": type("AlgoConfig", (), {})}
define(verl, "verl", CORE, "agg_loss", "kl_penalty", "kl_penalty_forward", "compute_value_loss", "AdaptiveKLController",
       *(f"compute_policy_loss_{x}" for x in "vanilla gspo sapo gpg clip_cov kl_cov geo_mean cispo reinforce".split()),
       *(f"compute_{x}_outcome_advantage" for x in "grpo gdpo grpo_passk rloo rloo_vectorized opo remax gpg "
         "reinforce_plus_plus reinforce_plus_plus_baseline".split()),
       "compute_gae_advantage_return", "compute_optimal_token_baseline_advantage",
       "compute_multi_turn_optimal_token_baseline_advantage")
CORRECTION = "verl/trainer/ppo/rollout_corr_helper.py"
statements(verl, "verl", CORRECTION, "", "SAFETY_BOUND", "SAFETY_BOUND")
statements(verl, "verl", CORRECTION, "", "SUPPORTED_ROLLOUT_RS_OPTIONS", "TOKEN_LEVEL_ROLLOUT_RS_OPTIONS")
verl |= {"math": math, "compute_is_metrics": lambda **_: {}, "compute_rs_metrics": lambda **_: {}}
define(verl, "verl", CORRECTION, "_parse_rollout_is_threshold", "_parse_rollout_rs_thresholds",
       "compute_rollout_rejection_mask", "compute_rollout_correction_weights")

TRL_GRPO, TRL_RLOO, TRL_DPO = (f"trl/trainer/{x}_trainer.py" for x in ("grpo", "rloo", "dpo"))
trl = {"torch": torch, "math": math, "F": torch.nn.functional, "nn": torch.nn, "is_peft_model": lambda _: False}
define(trl, "trl", "trl/trainer/utils.py", "nanstd", "nanmin", "nanmax")
grpo_loss = define(dict(trl), "trl", TRL_GRPO, "GRPOTrainer._compute_loss", "GRPOTrainer.get_gamma_weights",
                   "GRPOTrainer.get_off_policy_mask", "GRPOTrainer.get_high_entropy_mask")
A2PO = "trl/experimental/a2po/a2po_trainer.py"
a2po_loss = define(dict(trl), "trl", A2PO, "A2POTrainer.compute_loss")
gmpo_loss = define(dict(trl), "trl", "trl/experimental/gmpo/gmpo_trainer.py", "GMPOTrainer._compute_loss")
rloo_loss = define(dict(trl), "trl", TRL_RLOO, "RLOOTrainer._compute_loss")
dpo_loss = define(dict(trl), "trl", TRL_DPO, "DPOTrainer._compute_loss")
reward_loss = define(dict(trl), "trl", "trl/trainer/reward_trainer.py", "RewardTrainer.compute_loss")

openrlhf = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "itertools": itertools,
            "apply_length_penalties": lambda *_: None}
OPENRLHF_MODELS = "openrlhf/models/"
define(openrlhf, "openrlhf", OPENRLHF_MODELS + "utils.py", "masked_mean", "compute_reward")
define(openrlhf, "openrlhf", OPENRLHF_MODELS + "loss.py", "aggregate_loss", "PolicyLoss", "ValueLoss", "PairWiseLoss",
       "DPOLoss", "SFTLoss")
define(openrlhf, "openrlhf", "openrlhf/trainer/ppo_utils/experience_maker.py",
       *(f"RemoteExperienceMaker.{x}" for x in
         ("compute_advantages_and_returns", "get_advantages_and_returns", "get_cumulative_returns")))

rlax = {"jax": jax, "jnp": jnp, "collections": collections,
        "chex": stand_in(assert_rank=lambda *_: 0, assert_type=lambda *_: 0, assert_equal_shape=lambda *_: 0)}
statements(rlax, "rlax", "rlax/_src/vtrace.py", "", "VTraceOutput", "VTraceOutput")
define(rlax, "rlax", "rlax/_src/vtrace.py", "vtrace", "vtrace_td_error_and_advantage", "leaky_vtrace",
       "leaky_vtrace_td_error_and_advantage")
define(rlax, "rlax", "rlax/_src/policy_gradients.py", "clipped_surrogate_pg_loss")

# --- Batches ----------------------------------------------------------------------------------------------------------

dice = random.Random(20250131)
WIDTH = 7  # tokens of the longest row


def normal(scale=1.0):
    return round(dice.gauss(0, scale), 4)


def table(lengths, draw):
    return [[draw() for _ in range(n)] for n in lengths]


def mask_with_holes(lengths, empty_rows=()):
    mask = table(lengths, lambda: 0 if dice.random() < 0.3 else 1)
    for i, row in enumerate(mask):
        if i in empty_rows:
            row[:] = [0] * len(row)
        elif row and not any(row):
            row[dice.randrange(len(row))] = 1
    return mask


def policy_case(lengths, mask, log_ratio):
    """A batch for losses: `advantage` differs from token to token, `row_advantage` does not."""
    old = table(lengths, lambda: round(dice.uniform(-4, -0.5), 4))
    ratio = table(lengths, log_ratio)
    log_prob = [[round(a + d, 4) for a, d in zip(r, s)] for r, s in zip(old, ratio)]
    rows = [round((-1) ** i * dice.uniform(0.2, 2), 4) for i in range(len(lengths))]
    case = {
        "lengths": lengths,
        "mask": mask,
        "log_prob": log_prob,
        "old_log_prob": old,
        "reference_log_prob": [[round(l - normal(0.5), 4) for l in row] for row in log_prob],
        "behaviour_log_prob": [[round(l - normal(0.5), 4) for l in row] for row in old],
        "advantage": table(lengths, lambda: 0.0 if dice.random() < 0.1 else normal()),
        "row_advantage": [[a] * n for a, n in zip(rows, lengths)],
        "token_factor": table(lengths, lambda: round(dice.uniform(0, 2), 4)),
        "entropy": table(lengths, lambda: round(dice.uniform(0, 3), 4)),
    }
    return case


def ones(lengths):
    return table(lengths, lambda: 1)


def near():
    return normal(0.3)


def far():
    return dice.choice([-30.0, 30.0, -21.0, 21.0, -19.0, 12.0, -1.0, 0.1, -0.1, 0.0])


cases = {}
n = [7, 5, 3, 6, 2, 4]
cases["plain"] = policy_case(n, ones(n), near)
n = [7, 4, 6, 1, 5, 3]
cases["holes"] = policy_case(n, mask_with_holes(n), near)
n = [5, 0, 7, 3, 6, 2]
cases["empty_rows"] = policy_case(n, mask_with_holes(n, empty_rows=[3]), near)
n = [6, 5, 0, 7, 4, 5]
cases["extreme"] = policy_case(n, mask_with_holes(n, empty_rows=[4]), far)


def sixty_fourths():
    """Rewards that single precision holds, too."""
    return round(dice.gauss(0, 1) * 64) / 64


def reward_case(lengths, mask, group, outcome):
    case = {"lengths": lengths, "mask": mask, "group": group, "outcome": outcome}
    case["token_reward"] = table(lengths, lambda: normal(0.3))
    case["value"] = table(lengths, normal)
    case["log_prob"] = table(lengths, lambda: round(dice.uniform(-3, -0.1), 4))
    case["behaviour_log_prob"] = [[round(l - normal(0.6), 4) for l in row] for row in case["log_prob"]]
    # A chosen token and a second one that has half of what is left.
    case["sum_pi_squared"] = [[round(math.exp(2 * l) + 0.25 * (1 - math.exp(l)) ** 2, 6) for l in row]
                              for row in case["log_prob"]]
    case["bootstrap"] = [normal() if i % 2 else 0.0 for i in range(len(lengths))]
    baseline = [normal() for _ in range(max(group) + 1)]
    case["greedy_reward"] = [baseline[g] for g in group]
    return case


n = [7, 4, 6, 1, 5, 3, 2, 7, 4, 6, 0, 5]  # groups of 3, 4 and 5 rows, out of order
cases["groups"] = reward_case(n, mask_with_holes(n, empty_rows=[8]), [0, 1, 2, 1, 0, 2, 2, 1, 2, 0, 1, 2],
                              [[sixty_fourths() for _ in n]])
n = [3, 5, 7, 2, 6, 4, 1, 5]  # two groups of 4 in a row: what TRL and OpenRLHF demand
cases["grid"] = reward_case(n, ones(n), [0, 0, 0, 0, 1, 1, 1, 1],
                            [[sixty_fourths() for _ in n], [3 * sixty_fourths() for _ in n]])
cases["far_from_zero"] = reward_case(n, mask_with_holes(n), [0, 1, 0, 1, 1, 0, 0, 1],
                                     [[1000 + sixty_fourths() for _ in n]])
cases["missing"] = reward_case(n, ones(n), [0, 0, 0, 0, 1, 1, 1, 1],
                               [[0.5, None, 1.25, -2, None, 0.75, 3, -1], [None, None, 2, 1, 0.5, None, 1, 0.25]])
cases["singleton"] = reward_case([3, 2, 4], ones([3, 2, 4]), [0, 1, 0], [[1.5, 0.7, -0.5]])
n = [3, 5, 7, 2, 6, 4]
cases["constant_group"] = reward_case(n, ones(n), [0, 0, 0, 1, 1, 1], [[-5.7] * 3 + [1, 0, -0.5]])
cases["sheet"] = reward_case([3, 2, 4, 1], ones([3, 2, 4, 1]), [0] * 4, [[1, 0, 0.5, 0.25]])

n = [5, 7, 2, 6, 3, 4]  # first half chosen, second half rejected
pairs = {"lengths": n, "mask": mask_with_holes(n), "log_prob": table(n, lambda: round(dice.uniform(-4, -0.1), 4))}
pairs["reference_log_prob"] = [[round(l - normal(0.5), 4) for l in row] for row in pairs["log_prob"]]
cases["pairs"] = pairs
n = [3, 1, 2, 3, 2, 1]
far_pairs = [(-10.0, -1.0), (-300.0, -0.5), (-5.0, -10.0), (-0.5, -20.0), (-20.0, -20.0), (-400.0, -1.0)]
cases["far_pairs"] = {"lengths": n, "mask": ones(n), "log_prob": [[l] * k for (l, _), k in zip(far_pairs, n)],
                      "reference_log_prob": [[l] * k for (_, l), k in zip(far_pairs, n)]}
cases["scores"] = {"chosen": [normal(2) for _ in range(5)] + [40.0, -40.0],
                   "rejected": [normal(2) for _ in range(5)] + [-40.0, 40.0],
                   "margin": [round(dice.uniform(0, 1), 4) for _ in range(7)]}


# --- Between rows of uneven length and the peers' padded tensors -----------------------------------------------------


def padded(rows, fill=-0.7):
    """[B, WIDTH]. What is padded holds a number that must not matter."""
    return torch.tensor([row + [fill] * (WIDTH - len(row)) for row in rows])


def mask_of(case):
    return padded(cases[case]["mask"], 0).double()


def ragged(tensor, lengths):
    return [row[:n] for row, n in zip(tensor.tolist(), lengths)]


entries = []


def without_nan(x):
    if isinstance(x, list):
        return [without_nan(v) for v in x]
    return None if isinstance(x, float) and math.isnan(x) else x


def add(name, peer, function, component, case, options, **fields):
    name = f"{name}/{peer}/{case}"
    used = sum(e["name"].split("#")[0] == name for e in entries)
    name += f"#{used + 1}" if used else ""
    entries.append({"name": name, "peer": peer, "function": function, "component": component,
                    "case": case, "options": options} | {k: without_nan(v) for k, v in fields.items()})


VERL_COUNT = {"tolerance": 5e-8, "because": "verl adds 1e-8 to the counts that it divides by"}
VERL_WHITEN = {"tolerance": 1e-7, "because": "verl adds 1e-8 to the count and to the variance"}
ROWS = {"differs": "rows_without_tokens"}

# --- Policy losses ----------------------------------------------------------------------------------------------------


def policy_loss(name, peer, function, component, case, options, call, mode, advantage="advantage", by="log_prob",
                constant_length=0, **fields):
    """Calls call(log_prob, old_log_prob, advantage, mask) and adds its value and its gradient."""
    data = cases[case]
    x = {k: padded(data[k]) for k in ("log_prob", "entropy")}
    x[by].requires_grad_()
    loss = call(x["log_prob"], padded(data["old_log_prob"]), padded(data[advantage]), mask_of(case), x["entropy"])
    gradient = torch.autograd.grad(loss, x[by])[0] if loss.requires_grad else torch.zeros_like(x[by])
    aggregate = {"mode": mode} | ({"constant_length": constant_length} if constant_length else {})
    add(name, peer, function, component, case, options, advantage=advantage, aggregate=aggregate, loss=loss.item(),
        gradient=ragged(gradient, data["lengths"]), **fields)


VERL_MODES = {"token_mean": "token-mean", "sequence_mean": "seq-mean-token-mean", "sequence_sum": "seq-mean-token-sum",
              "constant_length": "seq-mean-token-sum-norm", "sum": "token-sum"}


def verl_loss(name, function, component, case, options, config, mode="token_mean", factor=False, **fields):
    """One of verl's policy losses; clip ranges of `options` are passed on unless config has them."""
    actor = {"clip_ratio": 0.2, "clip_ratio_low": options.get("clip_low"), "clip_ratio_high": options.get("clip_high"),
             "global_batch_info": {}} | config
    weights = padded(cases[case]["token_factor"]) if factor else None

    def call(log_prob, old, advantage, mask, _):
        loss = verl[f"compute_policy_loss_{function}"]
        return loss(old, log_prob, advantage, mask, VERL_MODES[mode], stand_in(**actor), weights)[0]

    if mode == "sequence_mean":
        fields = VERL_COUNT | fields
    policy_loss(name, "verl", f"compute_policy_loss_{function}", component, case, options, call, mode,
                factor=factor, constant_length=WIDTH if mode == "constant_length" else 0, **fields)


def trl_trainer(log_prob, entropy, settings):
    args = {"delta": None, "use_bias_correction_kl": False, "sapo_temperature_pos": 1.0, "sapo_temperature_neg": 1.05,
            "vespo_k_pos": 2.0, "vespo_lambda_pos": 3.0, "vespo_k_neg": 3.0, "vespo_lambda_neg": 2.0,
            "steps_per_generation": 1}
    trainer = {"_get_per_token_logps_and_entropies": lambda *a, **k: (log_prob, entropy, None),
               "aux_loss_enabled": False, "top_entropy_quantile": 1.0, "off_policy_mask_threshold": None,
               "importance_sampling_level": "token",
               "beta": 0.0, "loss_type": "dapo", "epsilon_low": 0.2, "epsilon_high": 0.2, "use_vllm": False,
               "vllm_importance_sampling_correction": False, "current_gradient_accumulation_steps": 1,
               "max_completion_length": WIDTH, "_entropy_bonus_enabled": False, "use_adaptive_entropy": False,
               "entropy_coef": 0.0, "model": stand_in(training=True),
               "_metrics": collections.defaultdict(lambda: collections.defaultdict(list)),
               "accelerator": stand_in(num_processes=1, sync_gradients=True, gather=lambda x: x,
                                       reduce=lambda x, reduction: x, pad_across_processes=lambda x, **_: x)}
    trainer |= {k: v for k, v in settings.items() if k not in args}
    trainer["args"] = stand_in(**args | {k: v for k, v in settings.items() if k in args})
    for name in ("get_gamma_weights", "get_off_policy_mask"):
        trainer[name] = grpo_loss[name]
    self = stand_in(**trainer)
    self.get_high_entropy_mask = types.MethodType(grpo_loss["get_high_entropy_mask"], self)
    return self


def trl_loss(name, component, case, options, settings, mode, code=grpo_loss, function="GRPOTrainer._compute_loss",
             by="log_prob", **fields):
    """A loss of TRL's trainers. settings: attributes of the trainer and fields of its args."""
    fields = {"advantage": "row_advantage"} | fields
    data = cases[case]

    def call(log_prob, old, advantage, mask, entropy):
        inputs = {"prompt_ids": torch.zeros(len(mask), 0), "prompt_mask": torch.zeros(len(mask), 0),
                  "completion_ids": torch.zeros_like(mask), "completion_mask": mask,
                  "advantages": advantage[:, 0] if code is not grpo_loss else advantage, "old_per_token_logps": old,
                  "old_logps": (old * mask).sum(1), "ref_per_token_logps": padded(data["reference_log_prob"]),
                  "sampling_per_token_logps": padded(data["behaviour_log_prob"]), "num_items_in_batch": mask.sum()}
        if settings.get("importance_sampling_level") == "sequence" or settings.get("loss_type") == "vespo" or \
                settings.get("off_policy_mask_threshold"):
            inputs["advantages"] = advantage[:, 0]
        return code["_compute_loss"](trl_trainer(log_prob, entropy, settings), None, inputs)

    policy_loss(name, "TRL", function, component, case, options, call, mode, by=by,
                constant_length=WIDTH if mode == "constant_length" else 0, **fields)


POLICY = ("plain", "holes", "empty_rows", "extreme")
for case in POLICY:
    clips = {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 3.0}
    verl_loss("dual_clip", "vanilla", "ppo_clip", case, clips, {"clip_ratio_c": 3.0})
    higher = {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": 10.0}
    verl_loss("clip_higher", "vanilla", "ppo_clip", case, higher, {"clip_ratio_c": 10.0}, factor=True)
    verl_loss("cispo", "cispo", "cispo", case, {"lowest": 0.8, "highest": 1.28},
              {"clip_ratio_low": 0.2, "clip_ratio_high": 0.28})
    verl_loss("sapo", "sapo", "sapo", case, {"tau_positive": 1.0, "tau_negative": 1.05},
              {"tau_pos": 1.0, "tau_neg": 1.05}, mode="sequence_mean")
    if case != "extreme":
        trl_loss("clip", "ppo_clip", case, {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 0}, {"loss_type": "dapo"},
                 "token_mean")
        for delta in (1.5, 1.1):
            trl_loss("delta", "two_sided_clip", case, {"clip_low": 0.2, "clip_high": 0.28, "delta": delta},
                     {"loss_type": "dapo", "delta": delta, "epsilon_high": 0.28}, "token_mean", advantage="advantage")
        trl_loss("cispo", "cispo", case, {"lowest": 0, "highest": 1.3}, {"loss_type": "cispo", "epsilon_high": 1.3},
                 "token_mean", advantage="advantage")

verl_loss("clip_sequence_mean", "vanilla", "ppo_clip", "empty_rows", clips, {"clip_ratio_c": 3.0}, mode="sequence_mean")
verl_loss("clip_sequence_sum", "vanilla", "ppo_clip", "empty_rows", clips, {"clip_ratio_c": 3.0}, mode="sequence_sum")
for kind, mode in (("grpo", "sequence_mean"), ("dr_grpo", "constant_length"), ("bnpo", "token_mean")):
    for case in ("plain", "holes"):
        trl_loss(kind, "ppo_clip", case, {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 0}, {"loss_type": kind}, mode)
trl_loss("grpo", "ppo_clip", "empty_rows", {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 0}, {"loss_type": "grpo"},
         "sequence_mean", **ROWS)
trl_loss("dr_grpo", "ppo_clip", "empty_rows", {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 0},
         {"loss_type": "dr_grpo"}, "constant_length")
# Where nothing is clipped TRL's ratio runs to exp(30); it is held at exp(20) here.
trl_loss("clip", "ppo_clip", "extreme", {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 0}, {"loss_type": "dapo"},
         "token_mean", differs="log_ratio_limit")
trl_loss("cispo_unset_cap", "cispo", "plain", {"lowest": 0, "highest": 1.2},
         {"loss_type": "cispo", "epsilon_high": 0.2}, "token_mean", differs="cispo_cap_is_raw")
trl_loss("sapo", "sapo", "plain", {"tau_positive": 1.0, "tau_negative": 1.05}, {"loss_type": "sapo"}, "sequence_mean",
         advantage="advantage")
trl_loss("sapo", "sapo", "holes", {"tau_positive": 0.5, "tau_negative": 2.0},
         {"loss_type": "sapo", "sapo_temperature_pos": 0.5, "sapo_temperature_neg": 2.0}, "sequence_mean")

tight = {"clip_low": 0.05, "clip_high": 0.08}
kernel = {"k_positive": 2.0, "lambda_positive": 3.0, "k_negative": 3.0, "lambda_negative": 2.0}
for case in ("plain", "holes", "empty_rows"):
    rows = ROWS if case == "empty_rows" else {}
    verl_loss("gspo_token", "gspo", "gspo_token", case, tight, {}, mode="sequence_mean", advantage="row_advantage")
    verl_loss("gspo_token_gains", "gspo", "gspo_token", case, tight, {}, mode="sequence_mean")
    trl_loss("gspo", "gspo", case, tight, {"loss_type": "grpo", "importance_sampling_level": "sequence",
                                          "epsilon_low": 0.05, "epsilon_high": 0.08}, "sequence_mean", **rows)
    trl_loss("luspo", "luspo", case, tight, {"loss_type": "luspo", "importance_sampling_level": "sequence",
                                            "epsilon_low": 0.05, "epsilon_high": 0.08}, "sequence_mean", **rows)
    verl_loss("gmpo", "geo_mean", "gmpo", case, {"clip_low": 0.2, "clip_high": 0.3}, {}, mode="sequence_mean",
              advantage="row_advantage", **rows)
    trl_loss("gmpo", "gmpo", case, {"clip_low": 0.4, "clip_high": 0.4}, {"epsilon_low": 0.4, "epsilon_high": 0.4},
             "sequence_mean", code=gmpo_loss, function="GMPOTrainer._compute_loss", **rows)
    trl_loss("rloo_loss", "sequence_clip", case, {"clip_low": 0.2, "clip_high": 0.2}, {}, "sequence_mean",
             code=rloo_loss, function="RLOOTrainer._compute_loss", **rows)
    trl_loss("vespo", "vespo", case, kernel, {"loss_type": "vespo"}, "token_mean")
    verl_loss("kl_cov", "kl_cov", "kl_cov", case, {"fraction": 0.2, "coefficient": 0.5},
              {"policy_loss": stand_in(kl_cov_ratio=0.2, ppo_kl_coef=0.5)})
    # With room for every candidate none is left to chance.
    verl_loss("clip_cov", "clip_cov", "clip_cov", case,
              {"fraction": 1.0, "lowest": 0.3, "highest": 5.0, "clip_low": 0.2, "clip_high": 0.2},
              {"policy_loss": stand_in(clip_cov_ratio=1.0, clip_cov_lb=0.3, clip_cov_ub=5.0)})
trl_loss("vespo", "vespo", "extreme", kernel, {"loss_type": "vespo"}, "token_mean")
verl_loss("kl_cov_one", "kl_cov", "kl_cov", "holes", {"fraction": 0.0002, "coefficient": 1.0},
          {"policy_loss": stand_in(kl_cov_ratio=0.0002, ppo_kl_coef=1.0)})



def verl_reinforce(log_prob, old, advantage, mask, _):
    """The bypass mode: the sampler's log-probs are the old ones, and the weights are those of the correction."""
    weights, _ = verl["compute_rollout_correction_weights"]((log_prob - old).detach(), mask, "token", 2.0)
    return verl["compute_policy_loss_reinforce"](
        rollout_log_prob=old, log_prob=log_prob, advantages=advantage, response_mask=mask, loss_agg_mode="token-mean",
        config=stand_in(global_batch_info={}), rollout_is_weights=weights)[0]


def trl_a2po(case):
    reference = padded(cases[case]["reference_log_prob"])

    def call(log_prob, old, advantage, mask, _):
        inputs = {"input_ids": None, "attention_mask": None, "logits_to_keep": None, "rewards": advantage[:, 0] + 0.25,
                  "v_star": torch.full((len(mask),), 0.25), "ref_logps": (reference * mask).sum(1)}
        self = stand_in(_get_sequence_logps=lambda *_: (log_prob * mask).sum(1), args=stand_in(beta2=0.05),
                        model=stand_in(training=True),
                        _metrics=collections.defaultdict(lambda: collections.defaultdict(list)))
        return a2po_loss["compute_loss"](self, None, inputs)

    return call


for case in POLICY:
    policy_loss("is_reinforce", "verl", "compute_policy_loss_reinforce", "is_reinforce", case, {"cap": 2.0},
                verl_reinforce, "token_mean")
for case in ("plain", "holes"):
    policy_loss("a2po", "TRL", "A2POTrainer.compute_loss", "astar_po", case, {"beta": 0.05}, trl_a2po(case),
                "sequence_mean", advantage="row_advantage")
rewards = torch.tensor([[0.5, -1.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0], [800.0, -800.0, 3.0, 799.0]])
scope = {"torch": torch, "math": math, "beta1": 0.5, "rewards": rewards, "n": 4}
statements(scope, "trl", A2PO, "A2POTrainer._estimate_optimal_values", "v_star =", "v_star =")
cases["value_samples"] = {"reward": rewards.tolist()}
add("v_star", "TRL", "A2POTrainer._estimate_optimal_values", "astar_value", "value_samples", {"temperature": 0.5},
    value=scope["v_star"].tolist())

for mode in VERL_MODES:
    for case in ("holes", "empty_rows"):
        differs = ROWS if mode == "constant_length" and case == "empty_rows" else {}
        verl_loss(f"aggregate_{mode}", "gpg", "policy_gradient_loss", case, {}, {}, mode=mode, factor=case == "holes",
                  **differs)


def openrlhf_loss(name, component, case, options, settings, mode, **fields):
    loss = openrlhf["PolicyLoss"](**settings)
    if mode == "sequence_mean":
        fields = {"tolerance": 5e-8, "because": "OpenRLHF adds 1e-8 to the counts that it divides by"} | fields
    policy_loss(name, "OpenRLHF", "PolicyLoss", component, case, options,
                lambda l, old, a, mask, _: loss(l, old, a, mask)[0], mode, **fields)


for case in POLICY:
    openrlhf_loss("dual_clip", "ppo_clip", case, {"clip_low": 0.2, "clip_high": 0.3, "dual_clip": 2.0},
                  {"clip_eps_low": 0.2, "clip_eps_high": 0.3, "dual_clip": 2.0}, "token_mean")
    if case != "extreme":
        openrlhf_loss("gspo", "gspo", case, tight,
                      {"clip_eps_low": 0.05, "clip_eps_high": 0.08, "policy_loss_type": "gspo"}, "sequence_mean",
                      advantage="row_advantage")
openrlhf_loss("clip_sequence_mean", "ppo_clip", "extreme", {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 0},
              {"token_level_loss": False}, "sequence_mean")


def cleanrl_loss(log_prob, old, advantage, mask, _):
    scope = {"torch": torch, "args": stand_in(norm_adv=False, clip_coef=0.2), "mb_inds": slice(None),
             "ratio": (log_prob - old)[mask > 0].exp(), "b_advantages": advantage[mask > 0]}
    return statements(scope, "cleanrl", "cleanrl/ppo.py", "", "mb_advantages =", "pg_loss =")["pg_loss"]


policy_loss("clip", "cleanrl", "ppo.py", "ppo_clip", "plain", {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 0},
            cleanrl_loss, "token_mean")


def rlax_loss(case):
    data = cases[case]
    flat = {k: jnp.array(sum(data[k], [])) for k in ("log_prob", "old_log_prob", "advantage")}

    def loss(log_prob):
        return rlax["clipped_surrogate_pg_loss"](jnp.exp(log_prob - flat["old_log_prob"]), flat["advantage"], 0.2)

    value, gradient = jax.value_and_grad(loss)(flat["log_prob"])
    numbers = iter(np.asarray(gradient).tolist())
    add("clip", "rlax", "clipped_surrogate_pg_loss", "ppo_clip", case,
        {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 0},
        advantage="advantage", aggregate={"mode": "token_mean"}, loss=float(value),
        gradient=[[next(numbers) for _ in row] for row in data["log_prob"]])


rlax_loss("plain")

# --- KL and entropy ---------------------------------------------------------------------------------------------------


def verl_kl(kind, estimator, case, **fields):
    reference = padded(cases[case]["reference_log_prob"])

    def call(log_prob, old, advantage, mask, _):
        return 0.25 * verl["agg_loss"](verl["kl_penalty"](log_prob, reference, kind), mask, "token-mean")

    policy_loss(f"kl_{estimator}", "verl", "kl_penalty", "kl_loss", case, {"beta": 0.25, "estimator": estimator}, call,
                "token_mean", **fields)


for kind, estimator in (("k1", "k1"), ("abs", "abs"), ("k2", "k2"), ("k3", "k3"), ("k1+", "k1_plus"),
                        ("k3+", "k3_plus")):
    for case in ("holes", "empty_rows"):
        verl_kl(kind, estimator, case)
cases["far_reference"] = dict(cases["plain"], reference_log_prob=[
    [round(l + d, 4) for l, d in zip(row, itertools.cycle([-30.0, 30.0, -12.0, 2.7, 0.1, 15.0, -2.0]))]
    for row in cases["plain"]["log_prob"]])
verl_kl("k2", "k2", "far_reference")
verl_kl("k3", "k3", "far_reference", differs="verl_holds_k3_at_10")


def trl_kl(name, case, settings, options={}, **fields):
    """The loss with advantages of 0: only the KL term is left."""
    trl_loss(name, "kl_loss", case, {"beta": 0.25, "estimator": "k3"} | options,
             {"beta": 0.25, "loss_type": "dapo"} | settings, "token_mean", advantage="no_advantage", **fields)


for case in ("holes", "empty_rows", "far_reference"):
    cases[case]["no_advantage"] = [[0.0] * n for n in cases[case]["lengths"]]
for case in ("holes", "empty_rows"):
    trl_kl("kl_k3", case, {})
    trl_kl("kl_k3_weighted", case, {"use_bias_correction_kl": True}, {"importance_weighted": True})
    trl_loss("entropy", "entropy_bonus", case, {"coefficient": 0.02},
             {"_entropy_bonus_enabled": True, "entropy_coef": 0.02}, "token_mean", advantage="no_advantage",
             by="entropy")
trl_kl("kl_k3", "far_reference", {}, differs="k3_limit")


def entropy_entry():
    logits = torch.tensor([[normal(2) for _ in range(5)] for _ in range(4)], requires_grad=True)
    entropy = verl_math["entropy_from_logits"](logits)
    gradient = torch.autograd.grad(entropy.sum(), logits)[0]
    cases["logits"] = {"logits": logits.tolist()}
    add("entropy_of_logits", "verl", "entropy_from_logits", "entropy_of_logits", "logits", {}, entropy=entropy.tolist(),
        gradient=gradient.tolist())


entropy_entry()

# --- Weights and masks for rows that another policy sampled -----------------------------------------------------------


def weights_entry(name, peer, function, case, options, weight, **fields):
    add(name, peer, function, "importance_weights", case, options,
        weight=ragged(weight * mask_of(case), cases[case]["lengths"]), **fields)


cases["extreme"]["behaviour_log_prob"][0][:3] = [-33.0, -1.0, -40.0]


def sampler_log_ratio(case):
    return padded(cases[case]["old_log_prob"]) - padded(cases[case]["behaviour_log_prob"])


for case in ("holes", "empty_rows", "extreme"):
    ratio, mask = sampler_log_ratio(case), mask_of(case)
    for level in ("token", "sequence"):
        for bounds, options in ((2.0, {"high": 2.0}), ("0.5_3.0", {"low": 0.5, "high": 3.0})):
            weight = verl["compute_rollout_correction_weights"](ratio, mask, level, bounds)[0]
            kind = "mask" if "low" in options else "truncate"
            weights_entry(f"weights_{level}_{kind}", "verl", "compute_rollout_correction_weights", case,
                          {"level": level, "rule": kind} | options, weight)
    for kind, low, high in (("token_truncate", 0.5, 2.0), ("sequence_truncate", None, 2.0), ("token_mask", 0.5, 2.0),
                            ("sequence_mask", None, 3.0)):
        self = stand_in(use_vllm=True, vllm_importance_sampling_correction=True, vllm_importance_sampling_mode=kind,
                        vllm_importance_sampling_clip_min=low, vllm_importance_sampling_clip_max=high)
        scope = dict(trl) | {"self": self, "completion_mask": mask, "tool_mask": None,
                             "old_per_token_logps": padded(cases[case]["old_log_prob"]),
                             "sampling_per_token_logps": padded(cases[case]["behaviour_log_prob"])}
        statements(scope, "trl", TRL_GRPO, "GRPOTrainer._generate_and_score_completions",
                   "if self.use_vllm and self.vllm_importance_sampling_correction:\n    mask =",
                   "if self.use_vllm and self.vllm_importance_sampling_correction:\n    mask =")
        level, rule = kind.split("_")
        options = {"level": level, "rule": rule, "high": high} | ({"low": low} if low else {})
        fields = {"differs": "log_ratio_limit"} if case == "extreme" and "truncate" in kind and low is None else {}
        weights_entry("weights_" + kind, "TRL", "GRPOTrainer._generate_and_score_completions", case, options,
                      scope["vllm_importance_sampling_ratio"].expand(-1, WIDTH), **fields)

# verl holds the bounds of k1 against sampler / policy; `low` and `high` are those of policy / sampler.
for level, statistic, low, high in (("token", "k1", 0.4, 2.5), ("token", "k1", 0.8, 4.0), ("token", "k2", None, 0.1),
                                    ("token", "k3", None, 0.1), ("sequence_sum", "k1", 0.8, 8.0),
                                    ("sequence_sum", "k2", None, 1.0), ("sequence_mean", "k1", 0.9, 1.5),
                                    ("sequence_mean", "k3", None, 0.1), ("sequence_max", "k2", None, 0.5),
                                    ("sequence_max", "k3", None, 0.5)):
    rule = level.replace("sequence", "seq") + "_" + statistic
    spec = f"{1 / high}_{1 / low}" if statistic == "k1" else str(high)
    for case in ("holes", "empty_rows"):
        kept = verl["compute_rollout_rejection_mask"](sampler_log_ratio(case), mask_of(case), rule, spec)[0]
        add("rejection_" + rule, "verl", "compute_rollout_rejection_mask", "rejection", case,
            {"level": level, "statistic": statistic, "low": low or 0, "high": high, "verl": spec},
            weight=ragged(kept, cases[case]["lengths"]))
for case in ("holes", "empty_rows"):
    data = cases[case]
    kept = grpo_loss["get_off_policy_mask"](padded(data["row_advantage"])[:, :1], padded(data["log_prob"]),
                                            padded(data["behaviour_log_prob"]), mask_of(case), 0.05)
    add("off_policy_sequences", "TRL", "GRPOTrainer.get_off_policy_mask", "off_policy_mask", case, {"threshold": 0.05},
        advantage="row_advantage", weight=ragged(kept * mask_of(case), data["lengths"]))
    kept = trl_trainer(None, None, {}).get_high_entropy_mask(padded(data["entropy"]), mask_of(case), 0.8)
    add("high_entropy_tokens", "TRL", "GRPOTrainer.get_high_entropy_mask", "high_entropy_mask", case, {"keep": 0.2},
        weight=ragged(kept.double(), data["lengths"]))

# --- Advantages -------------------------------------------------------------------------------------------------------


def paid_at_last_token(case, with_token_reward=False):
    """[B, WIDTH]: outcomes at the last unmasked token (the last slot if there is none), token rewards if asked for."""
    data, mask = cases[case], mask_of(case)
    reward = padded(data["token_reward"], 0.0) * mask if with_token_reward else torch.zeros_like(mask)
    for i, row in enumerate(mask.tolist()):
        last = max((t for t, m in enumerate(row) if m), default=WIDTH - 1)
        reward[i, last] += sum(r[i] for r in data["outcome"])
    return reward


def advantage_entry(name, peer, function, component, case, options, advantage, **fields):
    mask = mask_of(case)
    fields = {k: ragged(torch.where(mask > 0, v, torch.zeros_like(v)), cases[case]["lengths"])
              if isinstance(v, torch.Tensor) else v for k, v in fields.items()}
    advantage = advantage.expand(-1, WIDTH) if advantage.dim() == 2 else advantage.unsqueeze(1).expand(-1, WIDTH)
    add(name, peer, function, component, case, options,
        advantage=ragged(torch.where(mask > 0, advantage, torch.zeros_like(mask)), cases[case]["lengths"]), **fields)


def verl_advantage(name, function, component, case, options, tokens=False, single=False, **arguments):
    """tokens: token rewards are part of what is earned; single: the rewards come in single precision."""
    fields = {k: arguments.pop(k) for k in ("differs", "tolerance", "because") if k in arguments}
    if "config" in arguments:
        arguments["config"] = stand_in(**arguments["config"])
    if not function.startswith(("compute_reinforce_plus_plus_outcome", "compute_remax")):
        arguments["index"] = np.array(cases[case]["group"])
    reward = paid_at_last_token(case, tokens)
    advantage, _ = verl[function](token_level_rewards=reward.float() if single else reward, response_mask=mask_of(case),
                                  **arguments)
    advantage_entry(name, "verl", function, component, case, options, advantage, with_token_reward=tokens, **fields)


for case in ("groups", "grid", "far_from_zero", "sheet"):
    verl_advantage("grpo", "compute_grpo_outcome_advantage", "grpo", case, {"scale": "group", "epsilon": 1e-6},
                   epsilon=1e-6)
    verl_advantage("dr_grpo", "compute_grpo_outcome_advantage", "grpo", case, {"scale": "none", "epsilon": 0},
                   norm_adv_by_std_in_grpo=False)
    verl_advantage("rloo", "compute_rloo_outcome_advantage", "rloo", case, {})
    verl_advantage("rloo_vectorized", "compute_rloo_vectorized_outcome_advantage", "rloo", case, {})
    verl_advantage("reinforce_plus_plus_baseline", "compute_reinforce_plus_plus_baseline_outcome_advantage",
                   "reinforce_plus_plus", case, {"group_baseline": True, "variance": "bessel"}, **VERL_WHITEN)
    verl_advantage("opo", "compute_opo_outcome_advantage", "opo", case, {})
    verl_advantage("gpg", "compute_gpg_outcome_advantage", "gpg", case, {"rescale": "nonzero_rewards"})
    for scaled in (False, True):
        verl_advantage("grpo_passk" + "_scaled" * scaled, "compute_grpo_passk_outcome_advantage", "max_second", case,
                       {"scale": scaled, "epsilon": 1e-6}, config={"norm_adv_by_std_in_grpo": scaled})
for case in ("groups", "grid"):
    verl_advantage("grpo_token_rewards", "compute_grpo_outcome_advantage", "grpo", case,
                   {"scale": "group", "epsilon": 1e-6}, tokens=True)
    verl_advantage("reinforce_plus_plus", "compute_reinforce_plus_plus_outcome_advantage", "reinforce_plus_plus", case,
                   {"discount": 0.9, "variance": "bessel"}, tokens=True, config={"gamma": 0.9}, **VERL_WHITEN)
    greedy = torch.tensor(cases[case]["greedy_reward"])
    verl_advantage("remax", "compute_remax_outcome_advantage", "remax", case, {}, tokens=True, reward_baselines=greedy)
    for tail, turns in itertools.product((True, False), ("", "multi_turn_")):
        # Without turns, verl counts positions through the holes of the mask.
        differs = {"differs": "optimal_baseline_positions"} if case == "groups" and not turns else {}
        verl_advantage(turns + "optimal_token_baseline" + "_zero_tail" * tail,
                       f"compute_{turns}optimal_token_baseline_advantage", "optimal_token_baseline", case,
                       {"handle_zero_tail": tail}, tokens=True, old_log_probs=padded(cases[case]["log_prob"]),
                       sum_pi_squared=padded(cases[case]["sum_pi_squared"]), handle_zero_tail=tail, tolerance=1e-5,
                       because="verl adds 1e-8 to the weights that it divides by, which may be small", **differs)

verl_advantage("grpo", "compute_grpo_outcome_advantage", "grpo", "singleton", {"scale": "group", "epsilon": 1e-6},
               differs="singleton_group")
verl_advantage("rloo", "compute_rloo_outcome_advantage", "rloo", "singleton", {}, differs="singleton_group")
verl_advantage("rloo_vectorized", "compute_rloo_vectorized_outcome_advantage", "rloo", "singleton", {})
verl_advantage("opo", "compute_opo_outcome_advantage", "opo", "singleton", {}, differs="singleton_group")
verl_advantage("gpg", "compute_gpg_outcome_advantage", "gpg", "singleton", {"rescale": "nonzero_rewards"},
               differs="singleton_group")
verl_advantage("reinforce_plus_plus_baseline", "compute_reinforce_plus_plus_baseline_outcome_advantage",
               "reinforce_plus_plus", "singleton", {"group_baseline": True, "variance": "bessel"},
               differs="singleton_group")
verl_advantage("grpo", "compute_grpo_outcome_advantage", "grpo", "constant_group", {"scale": "group", "epsilon": 1e-6})
verl_advantage("grpo_single_precision", "compute_grpo_outcome_advantage", "grpo", "constant_group",
               {"scale": "group", "epsilon": 1e-6}, single=True, differs="constant_group")
verl_advantage("gpg", "compute_gpg_outcome_advantage", "gpg", "constant_group", {"rescale": "nonzero_rewards"})
verl_advantage("gpg", "compute_gpg_outcome_advantage", "gpg", "constant_group", {"rescale": "informative_rows"},
               differs="gpg_counts_rewards")

for case in ("groups", "grid"):
    for discount, lam in ((1.0, 0.95), (0.9, 0.8)):
        value, mask, reward = padded(cases[case]["value"]), mask_of(case), paid_at_last_token(case, True)
        options = {"discount": discount, "lambda": lam}
        whitened, returns = verl["compute_gae_advantage_return"](reward, value, mask, discount, lam)
        advantage_entry("gae", "verl", "compute_gae_advantage_return", "gae", case, options | {"whiten": False},
                        returns - value, returns=returns, with_token_reward=True)
        advantage_entry("gae_whitened", "verl", "compute_gae_advantage_return", "gae", case, options | {"whiten": True},
                        whitened, returns=returns, with_token_reward=True, **VERL_WHITEN)
        advantage, returns = openrlhf["get_advantages_and_returns"](None, value, reward, mask, discount, lam)
        advantage_entry("gae", "OpenRLHF", "get_advantages_and_returns", "gae", case, options | {"whiten": False},
                        advantage, returns=returns, with_token_reward=True,
                        **({} if case == "grid" else {"differs": "gae_holes"}))


def cleanrl_gae(case, discount, lam):
    """Each row is an environment of its own, and its value afterwards is `bootstrap` (0: the episode is over)."""
    data = cases[case]
    reward = paid_at_last_token(case, True)
    advantage, returns = torch.zeros(len(data["lengths"]), WIDTH), torch.zeros(len(data["lengths"]), WIDTH)
    for i, n in enumerate(data["lengths"]):
        after = data["bootstrap"][i]
        scope = {"torch": torch, "device": "cpu", "rewards": reward[i, :n], "values": padded(data["value"])[i, :n],
                 "next_done": float(after == 0), "dones": torch.zeros(n), "next_value": torch.tensor(after),
                 "args": stand_in(num_steps=n, gamma=discount, gae_lambda=lam)}
        statements(scope, "cleanrl", "cleanrl/ppo.py", "", "advantages = torch.zeros_like", "returns =")
        advantage[i, :n], returns[i, :n] = scope["advantages"], scope["returns"]
    advantage_entry("gae_bootstrap", "cleanrl", "ppo.py", "gae", case,
                    {"discount": discount, "lambda": lam, "whiten": False}, advantage, returns=returns,
                    with_token_reward=True, with_bootstrap=True)


cleanrl_gae("grid", 0.99, 0.95)


def rlax_vtrace(case, discount, lam, rho, pg_rho, alpha, **fields):
    data = cases[case]
    reward = paid_at_last_token(case, True)
    advantage, returns = torch.zeros(len(data["lengths"]), WIDTH), torch.zeros(len(data["lengths"]), WIDTH)
    function = "leaky_" * (alpha != 1) + "vtrace_td_error_and_advantage"
    for i, n in enumerate(data["lengths"]):
        value = data["value"][i]
        ratio = jnp.exp(jnp.array(data["log_prob"][i]) - jnp.array(data["behaviour_log_prob"][i]))
        mix = (alpha,) if alpha != 1 else ()
        out = rlax[function](jnp.array(value), jnp.array(value[1:] + [data["bootstrap"][i]]),
                             jnp.array(reward[i, :n].tolist()), jnp.full(n, discount), ratio, *mix, lam, rho, pg_rho,
                             True, jnp.ones(n))
        advantage[i, :n] = torch.tensor(np.asarray(out.pg_advantage).tolist())
        returns[i, :n] = torch.tensor((np.asarray(out.errors) + np.array(value)).tolist())
    advantage_entry("vtrace", "rlax", function, "vtrace", case,
                    {"discount": discount, "lambda": lam, "rho_max": rho, "alpha": alpha}, advantage, returns=returns,
                    with_token_reward=True, with_bootstrap=True, **fields)


rlax_vtrace("grid", 0.95, 1.0, 1.0, 1.0, 1.0)
rlax_vtrace("grid", 0.9, 0.7, 1.5, 1.5, 1.0)
rlax_vtrace("grid", 0.95, 0.8, 1.0, 1.0, 0.6)
rlax_vtrace("grid", 0.95, 1.0, 1.0, 1.3, 1.0, differs="vtrace_second_bound")


def trl_advantage(name, component, case, options, path=TRL_GRPO, function="GRPOTrainer._generate_and_score_completions",
                  weights=None, **settings):
    fields = {k: settings.pop(k) for k in ("differs",) if k in settings}
    outcome = torch.tensor([[math.nan if v is None else float(v) for v in r] for r in cases[case]["outcome"]]).T
    size = cases[case]["group"].count(0)
    self = stand_in(multi_objective_aggregation="sum_then_normalize", scale_rewards="group", reward_clip_range=None,
                    beta=0.0, normalize_advantages=False, reward_funcs=[None] * outcome.shape[1],
                    reward_weights=torch.ones(outcome.shape[1]) if weights is None else torch.tensor(weights))
    self.__dict__.update(settings)
    scope = dict(trl) | {"self": self, "rewards_per_func": outcome, "num_generations": size, "device": "cpu"}
    statements(scope, "trl", path, function, "unscorable_mask =", "advantages = torch.nan_to_num")
    advantage_entry(name, "TRL", function, component, case, options, scope["advantages"], **fields)


for case in ("grid", "sheet"):
    trl_advantage("grpo", "grpo", case, {"scale": "group", "epsilon": 1e-4})
    trl_advantage("dr_grpo", "grpo", case, {"scale": "none", "epsilon": 0}, scale_rewards="none")
    trl_advantage("batch_scale", "grpo", case, {"scale": "batch", "epsilon": 1e-4}, scale_rewards="batch")
    trl_advantage("rloo", "rloo", case, {}, TRL_RLOO, "RLOOTrainer._generate_and_score_completions")
trl_advantage("gdpo", "gdpo", "grid", {"epsilon": 1e-4}, multi_objective_aggregation="normalize_then_sum")
trl_advantage("gdpo_weighted", "gdpo", "grid", {"epsilon": 1e-4, "weights": [1.0, 0.25]}, weights=[1.0, 0.25],
              multi_objective_aggregation="normalize_then_sum")
trl_advantage("gdpo", "gdpo", "missing", {"epsilon": 1e-4}, multi_objective_aggregation="normalize_then_sum")
trl_advantage("grpo", "grpo", "missing", {"scale": "group", "epsilon": 1e-4}, differs="missing_rewards")
trl_advantage("rloo", "rloo", "missing", {}, TRL_RLOO, "RLOOTrainer._generate_and_score_completions",
              differs="missing_rewards")
cases["one_missing"] = dict(cases["missing"], outcome=[cases["missing"]["outcome"][0]])
trl_advantage("grpo", "grpo", "one_missing", {"scale": "group", "epsilon": 1e-4})
trl_advantage("dr_grpo", "grpo", "one_missing", {"scale": "none", "epsilon": 0}, scale_rewards="none")
trl_advantage("batch_scale", "grpo", "one_missing", {"scale": "batch", "epsilon": 1e-4}, scale_rewards="batch")
trl_advantage("rloo", "rloo", "one_missing", {}, TRL_RLOO, "RLOOTrainer._generate_and_score_completions")
trl_advantage("grpo", "grpo", "constant_group", {"scale": "group", "epsilon": 1e-4})


def verl_gdpo(case):
    """Rewards and their weights are single precision in verl's code."""
    lengths = cases[case]["lengths"]
    keys = [f"r{k}" for k in range(len(cases[case]["outcome"]))]
    attention = torch.cat([torch.ones(len(lengths), 1), mask_of(case)], dim=1).long()
    advantage, _ = verl["compute_gdpo_outcome_advantage"](
        torch.zeros_like(mask_of(case)), mask_of(case), np.array(cases[case]["group"]), 1e-6,
        config=stand_in(gdpo_reward_keys=keys, gdpo_reward_weights=[1.0, 0.25]),
        non_tensor_batch=dict(zip(keys, cases[case]["outcome"])),
        batch={"prompts": torch.zeros(len(lengths), 1), "attention_mask": attention})
    advantage_entry("gdpo_tokens", "verl", "compute_gdpo_outcome_advantage", "gdpo", case,
                    {"epsilon": 1e-6, "weights": [1.0, 0.25]}, advantage, differs="gdpo_whitens_tokens")


verl_gdpo("grid")


def openrlhf_advantage(estimator, component, case, options, discount=1.0, **fields):
    data, size = cases[case], cases[case]["group"].count(0)
    estimation = stand_in(estimator=estimator, gamma=discount, lambd=1.0, no_std_norm=False)
    args = stand_in(rollout=stand_in(n_samples_per_prompt=size), reward=stand_in(clip_range=None),
                    algo=stand_in(advantage=estimation))
    maker = stand_in(strategy=stand_in(args=args), advantage_estimator=estimator, kl_ctl=stand_in(value=0.0))
    maker.get_cumulative_returns = types.MethodType(openrlhf["get_cumulative_returns"], maker)
    mask = mask_of(case)
    experience = stand_in(rewards=torch.tensor(data["outcome"]).sum(0), index=list(range(len(data["lengths"]))),
                          info={}, kl=torch.zeros_like(mask), action_mask=mask)
    openrlhf["compute_advantages_and_returns"](maker, [experience])
    advantage_entry(estimator, "OpenRLHF", "compute_advantages_and_returns", component, case, options,
                    experience.advantages, **fields)


SINGLE = {"tolerance": 1e-6, "because": "OpenRLHF whitens in single precision"}
openrlhf_advantage("group_norm", "grpo", "grid", {"scale": "group", "epsilon": 1e-9})
openrlhf_advantage("dr_grpo", "grpo", "grid", {"scale": "none", "epsilon": 0})
openrlhf_advantage("rloo", "rloo", "grid", {})
openrlhf_advantage("reinforce", "reinforce_plus_plus", "grid", {"discount": 0.9, "variance": "biased"}, 0.9, **SINGLE)
openrlhf_advantage("reinforce_baseline", "reinforce_plus_plus", "grid", {"group_baseline": True, "variance": "biased"},
                   **SINGLE)
openrlhf_advantage("flash_reinforce", "reinforce", "grid", {})

# --- Critic -----------------------------------------------------------------------------------------------------------

for case in ("plain", "holes", "empty_rows"):  # values, returns and old values by the names that the losses have
    data = cases[case]
    data["new_value"] = table(data["lengths"], normal)
    data["old_value"] = [[round(v + normal(0.4), 4) for v in row] for row in data["new_value"]]
    data["returns"] = [[round(v + normal(0.6), 4) for v in row] for row in data["new_value"]]


def value_loss(peer, function, case, options, call, mode="token_mean", **fields):
    data = cases[case]
    value = padded(data["new_value"]).requires_grad_()
    loss = call(value, padded(data["old_value"]), padded(data["returns"]), mask_of(case))
    gradient = torch.autograd.grad(loss, value)[0]
    add("value_loss", peer, function, "value_loss", case, options, aggregate={"mode": mode}, loss=loss.item(),
        gradient=ragged(gradient, data["lengths"]), **fields)


for case in ("plain", "holes", "empty_rows"):
    value_loss("verl", "compute_value_loss", case, {"clip": 0.5},
               lambda v, old, ret, mask: verl["compute_value_loss"](v, ret, old, mask, 0.5)[0])
    value_loss("OpenRLHF", "ValueLoss", case, {"clip": 0.3},
               lambda v, old, ret, mask: openrlhf["ValueLoss"](0.3)(v, old, ret, mask))
value_loss("verl", "compute_value_loss", "empty_rows", {"clip": 0.2},
           lambda v, old, ret, mask: verl["compute_value_loss"](v, ret, old, mask, 0.2, "seq-mean-token-mean")[0],
           "sequence_mean", **VERL_COUNT)
value_loss("OpenRLHF", "ValueLoss", "holes", {"clip": 0},
           lambda v, old, ret, mask: openrlhf["ValueLoss"]()(v, old, ret, mask))


def cleanrl_value_loss(clip):
    def call(v, old, ret, mask):
        inside = mask > 0
        scope = {"torch": torch, "mb_inds": slice(None), "args": stand_in(clip_vloss=clip, clip_coef=0.2),
                 "newvalue": v[inside], "b_returns": ret[inside], "b_values": old[inside]}
        return statements(scope, "cleanrl", "cleanrl/ppo.py", "", "if args.clip_vloss", "if args.clip_vloss")["v_loss"]

    return call


value_loss("cleanrl", "ppo.py", "plain", {"clip": 0.2}, cleanrl_value_loss(True))
value_loss("cleanrl", "ppo.py", "holes", {"clip": 0}, cleanrl_value_loss(False))

controller = verl["AdaptiveKLController"](0.2, 6.0, 10000)
observed, coefficients = [12.0, 3.0, 6.5, 0.0, -1.0, 6.0], []
for kl in observed:
    controller.update(kl, 256)
    coefficients.append(float(controller.value))
cases["kl_seen"] = {"kl": observed}
add("adaptive_kl", "verl", "AdaptiveKLController", "adaptive_kl", "kl_seen",
    {"coefficient": 0.2, "target": 6.0, "horizon": 10000, "steps": 256}, coefficient=coefficients)

# --- Preferences, reward models, fine-tuning --------------------------------------------------------------------------


def preference(name, peer, function, case, options, call, **fields):
    data = cases[case]
    log_prob = padded(data["log_prob"]).requires_grad_()
    loss = call(log_prob, padded(data["reference_log_prob"]), mask_of(case))
    gradient = torch.autograd.grad(loss, log_prob)[0]
    add(name, peer, function, "dpo", case, options, loss=loss.item(), gradient=ragged(gradient, data["lengths"]),
        **fields)


def trl_dpo(kind, smoothing=0.0, divergence="reverse_kl", beta=0.1):
    def call(log_prob, reference, mask):
        def model(values):
            zero = torch.zeros_like(values)
            return lambda **_: stand_in(log_probs=values * mask, entropy=zero, mean_logits=zero, is_top1=zero.bool())

        whole = torch.cat([torch.zeros(len(mask), 1), mask], dim=1)
        same = lambda x: x
        self = stand_in(model=stand_in(training=True), ref_model=model(reference), aux_loss_enabled=False,
                        ld_alpha=None, precompute_ref_logps=False, f_divergence_type=divergence, loss_types=[kind],
                        loss_weights=[1.0],
                        beta=beta, label_smoothing=smoothing, use_weighting=False, _total_train_tokens=0, _tp_size=1,
                        args=stand_in(discopop_tau=0.05, gradient_checkpointing_kwargs=None),
                        accelerator=stand_in(device="cpu", gather=same, gather_for_metrics=same),
                        _metrics=collections.defaultdict(lambda: collections.defaultdict(list)))
        inputs = {"input_ids": torch.zeros_like(whole).long(), "attention_mask": whole, "completion_mask": whole}
        scope = dpo_loss | {"disable_gradient_checkpointing": lambda *_: torch.no_grad()}
        return types.FunctionType(dpo_loss["_compute_loss"].__code__, scope)(self, model(log_prob), inputs, False)

    return call


KINDS = ("sigmoid hinge ipo nca_pair bco_pair sppo_hard apo_zero apo_down discopop sigmoid_norm aot aot_unpaired "
         "robust exo_pair").split()
for kind in KINDS:
    smoothing = 0.1 if kind in ("robust", "exo_pair", "aot") else 0.0
    for case, beta in (("pairs", 0.5), ("far_pairs", 0.1)):
        preference(kind, "TRL", "DPOTrainer._compute_loss", case,
                   {"kind": kind, "beta": beta, "label_smoothing": smoothing}, trl_dpo(kind, smoothing, beta=beta))
for divergence in ("forward_kl", "js_divergence"):
    preference(f"sigmoid_{divergence}", "TRL", "DPOTrainer._compute_loss", "pairs",
               {"kind": "sigmoid", "beta": 0.5, "label_smoothing": 0.0, "divergence": divergence},
               trl_dpo("sigmoid", divergence=divergence, beta=0.5))


def openrlhf_dpo(**settings):
    def call(log_prob, reference, mask):
        policy, base = (log_prob * mask).sum(1).chunk(2), (reference * mask).sum(1).chunk(2)
        return openrlhf["DPOLoss"](**settings)(*policy, *base)[0]

    return call


for case in ("pairs", "far_pairs"):
    preference("cdpo", "OpenRLHF", "DPOLoss", case, {"kind": "sigmoid", "beta": 0.3, "label_smoothing": 0.2},
               openrlhf_dpo(beta=0.3, label_smoothing=0.2))
    preference("ipo_sums", "OpenRLHF", "DPOLoss", case, {"kind": "ipo_sums", "beta": 0.3, "label_smoothing": 0.0},
               openrlhf_dpo(beta=0.3, ipo=True))


def reward_model(name, peer, function, options, call):
    data = cases["scores"]
    chosen, rejected = (torch.tensor(data[k], requires_grad=True) for k in ("chosen", "rejected"))
    loss = call(chosen, rejected, torch.tensor(data["margin"]))
    gradient = torch.autograd.grad(loss, [chosen, rejected])
    add(name, peer, function, "reward_model", "scores", options, loss=loss.item(), d_chosen=gradient[0].tolist(),
        d_rejected=gradient[1].tolist())


def trl_reward_model(with_margin, centering):
    def call(chosen, rejected, margin):
        same = lambda x: x
        self = stand_in(model=stand_in(training=False), args=stand_in(center_rewards_coefficient=centering or None),
                        accelerator=stand_in(gather=same, gather_for_metrics=same), _total_train_tokens=0,
                        _metrics=collections.defaultdict(lambda: collections.defaultdict(list)))
        inputs = {"margin": margin} if with_margin else {}
        logits = torch.cat([chosen, rejected]).unsqueeze(1)
        return reward_loss["compute_loss"](self, lambda **_: stand_in(logits=logits), inputs)

    return call


reward_model("bradley_terry", "TRL", "RewardTrainer.compute_loss", {"margin": False, "centering": 0},
             trl_reward_model(False, 0))
reward_model("bradley_terry_centred", "TRL", "RewardTrainer.compute_loss", {"margin": True, "centering": 0.01},
             trl_reward_model(True, 0.01))
reward_model("bradley_terry", "OpenRLHF", "PairWiseLoss", {"margin": True, "centering": 0}, openrlhf["PairWiseLoss"]())


def fine_tuning(name, peer, function, kind, case, call, mode="token_mean", **fields):
    policy_loss(name, peer, function, "sft", case, {"kind": kind}, lambda l, old, a, mask, _: call(l, mask), mode,
                **fields)


def trl_sft(kind):
    def call(log_prob, mask):
        scope = {"torch": torch, "self": stand_in(args=stand_in(loss_type=kind)), "num_items_in_batch": None,
                 "outputs": stand_in(log_probs=log_prob * mask, label_mask=mask)}
        statements(scope, "trl", "trl/trainer/sft_trainer.py", "SFTTrainer.compute_loss", "per_token_loss =", "loss =")
        return scope["loss"]

    return call


for case in ("plain", "holes", "empty_rows"):
    fine_tuning("nll", "TRL", "SFTTrainer.compute_loss", "nll", case, trl_sft("nll"))
    fine_tuning("dft", "TRL", "SFTTrainer.compute_loss", "dft", case, trl_sft("dft"))
fine_tuning("nll", "OpenRLHF", "SFTLoss", "nll", "holes", openrlhf["SFTLoss"]())
fine_tuning("nll_by_sequence", "OpenRLHF", "SFTLoss", "nll", "empty_rows", openrlhf["SFTLoss"](False), "sequence_mean",
            tolerance=5e-8, because="OpenRLHF adds 1e-8 to the counts that it divides by")

# --- The file ---------------------------------------------------------------------------------------------------------

versions = {p: importlib.metadata.version(p) for p in ("trl", "verl", "openrlhf", "rlax", "cleanrl", "jax", "numpy")}
versions["torch"] = torch.__version__


def line(x):
    return json.dumps(x, separators=(",", ":"), allow_nan=False)


with open(pathlib.Path(__file__).with_name("reference.json"), "w") as out:
    out.write('{"made_by":"tests/parity/make_reference.py","versions":' + line(versions) + ',\n"cases":{\n')
    out.write(",\n".join(f'"{name}":{line(case)}' for name, case in cases.items()))
    out.write('\n},\n"entries":[\n' + ",\n".join(line(e) for e in entries) + "\n]}\n")
print(len(entries), "entries,", pathlib.Path(out.name).stat().st_size, "bytes")
