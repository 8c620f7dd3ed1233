#pragma once
#include <cmath>
#include <cstdio>
#include <vector>

#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/math/sort.hpp"
#include "rlgaf/training/alarm.hpp"
#include "rlgaf/training/observer.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct health_options {
    std::size_t patience = 20;        ///< rounds in a row that a sign must last; > 0
    double winning_accuracy = 0.98;   ///< above it the discriminator wins; in (0.5, 1)
    double guessing_accuracy = 0.53;  ///< its mean over `patience` rounds was never above: it has given up; in (0.5, 1)
    double overfit_gap = 0.15;        ///< accuracy on its own demonstrations above that on held-out ones; in (0, 1)
    double constant_share = 0.9;      ///< of groups, or of rows by the discriminator, with the same reward; in (0, 1)
    double distinct_left = 0.5;       ///< share of the first rounds' distinct bigrams that must be left; in (0, 1)
    double truncated_share = 0.5;     ///< of rows cut at the length limit; in (0, 1)
    double length_factor = 2;         ///< mean length over, or under one over, that of the first rounds; > 1
    double memorised_share = 0.2;     ///< of samples that are demonstrations; in (0, 1)
    double kl_per_token = 1;          ///< nats to the reference; > 0

    void check() const {
        const auto inside = [](double x, double low, const char* field) {
            detail::check_option(x > low && x<1, "health_options", field, low> 0 ? "in (0.5, 1)" : "in (0, 1)", x);
        };
        detail::check_option(patience > 0, "health_options", "patience", "at least 1", 0);
        inside(winning_accuracy, 0.5, "winning_accuracy");
        inside(guessing_accuracy, 0.5, "guessing_accuracy");
        inside(overfit_gap, 0, "overfit_gap");
        inside(constant_share, 0, "constant_share");
        inside(distinct_left, 0, "distinct_left");
        inside(truncated_share, 0, "truncated_share");
        inside(memorised_share, 0, "memorised_share");
        detail::check_option(length_factor > 1, "health_options", "length_factor", "above 1", length_factor);
        detail::check_option(kl_per_token > 0, "health_options", "kl_per_token", "positive nats", kl_per_token);
    }
};

/// Observer that watches a run and says once, in plain words, what goes wrong and what helps.
///   health_monitor health{};
///   health.knows(demonstrations);                 // for memorisation
///   trainer.run(options, progress_bar{}, health);
///   for (const auto& a : health.alarms()) ...
/// Distinct bigrams and memorisation need a batch that shows_tokens; overfitting needs held_out_experts.
class health_monitor {
public:
    struct raised {
        alarm what;
        std::size_t round = 0;
    };
    /// `say` gets each alarm's text; the default prints to stderr. Errors: option_error.
    explicit health_monitor(health_options options = {}, void (*say)(const char*) = nullptr)
        : options_((options.check(), options)), say_(say) {}

    /// Rows that the policy should not recite.
    template <shows_tokens Batch>
    void knows(const Batch& demonstrations) {
        const auto rows_of = tokens(demonstrations);
        for (std::size_t i = 0; i < rows_of.rows(); ++i) known_.push_back(hash(rows_of.row(i)));
        detail::heap_sort(detail::span_of(known_), ascending);
    }
    const std::vector<raised>& alarms() const { return alarms_; }
    bool has(alarm a) const {
        for (const raised& r : alarms_)
            if (r.what == a) return true;
        return false;
    }

    template <class Batch>
    void on_rollout(const round_report&, const Batch& batch) {
        if constexpr (shows_tokens<Batch>) {
            const auto rows_of = tokens(batch);
            bigrams_.clear();
            std::size_t recited = 0;
            for (std::size_t i = 0; i < rows_of.rows(); ++i) {
                const auto row = rows_of.row(i);
                for (std::size_t t = 0; t < row.size(); ++t)
                    bigrams_.push_back(hash(row.subspan(t, t + 1 < row.size() ? 2 : 1)));
                recited += contains(known_, hash(row));
            }
            detail::heap_sort(detail::span_of(bigrams_), ascending);
            std::size_t distinct = 0;
            for (std::size_t i = 0; i < bigrams_.size(); ++i) distinct += i == 0 || bigrams_[i] != bigrams_[i - 1];
            distinct_ = static_cast<double>(distinct);
            memorised_ = known_.empty() || rows_of.rows() == 0
                             ? 0
                             : static_cast<double>(recited) / static_cast<double>(rows_of.rows());
        }
    }

    template <class Report = round_report>
    void on_round(const Report& r) {
        ++rounds_;
        if (rounds_ <= first_rounds) {
            first_distinct_ += distinct_ / first_rounds;
            first_length_ += r.length_mean / first_rounds;
        }
        if (r.accuracy == r.accuracy) take_in(r.accuracy);
        const bool compared = rounds_ > first_rounds;
        sign(alarm::discriminator_wins, r.accuracy > options_.winning_accuracy, r);
        sign(alarm::discriminator_gives_up,
             measured_ >= options_.patience && highest_accuracy_ < options_.guessing_accuracy, r, 1);
        if (r.accuracy_held_out == r.accuracy_held_out)  // measured in some rounds only: twice is enough
            sign(alarm::discriminator_overfits, r.accuracy - r.accuracy_held_out > options_.overfit_gap, r, 2);
        sign(alarm::reward_collapse,
             r.constant_reward_share > options_.constant_share || r.constant_score_share > options_.constant_share, r);
        sign(alarm::mode_collapse, compared && distinct_ < options_.distinct_left * first_distinct_, r);
        sign(alarm::length_drift,
             r.truncated_share > options_.truncated_share ||
                 (compared && (r.length_mean > options_.length_factor * first_length_ ||
                               r.length_mean * options_.length_factor < first_length_)),
             r);
        sign(alarm::memorisation, memorised_ > options_.memorised_share, r);
        sign(alarm::kl_runaway, r.kl_reference_per_token > options_.kl_per_token, r);
    }

    /// For a checkpoint: all but the options and what it knows.
    template <class Archive>
    void visit(Archive& a) {
        std::uint64_t raised_so_far = alarms_.size();
        a("alarms", raised_so_far);
        alarms_.resize(raised_so_far);
        for (raised& r : alarms_) a("what", r.what), a("round", r.round);
        a("lasted", std::span<std::size_t>(lasted_)), a("rounds", rounds_), a("first_distinct", first_distinct_);
        a("first_length", first_length_), a("highest_accuracy", highest_accuracy_);
        a("accuracies", accuracies_), a("measured", measured_);
    }

private:
    static constexpr std::size_t first_rounds = 5;
    static constexpr auto ascending = [](std::size_t a, std::size_t b) { return a < b; };

    /// A single round's accuracy is mostly luck, so what counts is a running mean; it says something once it is full.
    void take_in(double accuracy) {
        const double keep = 1 - 1 / static_cast<double>(options_.patience);
        accuracies_ = keep * accuracies_ + (1 - keep) * accuracy;
        if (++measured_ < options_.patience) return;
        const double mean = accuracies_ / (1 - std::pow(keep, static_cast<double>(measured_)));
        highest_accuracy_ = mean > highest_accuracy_ ? mean : highest_accuracy_;
    }
    template <class Report>
    void sign(alarm a, bool seen, const Report& r, std::size_t patience = 0) {
        std::size_t& lasted = lasted_[static_cast<std::size_t>(a)];
        lasted = seen ? lasted + 1 : 0;
        if (lasted < (patience == 0 ? options_.patience : patience) || has(a)) return;
        alarms_.push_back({a, r.round});
        const basic_text<1000> text("round ", r.round, ": ", explain(a));
        if (say_)
            say_(text.c_str());
        else
            std::fprintf(stderr, "\nrlgaf: %s.\n", text.c_str());
    }
    static std::size_t hash(std::span<const std::int32_t> row) {
        std::uint64_t h = 0xcbf29ce484222325u;  // FNV-1a
        for (const std::int32_t token : row) h = (h ^ static_cast<std::uint32_t>(token)) * 0x100000001b3u;
        return h ^ h >> 29;
    }
    static bool contains(const std::vector<std::size_t>& sorted, std::size_t h) {
        std::size_t first = 0, last = sorted.size();
        while (first < last) {
            const std::size_t middle = (first + last) / 2;
            if (sorted[middle] < h)
                first = middle + 1;
            else
                last = middle;
        }
        return first < sorted.size() && sorted[first] == h;
    }

    health_options options_;
    void (*say_)(const char*);
    std::vector<raised> alarms_;
    std::vector<std::size_t> known_, bigrams_;
    std::size_t lasted_[8] = {}, rounds_ = 0, measured_ = 0;
    double distinct_ = 0, memorised_ = 0, first_distinct_ = 0, first_length_ = 0, highest_accuracy_ = 0,
           accuracies_ = 0;
};

}  // namespace rlgaf::inline RLGAF_ABI
