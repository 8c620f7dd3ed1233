#pragma once
#include "rlgaf/models/lstm/body_gradients.hpp"
#include "rlgaf/models/lstm/through_time.hpp"
#include "rlgaf/models/lstm/work.hpp"
#include "rlgaf/models/lstm/work_pool.hpp"
#include "rlgaf/models/lstm_kernels.hpp"

/// The LSTM that lstm_policy, lstm_scorer and lstm_critic share: its parameters, its plan of work, forward and backward.
///
/// Rows that begin alike share their states: the rows of a shard form a tree of prefixes, and each node is computed
/// once. A policy's first tokens, the completions of one prompt and repeated rows cost little. Nodes are computed level
/// by level; the product with the recurrent weights runs over the nodes that have children, once for all children.
/// Shards are contiguous in the order of the rows' tokens, one a thread, and share nothing but the parameters.
