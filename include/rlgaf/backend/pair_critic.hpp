#pragma once
#include "rlgaf/backend/token_batch.hpp"
#include "rlgaf/backend/visit.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct pair_critic_options {
    std::int32_t separator = 0;  ///< a token of the scorer's vocabulary that no row contains
    std::uint64_t seed = 0;      ///< of the order in which a pair is read
};

/// Makes a critic of pairs (scores_pairs) of a scorer that gives three numbers a row: row i of a and row i of b are
/// read as one row, "a separator b" or "b separator a", so that position tells nothing. The first two numbers are
/// swapped back.
///
/// Order: a fair coin of the seed, of the pair's own tokens and of how many steps were taken. So evaluate and forward
///        agree until the next step, however a batch is cut or sorted; the next step turns half of the pairs round.
/// Shapes:  a, b: as many rows; score, d_score [rows, 3]: row i of a is better, row i of b is, neither.
/// Errors:  option_error if the scorer gives another number of numbers; shape_error; those of the scorer.
/// Needs:   both rows of a pair answer the same prompt; a's is shown. Masks are not shown. The scorer outlives this.
template <class S>
class pair_critic {
public:
    using scalar = typename S::scalar;
    using batch = token_batch<scalar>;

    /// What backward_pairs needs. To be handed to the critic that made it.
    class pair_tape {
        friend class pair_critic;
        typename S::tape tape_{};
        std::vector<std::uint8_t> swapped_;
    };

    explicit pair_critic(S& scorer, const pair_critic_options& options = {}) : scorer_(scorer), options_(options) {
        detail::check_option(score_width(scorer) == 3, "pair_critic", "scorer.width()", "3 numbers a row",
                             static_cast<double>(score_width(scorer)));
    }

    void evaluate_pairs(const batch& a, const batch& b, std::span<scalar> score) {
        scorer_.evaluate(join(a, b, score.size()), score);
        swap_back(score, swapped_);
    }
    pair_tape forward_pairs(const batch& a, const batch& b, std::span<scalar> score) {
        pair_tape t;
        t.tape_ = scorer_.forward(join(a, b, score.size()), score);
        t.swapped_ = swapped_;
        swap_back(score, t.swapped_);
        return t;
    }
    void backward_pairs(pair_tape&& t, std::span<const scalar> d_score) {
        detail::check_size(d_score.size(), 3 * t.swapped_.size(), "pair_critic::backward_pairs", "d_score");
        d_score_.assign(d_score.begin(), d_score.end());
        swap_back(d_score_, t.swapped_);
        scorer_.backward(static_cast<typename S::tape&&>(t.tape_), std::span<const scalar>(d_score_));
    }
    step_report step(const step_options& o) {
        ++steps_;
        return scorer_.step(o);
    }
    void discard() { scorer_.discard(); }
    auto parameters() requires flat_parameters<S> { return scorer_.parameters(); }

    /// Its scorer too.
    template <class Archive>
    void visit(Archive& a) {
        visit_model(a, scorer_);
        a("steps", steps_);
    }

private:
    static void swap_back(std::span<scalar> score, const std::vector<std::uint8_t>& swapped) {
        for (std::size_t i = 0; i < swapped.size(); ++i)
            if (swapped[i]) {
                const scalar held = score[3 * i];
                score[3 * i] = score[3 * i + 1];
                score[3 * i + 1] = held;
            }
    }

    bool second_first(std::span<const std::int32_t> a, std::span<const std::int32_t> b) const {
        std::uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a over 32-bit words; the lengths keep (ab, c) from (a, bc)
        const auto mix = [&](std::uint32_t word) { hash = (hash ^ word) * 0x100000001B3u; };
        mix(static_cast<std::uint32_t>(a.size()));
        for (const std::int32_t token : a) mix(static_cast<std::uint32_t>(token));
        for (const std::int32_t token : b) mix(static_cast<std::uint32_t>(token));
        const rng_key key{options_.seed, static_cast<std::uint32_t>(steps_)};
        return random_stream(key, stream::shuffle, hash & 0xFFFFFFFFFFFFu).bits(0)[0] & 1u;
    }

    batch join(const batch& a, const batch& b, std::size_t numbers) {
        const std::size_t pairs = rows(a);
        detail::check_size(rows(b), pairs, "pair_critic", "b");
        detail::check_size(numbers, 3 * pairs, "pair_critic", "score");
        batch out;
        swapped_.clear();
        for (std::size_t i = 0; i < pairs; ++i) {
            detail::append(swapped_, second_first(a.row(i), b.row(i)));
            const batch &first = swapped_[i] ? b : a, &second = swapped_[i] ? a : b;
            row_.clear();
            detail::append(row_, first.row(i));
            detail::append(row_, options_.separator);
            detail::append(row_, second.row(i));
            out.add(row_, second.end[i]);
        }
        out.prompt = a.prompt;
        return out;
    }

    S& scorer_;
    pair_critic_options options_;
    std::uint64_t steps_ = 0;
    std::vector<std::uint8_t> swapped_;  // by the latest join
    std::vector<std::int32_t> row_;
    std::vector<scalar> d_score_;
};

}  // namespace rlgaf::inline RLGAF_ABI
