#pragma once
#include <cmath>
#include <vector>

#include "rlgaf/core/component.hpp"
#include "rlgaf/core/random.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Gives every matrix of the discriminator the largest singular value `norm`: a bound on its slope that needs no data.
/// Formula: the model computes with W' = norm W / sigma, sigma = u^T W v;  v = W^T u / |W^T u|, u = W v / |W v|, one round
///          of both before each step, u kept. The optimiser moves W.
/// Adds:    turns the gradient G of W' into that of W: norm / sigma (G - <G, W' / norm> u v^T), u and v constant.
/// Shapes:  blocks [rows, columns], among them a last layer [n, 1]; of more dimensions the first one is the rows (outputs
///          of a convolution, as PyTorch has them) and all others are columns; vectors, which are biases, are let be.
/// Degenerate: a matrix of zeros stays as it is.
/// Errors:  option_error.
/// Needs:   a scorer with flat_parameters. Between steps the model holds W', so that evaluate gives bounded scores, and a
///          saved model is W'. Parameters that somebody else changed between steps are taken up as W.
/// Source:  Miyato et al. 2018, arXiv 1802.05957.
struct spectral_norm {
    using role = role::weight_constraint;
    double norm = 1;                  ///< positive, finite
    bool embeddings = false;          ///< also tables: blocks called "embedding", or "a.embedding.weight"
    std::uint64_t first_rounds = 20;  ///< of power iteration, when a matrix is seen for the first time

    struct state {
        struct matrix {
            std::vector<double> raw, u, v;  ///< W as the optimiser left it, and its singular vectors
            double sigma = 0;
        };
        std::vector<matrix> of_block;
        template <class Archive>
        void visit(Archive& a) {
            std::uint64_t n = of_block.size();
            a("matrices", n);
            while (of_block.size() < n) of_block.emplace_back();
            while (of_block.size() > n) of_block.pop_back();
            for (matrix& m : of_block) a("raw", m.raw), a("u", m.u), a("v", m.v), a("sigma", m.sigma);
        }
    };
    void check() const {
        detail::check_option(norm > 0 && norm < std::numeric_limits<double>::infinity(), "spectral_norm", "norm",
                             "positive and finite", norm);
    }

    /// Before the forward pass: W' in place of W.
    template <class Blocks>
    void before_forward(state& s, const Blocks& blocks) const {
        check();
        each(s, blocks, [&](state::matrix& m, const auto& values, const auto&) {
            std::uint64_t rounds = 1;
            if (m.raw.size() != values.size() || !holds(m, values)) {
                if (m.raw.empty()) rounds += first_rounds;
                m.raw.assign(values.begin(), values.end());
            }
            for (; rounds > 0; --rounds) iterate(m);
            show(m, values);
        });
    }
    /// After the backward pass: W, and the gradient of W.
    template <class Blocks>
    void before_step(state& s, const Blocks& blocks) const {
        each(s, blocks, [&](state::matrix& m, const auto& values, const auto& gradients) {
            using T = std::remove_cvref_t<decltype(values[0])>;
            const std::size_t columns = m.v.size();
            if (m.sigma > 0) {
                double along = 0;  // <G, W / sigma>
                for (std::size_t i = 0; i < m.raw.size(); ++i)
                    along += static_cast<double>(gradients[i]) * m.raw[i] / m.sigma;
                for (std::size_t i = 0; i < m.raw.size(); ++i)
                    gradients[i] = static_cast<T>(
                        norm / m.sigma *
                        (static_cast<double>(gradients[i]) - along * m.u[i / columns] * m.v[i % columns]));
            }
            for (std::size_t i = 0; i < m.raw.size(); ++i) values[i] = static_cast<T>(m.raw[i]);
        });
    }
    /// After the step: W' in place of the new W.
    template <class Blocks>
    void after_step(state& s, const Blocks& blocks) const {
        each(s, blocks, [&](state::matrix& m, const auto& values, const auto&) {
            m.raw.assign(values.begin(), values.end());
            measure(m);
            show(m, values);
        });
    }

private:
    /// Whether a part of the name, between its dots, is "embedding".
    static bool is_embedding(const chars& name) {
        for (std::size_t first = 0, last = 0; first <= name.size; first = last + 1) {
            for (last = first; last < name.size && name.data[last] != '.';) ++last;
            chars part;
            part.data = name.data + first, part.size = last - first;
            if (part == chars("embedding")) return true;
        }
        return false;
    }
    template <class Blocks, class F>
    void each(state& s, const Blocks& blocks, F&& f) const {
        std::size_t number = 0;
        for (const auto& block : blocks) {
            if (s.of_block.size() <= number) s.of_block.emplace_back();
            state::matrix& m = s.of_block[number++];
            if (block.shape.size() < 2 || (!embeddings && is_embedding(block.name))) continue;
            if (block.values.empty()) continue;
            const std::size_t columns = block.values.size() / block.shape[0];
            if (m.v.size() != columns || m.u.size() * columns != block.values.size()) {
                m.raw.clear(), m.u.clear(), m.sigma = 0;
                m.v.assign(columns, 0.0);
                const random_stream random({0, 0}, stream::initialization, number);
                for (std::size_t i = 0; i < block.values.size() / columns; ++i)
                    m.u.push_back(random.normal(static_cast<std::uint32_t>(i & 0xFFFFFFu)));
            }
            f(m, block.values, block.gradients);
        }
    }
    template <class Values>
    bool holds(const state::matrix& m, const Values& values) const {
        for (std::size_t i = 0; i < values.size(); ++i)
            if (values[i] != shown<std::remove_cvref_t<decltype(values[0])>>(m, i)) return false;
        return true;
    }
    template <class T>
    T shown(const state::matrix& m, std::size_t i) const {
        return static_cast<T>(m.sigma > 0 ? norm * m.raw[i] / m.sigma : m.raw[i]);
    }
    template <class Values>
    void show(const state::matrix& m, const Values& values) const {
        for (std::size_t i = 0; i < values.size(); ++i)
            values[i] = shown<std::remove_cvref_t<decltype(values[0])>>(m, i);
    }
    static void iterate(state::matrix& m) {
        const std::size_t columns = m.v.size();
        const auto normalise = [](std::vector<double>& x) {
            double squares = 0;
            for (const double v : x) squares += v * v;
            if (squares > 0)
                for (double& v : x) v /= std::sqrt(squares);
        };
        m.v.assign(columns, 0.0);
        for (std::size_t i = 0; i < m.raw.size(); ++i) m.v[i % columns] += m.raw[i] * m.u[i / columns];
        normalise(m.v);
        std::vector<double> u;
        u.assign(m.u.size(), 0.0);
        for (std::size_t i = 0; i < m.raw.size(); ++i) u[i / columns] += m.raw[i] * m.v[i % columns];
        normalise(u);
        m.u.swap(u);
        measure(m);
        if (!(m.sigma > 0)) m.u.swap(u);  // of a matrix of zeros nothing is learnt
    }
    static void measure(state::matrix& m) {
        const std::size_t columns = m.v.size();
        m.sigma = 0;
        for (std::size_t i = 0; i < m.raw.size(); ++i) m.sigma += m.u[i / columns] * m.raw[i] * m.v[i % columns];
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
