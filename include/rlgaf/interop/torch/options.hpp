#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "rlgaf/backend/batch.hpp"
#include "rlgaf/interop/torch/headers.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Makes the optimiser at the first step, of the parameters that require a gradient then.
using torch_optimizer_factory = std::function<std::unique_ptr<torch::optim::Optimizer>(std::vector<torch::Tensor>)>;

struct torch_policy_options {
    std::int32_t start_token = 0;    ///< in front of every row; -1: none, rows need prompts then
    std::int32_t end_token = -1;     ///< the action that ends a row; -1: none, a row is whole at max_length actions
    std::int32_t pad_token = 0;      ///< a token that the module accepts; what it says there is not read
    std::uint32_t max_length = 64;   ///< > 0; actions a row where rollout_options sets no limit
    std::size_t rollout_rows = 256;  ///< rows in one forward of a rollout, bounds its memory; 0: all
    bool train_mode = true;          ///< forward in train(), dropout on; false: in eval()
    std::optional<torch::Device> device = {};  ///< where the module is moved to; default: it stays where it is
    torch_optimizer_factory optimizer = {};    ///< default: torch's AdamW with this weight decay
    double weight_decay = 0;                   ///< >= 0, times the learning rate; of the default optimiser

    void check() const {
        detail::check_option(start_token >= -1, "torch_policy_options", "start_token", "a token or -1", start_token);
        detail::check_option(end_token >= -1, "torch_policy_options", "end_token", "a token or -1", end_token);
        detail::check_option(pad_token >= 0, "torch_policy_options", "pad_token", "a token", pad_token);
        detail::check_option(max_length > 0, "torch_policy_options", "max_length", "positive", max_length);
        detail::check_option(weight_decay >= 0, "torch_policy_options", "weight_decay", "0 or positive", weight_decay);
    }
};

/// Where a scorer of positions [B, T] is read. Modules that return [B] read for themselves.
enum class torch_reading {
    last_token,   ///< at the last position of the row
    mean_of_row,  ///< averaged over the completion's unmasked tokens; 0 where there is none
};

struct torch_scorer_options {
    std::int32_t start_token = 0;                       ///< in front of every row; -1: none
    std::int32_t pad_token = 0;                         ///< a token that the module accepts
    torch_reading reading = torch_reading::last_token;  ///< of modules that return [B, T]
    bool train_mode = true;                             ///< forward in train(), dropout on; false: in eval()
    std::optional<torch::Device> device = {};           ///< where the module is moved to; default: it stays where it is
    torch_optimizer_factory optimizer = {};             ///< default: torch's AdamW with this weight decay
    double weight_decay = 0;                            ///< >= 0, times the learning rate; of the default optimiser
    std::int32_t width = 1;                             ///< > 0; numbers a row, or a position

    void check() const {
        detail::check_option(start_token >= -1, "torch_scorer_options", "start_token", "a token or -1", start_token);
        detail::check_option(pad_token >= 0, "torch_scorer_options", "pad_token", "a token", pad_token);
        detail::check_option(weight_decay >= 0, "torch_scorer_options", "weight_decay", "0 or positive", weight_decay);
        detail::check_option(width > 0, "torch_scorer_options", "width", "positive", width);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
