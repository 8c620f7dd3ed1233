#pragma once
#include "rlgaf/models/lstm/cell.hpp"
#include "rlgaf/models/lstm/packed_matrix.hpp"
#include "rlgaf/models/lstm/softmax.hpp"

/// What the recurrent models spend their time in: products with packed weights, the LSTM cell, the softmax.
///
/// Written on Eigen's packets, because the same weights meet many narrow operands: they are packed once a call, and a
/// product with a few columns runs as fast as one with hundreds. Every element is one sum in a fixed order, so a column
/// of a result does not depend on the columns beside it, to the bit.
/// Matrices are column-major; a column is one state or token. Columns are padded to a whole number of packets, and the
/// padding is zero.
