#pragma once
/// Words of languages that do not exist, for machines without word lists.
///
/// Each of the five languages has its own syllables and endings: 0 sings in open syllables, 1 is hard and full of
/// consonants, 2 has nasals, long vowels and French-looking groups, 3 has doubled letters and vowel harmony, 4 hisses.
/// A short syllable is more frequent than a long one, and what stands first in a list more than what stands last.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "rlgaf/core/error.hpp"
#include "rlgaf/core/random.hpp"

namespace rlgaf::inline RLGAF_ABI {

inline constexpr std::size_t invented_languages = 5;

namespace detail {

/// Parts of a word, separated by spaces, the frequent ones first; "_" is nothing.
struct phonology {
    std::string_view onsets, nuclei, codas, endings;
    std::array<double, 4> syllables;  ///< weight of 1, 2, 3 or 4 of them before the ending
};

inline constexpr std::array<phonology, invented_languages> phonologies = {{
    {"l m r t n v p s k _ f z d b tr gr",
     "a o i e u ia eo ai io",
     "_ _ _ n l r",
     "o a i ela ino ura osa ito ano eva",
     {2, 5, 4, 1}},
    {"g k st d b h kr gr str dr w f br kn sk zw sp gl",
     "a e o u ei au i ou",
     "rk nd ch st l n rt ng ck lt rm ft ts",
     "en er ig t um olf enk _ ast isch",
     {5, 5, 2, 0}},
    {"m j b d p ch v l cl qu br pl gn r n c",
     "ou e an oi on a eu in ie ui ai en",
     "_ r _ s l t x",
     "eau elle ier ique ette e ois ont euse age",
     {4, 5, 3, 1}},
    {"h k t v p j s l m n y tt kk ll",
     "a aa u ua o y ei uu ie",
     "_ n l s _ t h",
     "aja unen ossa kka u us ala inna ukset a",
     {2, 5, 4, 1}},
    {"sh z x sl zh ts ps sv chr zr y vz th q",
     "e i ia ye o ae u iz",
     "sh x z _ s k zd l th",
     "ix esh oz yth iska azh _ evsk ush",
     {4, 5, 3, 0}},
}};

/// Draws parts of a list; part i has weight 1 / (i + 2).
class part_list {
public:
    explicit part_list(std::string_view text) {
        for (std::size_t at = 0; at <= text.size();) {
            const std::size_t end = std::min(text.find(' ', at), text.size());
            const std::string_view part = text.substr(at, end - at);
            weights_.push_back(1.0 / static_cast<double>(parts_.size() + 2));
            parts_.push_back(part == "_" ? std::string_view() : part);
            at = end + 1;
        }
    }
    std::string_view draw(double u) const { return parts_[sample_categorical(std::span<const double>(weights_), u)]; }

private:
    std::vector<std::string_view> parts_;
    std::vector<double> weights_;
};

}  // namespace detail

/// `count` different words of 3 to 14 letters a..z of language 0..4, in the order in which they were drawn: frequent
/// parts come early. Word lists of one key are prefixes of each other. All languages have more than 100 000 words.
///
/// Errors: option_error for a language that does not exist, or more words than one has.
inline std::vector<std::string> invented_words(std::size_t language, std::size_t count, rng_key key = {}) {
    if (language >= invented_languages) [[unlikely]]
        fail(error_kind::option, "invented_words", "language", "0.." + std::to_string(invented_languages - 1),
             std::to_string(language));
    const detail::phonology& sounds = detail::phonologies[language];
    const detail::part_list onsets(sounds.onsets), nuclei(sounds.nuclei), codas(sounds.codas), endings(sounds.endings);
    std::vector<std::string> words;
    std::unordered_set<std::string> seen;
    for (std::uint64_t attempt = 0; words.size() < count; ++attempt) {
        if (attempt > 1000 + 100 * std::uint64_t{count}) [[unlikely]]
            fail(error_kind::option, "invented_words", "count", "no more words than the language has",
                 std::to_string(count));
        const random_stream random(key, stream::environment, attempt * invented_languages + language);
        std::uint32_t draw = 0;
        const auto next = [&] { return random.uniform(draw++); };
        std::string word;
        const std::size_t syllables = 1 + sample_categorical(std::span<const double>(sounds.syllables), next());
        for (std::size_t s = 0; s < syllables; ++s) {
            word += onsets.draw(next());
            word += nuclei.draw(next());
            word += codas.draw(next());
        }
        word += endings.draw(next());
        if (word.size() < 3 || word.size() > 14 || !seen.insert(word).second) continue;
        words.push_back(std::move(word));
    }
    return words;
}

}  // namespace rlgaf::inline RLGAF_ABI
