#include "interrupt.hpp"

#include <ctime>

#include "../kernels/dispatch.hpp"

namespace fusedlstm {

namespace {

// Some milliseconds of the 200 that a caller may wait; others may hold what `asked` has to wait for.
constexpr std::chrono::milliseconds interval(50);

thread_local Interrupt* current = nullptr;

// To some milliseconds, in a fifth of the time that the exact one takes: programs ask after each step.
std::chrono::steady_clock::time_point about_now() {
#if defined(CLOCK_MONOTONIC_COARSE) && defined(__GLIBCXX__)
  timespec now;
  if (clock_gettime(CLOCK_MONOTONIC_COARSE, &now) == 0)
    return std::chrono::steady_clock::time_point(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
#endif
  return std::chrono::steady_clock::now();
}

}  // namespace

Interrupt::Interrupt() : outer_(current), mode_(kernels().enter_flush_to_zero()) {
  kernels().leave_flush_to_zero(mode_);
  current = this;
}

Interrupt::~Interrupt() { current = outer_; }

bool Interrupt::watched() { return current != nullptr; }

bool Interrupt::stopped() { return current != nullptr && current->due(); }

bool Interrupt::due() {
  if (stopped_) return true;
  const Clock::time_point now = about_now();
  if (next_ == Clock::time_point()) next_ = now + interval;
  if (now < next_) return false;
  const unsigned long long inside = kernels().enter_flush_to_zero();
  kernels().leave_flush_to_zero(mode_);
  current = nullptr;  // whatever runs there may call us
  stopped_ = asked();
  current = this;
  kernels().leave_flush_to_zero(inside);
  next_ = about_now() + interval;
  return stopped_;
}

}  // namespace fusedlstm
