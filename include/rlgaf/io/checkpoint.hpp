#pragma once
/// A whole run in one file, so that it goes on as if nothing had happened.
#include <filesystem>

#include "rlgaf/backend/visit.hpp"
#include "rlgaf/io/safetensors.hpp"
#include "rlgaf/io/state_archive.hpp"
#include "rlgaf/training/observer.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {

inline constexpr const char* checkpoint_format = "1";

template <class Archive, class... Objects>
void visit_all(Archive& a, Objects&... objects) {
    ((visit_model(a, objects), a.next_object()), ...);
}

template <class Save>
struct checkpoint_observer {
    std::size_t every;
    Save save;
    void on_round(const round_report& r) {
        if (r.round % every == 0) save();
    }
    void on_end(const round_report& r) {
        if (r.round % every != 0) save();
    }
};

}  // namespace detail

/// Writes the state of all objects: a trainer (its components' memory, past samples, reference, rounds done), models with
/// their optimisers, demonstrations, whatever has visit(archive) or parameters().
///
///   save_checkpoint("run/state.safetensors", trainer, policy, discriminator, experts);
///
/// The file is replaced as a whole or not at all. Options are not in it. Errors: file_error.
template <class... Objects>
void save_checkpoint(const std::filesystem::path& path, Objects&... objects) {
    state_writer writer;
    detail::visit_all(writer, objects...);
    write_safetensors(path, std::span<const tensor>(writer.entries), {{"rlgaf.checkpoint", detail::checkpoint_format}});
}

/// Puts the state of all objects back: made with the same options, components and order, they go on bit for bit as those
/// that were saved. Schedules count rounds of a call of run: give them `.schedule_from = trainer.rounds_done()`.
/// Errors: file_error with the entry that does not fit; option_error for demonstrations of another number. The objects are
///         then as they were before.
template <class... Objects>
void load_checkpoint(const std::filesystem::path& path, Objects&... objects) {
    const safetensors_file file = read_safetensors(path);
    const std::string from = path.string();
    const auto format = file.metadata.find("rlgaf.checkpoint");
    if (format == file.metadata.end() || format->second != detail::checkpoint_format)
        fail(error_kind::file, "load_checkpoint", from,
             std::string("a checkpoint of format ") + detail::checkpoint_format,
             format == file.metadata.end() ? "another kind of file" : "format " + format->second);

    state_writer before;
    detail::visit_all(before, objects...);
    std::sort(before.entries.begin(), before.entries.end(),
              [](const tensor& a, const tensor& b) { return a.name < b.name; });
    bool done = false;
    const auto undo = [&] {
        if (done) return;
        state_reader back(before.entries, from);
        detail::visit_all(back, objects...);
    };
    struct on_exit {
        const decltype(undo)& leave;
        ~on_exit() { leave(); }
    } guard{undo};
    state_reader reader(file.tensors, from);
    detail::visit_all(reader, objects...);
    reader.finish();
    done = true;
}

/// Observer: saves the objects after every `rounds` rounds and at the end of the run. They must outlive the run. Observers
/// that are saved with them (averaged, health_monitor) stand before it.
///
///   trainer.run({.rounds = 500}, checkpoint_every(50, "run/state.safetensors", trainer, policy, discriminator, experts));
///
/// Errors: option_error for 0 rounds; file_error.
template <class... Objects>
auto checkpoint_every(std::size_t rounds, std::filesystem::path path, Objects&... objects) {
    detail::check_option(rounds > 0, "checkpoint_every", "rounds", "at least 1", 0);
    const auto save = [path = std::move(path), &objects...] { save_checkpoint(path, objects...); };
    return detail::checkpoint_observer<decltype(save)>{rounds, save};
}

}  // namespace rlgaf::inline RLGAF_ABI
