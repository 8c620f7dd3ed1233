#pragma once
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "rlgaf/core/error.hpp"
#include "rlgaf/interop/torch/headers.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// Parameters and buffers of a module, and the memory of its optimiser if it has one by now, in torch's own format.
template <class Net>
std::vector<std::uint8_t> torch_state(Net& net, torch::optim::Optimizer* optimizer) {
    torch::serialize::OutputArchive all, module, memory;
    net.save(module);
    all.write("module", module);
    all.write("has_optimizer", torch::tensor(optimizer != nullptr), true);
    if (optimizer) {
        optimizer->save(memory);
        all.write("optimizer", memory);
    }
    std::ostringstream out;
    all.save_to(out);
    const std::string bytes = out.str();
    return {bytes.begin(), bytes.end()};
}

/// Puts it back; `optimizer(needed)` makes sure that there is one, or none. Errors: file_error with torch's own words.
template <class Net, class Optimizer>
void restore_torch_state(Net& net, const std::vector<std::uint8_t>& bytes, torch::Device device, const char* name,
                         Optimizer&& optimizer) {
    try {
        std::istringstream in(std::string(bytes.begin(), bytes.end()));
        torch::serialize::InputArchive all, module, memory;
        all.load_from(in, device);
        all.read("module", module);
        net.load(module);
        torch::Tensor has_optimizer;
        all.read("has_optimizer", has_optimizer, true);
        torch::optim::Optimizer* const of_net = optimizer(has_optimizer.item<bool>());
        if (of_net) {
            all.read("optimizer", memory);
            of_net->load(memory);
        }
    } catch (const c10::Error& error) {
        const std::string text = error.what_without_backtrace();
        fail(error_kind::file, name, "checkpoint", "the state of this module and its optimiser",
             "torch's error: " + text.substr(0, text.find('\n')));
    }
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
