#include "guard.hpp"

#include "../engine/fork.hpp"

namespace fusedlstm {

namespace {

std::atomic<unsigned> forks{1};

#if defined(FL_HAS_FORK)
[[maybe_unused]] const int at_fork = pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
#endif

}  // namespace

unsigned Guard::generation() { return forks.load(std::memory_order_relaxed); }

}  // namespace fusedlstm
