// expect: rlgaf: this observer has none of the hooks on_begin(const run_info&), on_round(const round_report&),
// on_rollout(const round_report&, const batch&), on_end(const round_report&); a misspelt hook would never be called
#define MISSPELT_HOOK
#include "complete_trainer.hpp"
