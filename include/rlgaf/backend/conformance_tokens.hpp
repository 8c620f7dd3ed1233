#pragma once
#include "rlgaf/backend/conformance_model.hpp"
#include "rlgaf/backend/conformance_slope.hpp"

/// The ability scores_tokens.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

template <class M, class B>
struct token_subject {
    using scalar = typename M::scalar;
    using batch = B;
    static constexpr std::size_t channels = 1;

    static const char* name(std::size_t) { return "token score"; }
    static numbers<scalar> blank(const B& b) {
        return numbers<scalar>(std::span<const std::uint32_t>(lengths(b)), mask_of(b), 1);
    }
    static void evaluate(M& m, const B& b, numbers<scalar>& x) { m.evaluate_tokens(b, x.channel(0)); }
    static auto forward(M& m, const B& b, numbers<scalar>& x) { return m.forward_tokens(b, x.channel(0)); }
    static void backward(M& m, typename M::token_tape&& t, const numbers<scalar>& x) {
        m.backward_tokens(std::move(t), std::as_const(x).channel(0));
    }
};

/// A token's score is that of the row up to and with it: what comes later does not change it.
template <class S, class M>
std::string check_beginnings(M& m, const typename S::batch& b, const limits<typename S::scalar>& limit) {
    if constexpr (!cuts_prefixes<typename S::batch>) {
        return "skipped: rows cannot be cut (no prefixes(batch, cut))";
    } else {
        const std::span<const std::uint32_t> length = lengths(b);
        std::vector<prefix> cut;
        for (std::size_t i = 0; i < rows(b); ++i) cut.push_back({i, (length[i] + 1) / 2});
        const auto whole = evaluated<S>(m, b), part = evaluated<S>(m, prefixes(b, std::span<const prefix>(cut)));
        std::size_t compared = 0;
        for (std::size_t i = 0; i < rows(b); ++i)
            for (std::size_t t = 0; t < cut[i].length; ++t, ++compared) {
                const double x = static_cast<double>(whole.value[whole.offset[i] + t]),
                             y = static_cast<double>(part.value[part.offset[i] + t]);
                if (!(std::abs(x - y) <= limit.tolerance * (1 + std::abs(x))))
                    return "!row " + std::to_string(i) + " position " + std::to_string(t) + ": " + text_of(x) +
                           " in the whole row, " + text_of(y) +
                           " where later tokens are cut off; a token's score is that of the row up to and with the "
                           "token, so the model must be causal";
            }
        return std::to_string(compared) + " tokens score the same with and without what comes later";
    }
}

/// The same checks as for scores of rows, for those of tokens. Leaves it at one line where the scorer refuses.
template <class S, class M>
void check_tokens(M& m, const typename S::batch& b, const conformance_options& o, conformance_report& report) {
    const limits<typename S::scalar> limit(o);
#if RLGAF_EXCEPTIONS
    try {
        (void)evaluated<S>(m, b);
    } catch (const option_error& error) {  // a scorer of several numbers a row
        report.findings.push_back({"token scores", true, std::string("skipped: it has none: ") + error.what()});
        return;
    } catch (const shape_error& error) {  // a module that scores whole rows
        report.findings.push_back({"token scores", true, std::string("skipped: it has none: ") + error.what()});
        return;
    }
#endif
    run(report, "token scores", [&] { return check_outputs<S>(m, b, limit); });
    run(report, "token scores, select and concat", [&] { return check_rearranged<S>(m, b, limit); });
    run(report, "token scores of beginnings", [&] { return check_beginnings<S>(m, b, limit); });
    run(report, "gradient of token scores", [&]() -> std::string {
        if constexpr (flat_parameters<M>)
            return check_gradient<S>(m, b, 0, o, limit);
        else
            return "skipped: no parameters() to take differences of";
    });
    run(report, "gradients of token scores accumulate", [&] { return check_accumulation<S>(m, b, o, limit); });
}

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
