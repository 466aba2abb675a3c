// The one team of threads of this process, and the barrier its members meet at.
#pragma once
#include <atomic>
#include <cstddef>

#include "../kernels/table.hpp"

namespace fusedlstm {

// Threads a call may use at most: FUSEDLSTM_NUM_THREADS, or the CPUs that affinity and cgroup quota leave us.
std::size_t num_threads();
void set_num_threads(std::size_t count);  // throws std::invalid_argument for 0

// The right to use the team for one call. Whoever finds it taken by another caller gets a team of one: itself.
class TeamLease {
 public:
  explicit TeamLease(std::size_t wanted);
  ~TeamLease();
  TeamLease(const TeamLease&) = delete;
  TeamLease& operator=(const TeamLease&) = delete;

  std::size_t size() const { return size_; }

  // Call run(member) on members 0 (the caller) to size() - 1; returns when all have. run must not throw.
  template <class Run>
  void run(const Run& run) {
    start([](const void* context, std::size_t member) { (*static_cast<const Run*>(context))(member); }, &run);
  }

 private:
  using Task = void (*)(const void* context, std::size_t member);
  void start(Task task, const void* context);

  std::size_t size_ = 1;
};

// Spinning is right here: members meet every few microseconds. It gives the CPU away when one is late.
class Barrier {
 public:
  void expect(std::size_t members) { members_ = members; }
  std::size_t members() const { return members_; }

  void wait(const KernelTable& table) {
    if (members_ == 1) return;
    const unsigned round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == members_) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (unsigned spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
      table.pause();
      if (spins > patience) give_way();
    }
  }

 private:
  static constexpr unsigned patience = 500;  // pauses, some 20 microseconds: after that the other may not even be running
  static void give_way();

  std::size_t members_ = 1;
  alignas(64) std::atomic<std::size_t> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
};

}  // namespace fusedlstm
