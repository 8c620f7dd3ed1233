#pragma once
#include "rlgaf/backend/adamw.hpp"
#include "rlgaf/backend/sgd.hpp"
#include "rlgaf/backend/trained_table.hpp"

/// Optimisers on flat blocks, for backends that have none. A step consumes the gradients: they are zero afterwards.
/// A gradient norm that is not finite leaves values and memory untouched, and says so in the report.
