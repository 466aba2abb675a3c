// A call that lasts may be asked to end: by its own thread, which looks now and then.
#pragma once
#include <chrono>

namespace fusedlstm {

// While one of these is there, calls of this thread ask it.
class Interrupt {
 public:
  Interrupt();
  virtual ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  static bool watched();  // whether there is one
  static bool stopped();  // whether to end; asks now if it is time to

 protected:
  virtual bool asked() = 0;  // whether to end; in the floating-point mode of the caller

 private:
  using Clock = std::chrono::steady_clock;
  bool due();

  Interrupt* const outer_;
  Clock::time_point next_{};
  unsigned long long mode_;
  bool stopped_ = false;
};

}  // namespace fusedlstm
