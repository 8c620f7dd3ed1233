#pragma once
#include <cmath>
#include <vector>

#include "rlgaf/backend/scorer.hpp"
#include "rlgaf/backend/visit.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Several discriminators as one that gives the numbers of each, in their order: trained by per_column, paid by
/// ensemble_reward. Heads of one body are cheaper (a scorer with several outputs); separate ones disagree more.
///   rlgaf::scorer_ensemble judges{{&a, &b, &c}};
///   rlgaf::adversarial_trainer trainer{policy, judges, experts, rlgaf::per_column{rlgaf::bce{}}, rlgaf::ensemble_reward{}};
/// Shapes:  score, d_score [rows, sum of the members' widths].
/// Adds:    backward gives each member the gradient of its own numbers. A step is each member's own, with max_norm for
///          each; it reports the norm of all, and is applied where all were.
/// Errors:  option_error without members; shape_error; those of the members.
/// Needs:   members that begin differently, or they stay alike; they outlive this. Rows only: no
///          scores of tokens, penalties or weight constraints.
/// Source:  Durugkar, Gemp and Mahadevan 2016, arXiv 1611.01673; of reward models: Coste et al. 2023, arXiv 2310.02743.
template <class S>
class scorer_ensemble {
public:
    using scalar = typename S::scalar;

    class tape {
        friend class scorer_ensemble;
        std::vector<typename S::tape> of_member_;
        std::size_t rows_ = 0;
    };

    explicit scorer_ensemble(std::vector<S*> members) : members_(static_cast<std::vector<S*>&&>(members)) {
        detail::check_option(!members_.empty(), "scorer_ensemble", "members", "at least one", 0);
        for (S* member : members_) width_ += score_width(*member);
    }
    std::size_t width() const { return width_; }

    template <class B>
    void evaluate(const B& b, std::span<scalar> score) {
        each_column(rows(b), score, [&](S& member, std::span<scalar> own) { member.evaluate(b, own); });
    }
    template <class B>
    tape forward(const B& b, std::span<scalar> score) {
        tape t;
        t.rows_ = rows(b);
        each_column(t.rows_, score,
                    [&](S& member, std::span<scalar> own) { t.of_member_.push_back(member.forward(b, own)); });
        return t;
    }
    void backward(tape&& t, std::span<const scalar> d_score) {
        detail::check_size(d_score.size(), t.rows_ * width_, "scorer_ensemble::backward", "d_score");
        std::size_t first = 0;
        for (std::size_t m = 0; m < members_.size(); ++m) {
            const std::size_t wide = score_width(*members_[m]);
            own_.resize(t.rows_ * wide);
            for (std::size_t i = 0; i < t.rows_; ++i)
                for (std::size_t k = 0; k < wide; ++k) own_[i * wide + k] = d_score[i * width_ + first + k];
            members_[m]->backward(static_cast<typename S::tape&&>(t.of_member_[m]), std::span<const scalar>(own_));
            first += wide;
        }
    }
    step_report step(const step_options& o) {
        step_report all{.grad_norm = 0, .applied = true};
        for (S* member : members_) {
            const step_report one = member->step(o);
            all.grad_norm = std::hypot(all.grad_norm, one.grad_norm);
            all.applied = all.applied && one.applied;
        }
        return all;
    }
    void discard() {
        for (S* member : members_) member->discard();
    }
    /// Calls f() while every member holds its average.
    template <class F>
    void with_average(F&& f) requires requires(S& s) {
        s.with_average(f);
    }
    { within(0, f); }
    /// Its members.
    template <class Archive>
    void visit(Archive& a) {
        for (S* member : members_) visit_model(a, *member);
    }

private:
    template <class F>
    void within(std::size_t member, F& f) {
        if (member == members_.size()) return f();
        members_[member]->with_average([&] { within(member + 1, f); });
    }
    template <class F>
    void each_column(std::size_t n, std::span<scalar> score, F&& f) {
        detail::check_size(score.size(), n * width_, "scorer_ensemble", "score");
        std::size_t first = 0;
        for (S* member : members_) {
            const std::size_t wide = score_width(*member);
            own_.assign(n * wide, scalar{0});
            f(*member, std::span<scalar>(own_));
            for (std::size_t i = 0; i < n; ++i)
                for (std::size_t k = 0; k < wide; ++k) score[i * width_ + first + k] = own_[i * wide + k];
            first += wide;
        }
    }

    std::vector<S*> members_;
    std::size_t width_ = 0;
    std::vector<scalar> own_;
};

}  // namespace rlgaf::inline RLGAF_ABI
