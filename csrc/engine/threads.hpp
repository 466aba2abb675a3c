// How many threads a call may use.
#pragma once
#include <cstddef>

namespace fusedlstm {

// Unless a model says otherwise: FUSEDLSTM_NUM_THREADS, or the CPUs that affinity and cgroup quota leave us.
std::size_t num_threads();
void set_num_threads(std::size_t count);  // throws std::invalid_argument for 0

}  // namespace fusedlstm
