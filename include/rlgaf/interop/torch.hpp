#pragma once
/// A policy or a scorer made of a torch::nn module (LibTorch 1.13 or later). This header and those of
/// interop/torch/ are the only ones that include torch.
///
///     rlgaf::torch_policy policy{net, {.start_token = bos, .end_token = eos}};
///     rlgaf::torch_scorer discriminator{judge, {.start_token = bos}};
///
/// The module is a holder (TORCH_MODULE) or a std::shared_ptr to a module. What it has to do:
///   policy  forward(tokens) -> logits [B, T, V]: logits[b, t] are those of the token AFTER position t and depend on
///           positions 0 .. t only.
///   scorer  forward(tokens) -> [B, T], a number a position, or [B], a number a row. A last dimension of 1 is dropped.
///   tokens  int64 [B, T], padded on the right with `pad_token`: one row is start token, prompt, completion. A module
///           that returns [B] has to tell padding from tokens by itself, or has forward(tokens, lengths) instead, where
///           lengths, int64 [B], count the positions of a row before the padding.
/// A scorer of more than one number a row, `.width = W`, gives [B, W] or [B, T, W] instead.
/// The first action is predicted at the last position before it: the end of the prompt, or the start token where there
/// is no prompt. With `.start_token = -1` nothing is put in front, and rows need prompts.
///
/// On a GPU: `.device = torch::kCUDA` moves the module there, and tokens and logits follow it. Arrays that rlgaf sees,
/// sampling included, stay on the host. Nothing else changes, but `parameters()` has no host memory to show.
/// Module modes: rollout and evaluate set eval(), forward sets train(): dropout then draws from torch's own generator.
/// A policy with dropout needs `.train_mode = false` where the first ratio has to be 1. What is differentiated in
/// eval() runs without cuDNN, which cannot differentiate its recurrent nets there.
///
/// Gradient penalties and input noise (ability perturbs_inputs) move embeddings, so the scorer's module says where they
/// are. Two more functions, and every scorer of tokens is one of embeddings:
///
///     struct judge_impl : torch::nn::Cloneable<judge_impl> {
///         void reset() override { ... }
///         torch::Tensor embed(torch::Tensor tokens) { return embedding(tokens); }                   // [B, T, E]
///         torch::Tensor forward_embedded(torch::Tensor x) { return head(std::get<0>(gru(x))); }     // or (x, lengths)
///         torch::Tensor forward(torch::Tensor tokens) { return forward_embedded(embed(tokens)); }
///         torch::nn::Embedding embedding{nullptr};
///         torch::nn::GRU gru{nullptr};
///         torch::nn::Linear head{nullptr};
///     };
#include "rlgaf/interop/torch/policy.hpp"
#include "rlgaf/interop/torch/scorer.hpp"
