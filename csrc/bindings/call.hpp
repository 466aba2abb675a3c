// What calls of programs share: arrays that fit a place, arrays to hand out, and running without the GIL where it pays.
#pragma once
#include <chrono>
#include <stdexcept>

#include "gil.hpp"
#include "program.hpp"

// Whether this is an ndarray, of no class of its own, that the program can read where it lies.
bool fits(const py::handle& given, const Model::Slot& slot);
py::array allocate(const Model::Slot& slot);

template <class Run>
void Model::release_for(const Run& run, unsigned timed_of) const {
  using Clock = std::chrono::steady_clock;
  constexpr int timed = 8;
  constexpr long long brief = 5000, no_longer = 10 * brief;  // nanoseconds
  const bool keeps = runs_ >= timed && shortest_ < brief;
  if (keeps && ++calls_ % timed_of != 0) return run();
  const Clock::time_point start = Clock::now();
  keeps ? run() : without_gil(run);
  const long long spent = std::chrono::nanoseconds(Clock::now() - start).count();
  if (keeps && spent > no_longer) {  // what it has to do may depend on values, such as lengths
    runs_ = 0;
    shortest_ = endless;
  }
  if (keeps || runs_ >= timed) return;
  ++runs_;  // with the GIL, as all that is mutable here
  if (spent < shortest_) shortest_ = spent;
}
