// The one team of threads of this process, and the barrier its members meet at.
#pragma once
#include <atomic>
#include <cstddef>
#include <mutex>
#include <vector>

#include "../kernels/table.hpp"

namespace fusedlstm {

// Threads a call may use at most: FUSEDLSTM_NUM_THREADS, or the CPUs that affinity and cgroup quota leave us.
std::size_t num_threads();
void set_num_threads(std::size_t count);  // throws std::invalid_argument for 0

// Multiply-adds below which a call is over before another thread has woken up.
constexpr double worth_a_team = 400e3;
// The same for one step, after which the members of a team meet.
constexpr double worth_meeting = 60e3;

// The right to use the team for one call. Whoever finds it taken by another caller gets a team of one: itself.
class TeamLease {
 public:
  explicit TeamLease(std::size_t wanted);  // or of fewer, where no more threads can be had
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
  std::unique_lock<std::mutex> in_use_;  // of the team, while there is more than one member
};

// Spinning is right here: members meet every few microseconds. It gives the CPU away when one is late. Each member counts
// its rounds in a cache line of its own, and reads the others': one transfer between two cores, where a shared count takes
// three.
class Barrier {
 public:
  void expect(std::size_t members) { rounds_ = std::vector<Line>(members); }
  std::size_t members() const { return rounds_.size(); }

  void wait(const KernelTable& table, std::size_t member) {
    if (rounds_.size() == 1) return;
    const unsigned round = rounds_[member].count.load(std::memory_order_relaxed) + 1;
    rounds_[member].count.store(round, std::memory_order_release);
    unsigned spins = 0;
    for (Line& other : rounds_)
      while (static_cast<int>(other.count.load(std::memory_order_acquire) - round) < 0) {
        if (++spins > impatience) table.pause();
        if (spins > patience) give_way();
      }
  }

 private:
  struct alignas(64) Line {
    std::atomic<unsigned> count{0};
  };
  static constexpr unsigned impatience = 100;  // loads without a pause, which takes 140 cycles on some CPUs
  static constexpr unsigned patience = 600;    // some 20 microseconds: after that the other may not even be running
  static void give_way();

  std::vector<Line> rounds_ = std::vector<Line>(1);
};

}  // namespace fusedlstm
