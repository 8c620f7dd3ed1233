#pragma once
#include "rlgaf/core/config.hpp"
#include "rlgaf/interop/torch/headers.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// cuDNN is off while one of these lives. For the whole process: modules that run beside it are slower then.
class torch_without_cudnn {
public:
    explicit torch_without_cudnn(bool off) : was_on_(off && at::globalContext().userEnabledCuDNN()) {
        if (was_on_) at::globalContext().setUserEnabledCuDNN(false);
    }
    torch_without_cudnn(const torch_without_cudnn&) = delete;
    torch_without_cudnn& operator=(const torch_without_cudnn&) = delete;
    ~torch_without_cudnn() {
        if (was_on_) at::globalContext().setUserEnabledCuDNN(true);
    }

private:
    bool was_on_;
};

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
