// expect: rlgaf: what a checkpoint holds needs `template <class Archive> void visit(Archive& archive)`, which calls
// archive(name, member) for every member that matters, or parameters()
#include "complete_backend.hpp"
#include "rlgaf/io/checkpoint.hpp"

inline void save(mine::scorer& scorer) { rlgaf::save_checkpoint("state.safetensors", scorer); }
