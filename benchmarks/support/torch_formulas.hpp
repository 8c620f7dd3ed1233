#pragma once
// The same formulas as LibTorch users write them, for the kernel benchmark.
#include <cstddef>
#include <functional>
#include <string>

struct torch_kernel {
    std::function<void()> run;  // forward, and backward where the kernel has a gradient; empty: no counterpart
};

/// The counterpart of a kernel on rows x tokens random numbers, `group_size` rows a prompt; one thread.
/// Without LibTorch nothing has one.
torch_kernel make_torch_kernel(const std::string& kernel, std::size_t rows, std::size_t tokens, bool wide,
                               std::size_t group_size);
