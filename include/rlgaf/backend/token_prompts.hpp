#pragma once
#include <type_traits>
#include <vector>

#include "rlgaf/backend/batch.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {
template <class T>
void append(std::vector<T>& to, std::span<const T> from) {
    const std::size_t before = to.size();
    to.resize(before + from.size());
    for (std::size_t i = 0; i < from.size(); ++i) to[before + i] = from[i];
}
template <class T>
void append(std::vector<T>& to, std::type_identity_t<T> one) {
    to.push_back(one);
}
}  // namespace detail

/// Prompts of tokens, one row each. Packed.
struct token_prompts {
    std::vector<std::int32_t> token;
    std::vector<std::size_t> offset = std::vector<std::size_t>(1);

    void add(std::span<const std::int32_t> prompt) {
        detail::append(token, prompt);
        offset.push_back(token.size());
    }
    std::span<const std::int32_t> row(std::size_t i) const {
        return {token.data() + offset[i], offset[i + 1] - offset[i]};
    }
    template <class Archive>
    void visit(Archive& a) {
        a("token", token), a("offset", offset);
    }
};
inline std::size_t rows(const token_prompts& p) { return p.offset.size() - 1; }
inline token_prompts select(const token_prompts& p, std::span<const std::size_t> pick) {
    token_prompts out;
    for (const std::size_t i : pick) out.add(p.row(i));
    return out;
}
inline token_prompts concat(const token_prompts& a, const token_prompts& b) {
    token_prompts out = a;
    for (std::size_t i = 0; i < rows(b); ++i) out.add(b.row(i));
    return out;
}

}  // namespace rlgaf::inline RLGAF_ABI
