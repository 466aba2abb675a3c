// Who is in a live program: one thread at a time.
#pragma once
#include <atomic>

namespace fusedlstm {

class Guard {
 public:
  // torn: a thread of the process that this one was forked from was in it, and never finishes here.
  enum class Found { idle, busy, torn };

  Found enter() {
    unsigned inside = nobody;
    const unsigned own = generation();
    if (inside_.compare_exchange_strong(inside, own, std::memory_order_acquire)) return Found::idle;
    return inside == own ? Found::busy : Found::torn;
  }
  void leave() { inside_.store(nobody, std::memory_order_release); }
  // For who sets all that a torn one may have left half done.
  void mend() {
    unsigned inside = inside_.load(std::memory_order_acquire);
    if (inside != nobody && inside != generation()) inside_.compare_exchange_strong(inside, nobody);
  }

 private:
  static constexpr unsigned nobody = 0;
  static unsigned generation();  // of this process: forks since the library was loaded, from 1

  std::atomic<unsigned> inside_{nobody};
};

}  // namespace fusedlstm
