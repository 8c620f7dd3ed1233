#pragma once
/// LibTorch 1.13 or later, in the order that it wants.
#include <ATen/core/ivalue.h>  // before the rest: clang 14 needs it with torch 1.13
//
#include <ATen/Context.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/cloneable.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/optim/adamw.h>
#include <torch/types.h>
#include <torch/utils.h>
