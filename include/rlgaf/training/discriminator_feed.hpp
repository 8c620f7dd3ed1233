#pragma once
#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/discriminator/replay.hpp"
#include "rlgaf/training/adversarial_options.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What the discriminator of adversarial training sees: the round's demonstrations with the samples that they are matched
/// with, and for each of its steps fresh and past samples, or beginnings of both. Batch: `rows`, `select`, `concat`.
template <class Batch>
class discriminator_feed {
public:
    Batch real;                          ///< demonstrations of the round
    std::vector<std::uint32_t> matched;  ///< [samples of the round], rows of real

    struct step {
        Batch real, fake;
        std::vector<std::uint32_t> pairs;  ///< [rows of fake], rows of real
    };

    /// Each sample's demonstration, once a sample.
    Batch real_of_samples() {
        pick_.clear();
        for (const std::uint32_t i : matched) pick_.push_back(i);
        return select(real, pick_);
    }

    /// Step k of the round: fresh samples drawn without repeats, then past ones, then beginnings.
    const step& next(const Batch& samples, const adversarial_options& options, rng_key key, std::size_t k) {
        set_limits(options);
        const std::size_t n = rows(samples), wanted = options.discriminator_rows == 0 ? n : options.discriminator_rows;
        const std::size_t old_rows =
            past_fake_.size() == 0 ? 0
                                   : static_cast<std::size_t>(options.replay_fraction * static_cast<double>(wanted));
        const std::size_t fresh = wanted - old_rows < n ? wanted - old_rows : n;
        order_.resize(n);
        count_up(detail::span_of(order_));
        shuffle(detail::span_of(order_), key, k, stream::discriminator);

        // The fresh samples' demonstrations, each once; then one demonstration for each past sample.
        step& s = step_;
        s.pairs.clear();
        pick_.clear();
        place_.assign(rows(real), rows(real));
        for (std::size_t i = 0; i < fresh; ++i) {
            std::size_t& place = place_[matched[order_[i]]];
            if (place == rows(real)) {
                place = pick_.size();
                pick_.push_back(matched[order_[i]]);
            }
            s.pairs.push_back(static_cast<std::uint32_t>(place));
        }
        s.fake = select(samples, detail::span_of(order_, 0, fresh));
        s.real = select(real, pick_);
        if (old_rows > 0) {
            const rng_key draw{key.seed ^ (k << 32), key.step};
            for (std::size_t i = 0; i < old_rows; ++i) s.pairs.push_back(static_cast<std::uint32_t>(pick_.size() + i));
            s.fake = concat(s.fake, past_fake_.sample(old_rows, draw));
            s.real = concat(s.real, past_real_.sample(old_rows, draw));
        }
        if (options.beginnings > 0) add_beginnings(s, options.beginnings, key, k);
        return s;
    }

    /// The round is over: its samples become past ones.
    void remember(const Batch& samples, const adversarial_options& options) {
        set_limits(options);
        past_fake_.add(samples);
        past_real_.add(real_of_samples());
    }

    template <class Archive>
    void visit(Archive& a) {
        past_fake_.visit(a), past_real_.visit(a);
    }

private:
    void set_limits(const adversarial_options& options) {
        if (past_fake_.capacity() != options.replay_capacity || past_fake_.max_age() != options.replay_age)
            past_fake_ = past_real_ = replay_buffer<Batch>(options.replay_capacity, options.replay_age);
    }

    /// Pairs of beginnings of the same length, even in 1 .. the shorter row's: nothing but what was said tells them apart.
    void add_beginnings(step& s, double each, rng_key key, std::size_t k) {
        if constexpr (cuts_prefixes<Batch>) {
            const std::size_t n = rows(s.fake), extra = static_cast<std::size_t>(each * static_cast<double>(n));
            const std::span<const std::uint32_t> real_length = lengths(s.real), fake_length = lengths(s.fake);
            const random_stream random(key, stream::corruption, k);
            real_cut_.clear(), fake_cut_.clear();
            for (std::size_t i = 0; i < extra; ++i) {
                const std::size_t j = i % n, r = s.pairs[j];
                const std::uint32_t shorter = real_length[r] < fake_length[j] ? real_length[r] : fake_length[j];
                if (shorter == 0) continue;
                const std::uint32_t at =
                    1 + static_cast<std::uint32_t>(random.below(shorter, static_cast<std::uint32_t>(i)));
                s.pairs.push_back(static_cast<std::uint32_t>(rows(s.real) + real_cut_.size()));
                real_cut_.push_back({r, at}), fake_cut_.push_back({j, at});
            }
            const Batch cut_real = prefixes(s.real, real_cut_), cut_fake = prefixes(s.fake, fake_cut_);
            s.real = concat(s.real, cut_real);
            s.fake = concat(s.fake, cut_fake);
        } else {
            fail(error_kind::option, "adversarial_options", ".beginnings",
                 "0 for a batch without `prefixes(batch, span<const prefix>)`", short_text(each));
        }
    }

    step step_;
    replay_buffer<Batch> past_fake_{0}, past_real_{0};
    std::vector<std::size_t> order_, pick_, place_;
    std::vector<prefix> real_cut_, fake_cut_;
};

}  // namespace rlgaf::inline RLGAF_ABI
