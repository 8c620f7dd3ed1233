#pragma once
#include <cstddef>
#include <type_traits>

#include "rlgaf/training/round_report.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct run_info {
    std::size_t rounds = 0;
    bool per_sample_streams = true;  ///< false: a sample depends on the batch that it is drawn in, not on its id alone
};

namespace detail {

template <class O>
constexpr bool has_on_begin = requires(O& o, const run_info& i) {
    o.on_begin(i);
};
template <class O>
constexpr bool has_on_round = requires(O& o, const round_report& r) {
    o.on_round(r);
};
template <class O>
constexpr bool has_on_end = requires(O& o, const round_report& r) {
    o.on_end(r);
};
template <class O, class Batch>
constexpr bool has_on_rollout = requires(O& o, const round_report& r, const Batch& b) {
    o.on_rollout(r, b);
};

struct any_batch {};

/// A member of that name which is neither a template nor overloaded: then it must be callable as the hook.
template <class O>
constexpr bool names_on_begin = requires {
    &O::on_begin;
};
template <class O>
constexpr bool names_on_round = requires {
    &O::on_round;
};
template <class O>
constexpr bool names_on_end = requires {
    &O::on_end;
};
template <class O>
constexpr bool names_on_rollout = requires {
    &O::on_rollout;
};

template <class O, class Batch = any_batch>
constexpr bool check_observer() {
    constexpr bool ok = has_on_begin<O> || has_on_round<O> || has_on_end<O> || has_on_rollout<O, Batch>;
    static_assert(
        ok,
        "rlgaf: this observer has none of the hooks on_begin(const run_info&), on_round(const round_report&), "
        "on_rollout(const round_report&, const batch&), on_end(const round_report&); a misspelt hook would "
        "never be called");
    constexpr bool callable = (has_on_begin<O> || !names_on_begin<O>)&&(has_on_round<O> || !names_on_round<O>)&&(
        has_on_end<O> || !names_on_end<O>)&&(has_on_rollout<O, Batch> || !names_on_rollout<O>);
    static_assert(!ok || callable,
                  "rlgaf: a hook of this observer has the wrong parameters and would never be called; the "
                  "hooks are on_begin(const run_info&), on_round(const round_report&), "
                  "on_rollout(const round_report&, const batch&), on_end(const round_report&)");
    return ok && callable;
}

template <class... O>
void notify_begin(const run_info& info, O&... observers) {
    [[maybe_unused]] const auto one = [&](auto& o) {
        if constexpr (has_on_begin<std::remove_reference_t<decltype(o)>>) o.on_begin(info);
    };
    (one(observers), ...);
}
/// True if an observer asks to stop: its on_round returns bool, and true.
template <class... O>
bool notify_round(const round_report& report, O&... observers) {
    bool stop = false;
    [[maybe_unused]] const auto one = [&](auto& o) {
        if constexpr (has_on_round<std::remove_reference_t<decltype(o)>>) {
            if constexpr (std::is_same_v<decltype(o.on_round(report)), bool>)
                stop = o.on_round(report) || stop;
            else
                o.on_round(report);
        }
    };
    (one(observers), ...);
    return stop;
}
template <class Batch, class... O>
void notify_rollout(const round_report& report, const Batch& batch, O&... observers) {
    [[maybe_unused]] const auto one = [&](auto& o) {
        if constexpr (has_on_rollout<std::remove_reference_t<decltype(o)>, Batch>) o.on_rollout(report, batch);
    };
    (one(observers), ...);
}
template <class... O>
void notify_end(const round_report& report, O&... observers) {
    [[maybe_unused]] const auto one = [&](auto& o) {
        if constexpr (has_on_end<std::remove_reference_t<decltype(o)>>) o.on_end(report);
    };
    (one(observers), ...);
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
