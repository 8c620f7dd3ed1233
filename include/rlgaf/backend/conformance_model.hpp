#pragma once
#include "rlgaf/backend/conformance_outputs.hpp"
#include "rlgaf/backend/conformance_step.hpp"

/// The part of the conformance kit that policies and scorers share. A "subject" S says how to ask a model M:
///   S::batch, S::scalar, S::channels, S::name(k); S::blank(batch); S::evaluate(m, batch, numbers&);
///   S::forward(m, batch, numbers&) -> tape; S::backward(m, tape, cotangents).
