#pragma once
/// Everything about safetensors files.
#include "rlgaf/io/parameters_file.hpp"     // IWYU pragma: export
#include "rlgaf/io/safetensors_reader.hpp"  // IWYU pragma: export
#include "rlgaf/io/safetensors_writer.hpp"  // IWYU pragma: export
#include "rlgaf/io/tensor.hpp"              // IWYU pragma: export
