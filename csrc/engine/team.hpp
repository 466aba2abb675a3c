// The workers of this process, and how a crew and one of them tell each other what to do.
#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "../kernels/table.hpp"
#include "crew.hpp"

#if defined(__linux__)
#include <sys/types.h>
#endif

namespace fusedlstm {

using Clock = std::chrono::steady_clock;

// How long a worker spins for its next task; how long it goes on letting others have its CPU in between, before it sleeps.
// One that was woken comes in the middle of a step, and a large layer takes so long for one.
constexpr std::chrono::microseconds linger(50), last_look(200), first_look(1000);

constexpr unsigned impatience = 100;  // loads without a pause, which takes 140 cycles on some CPUs
constexpr unsigned patience = 600;    // some 20 microseconds: after that the other may not even be running
constexpr std::chrono::microseconds politeness(100), nap(50);

// Wait until it is so. How long it took, where that was longer than members of a team that run are ever late.
template <class IsSo>
Clock::duration wait_until(const KernelTable& table, const IsSo& is_so) {
  for (unsigned spins = 0; spins < patience; ++spins) {
    if (is_so()) return {};
    if (spins > impatience) table.pause();
  }
  const Clock::time_point start = Clock::now();
  Clock::time_point now = start;
  for (; !is_so(); now = Clock::now())
    if (now - start < politeness)
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(nap);
  return now - start;
}

// What a worker does, and what it has been told.
enum class State {
  asleep,
  waking,   // will look out for a task
  waiting,  // looks out for one
  taken,    // waits for the caller to say which
  called,   // has a task, and others count on it
  invited,  // has one, and may be too late
  working
};

// What the caller and one worker tell each other, in a cache line of its own.
struct alignas(64) Seat {
  std::atomic<State> state{State::asleep};
  unsigned before = 0;
  std::size_t id = 0, size = 0;
  void (*task)(const void*, Member&) = nullptr;
  const void* context = nullptr;
};

struct alignas(64) Rounds {
  std::atomic<unsigned> count{0};
};

// Where a call was made. Linux likes to wake a worker on the CPU of the thread that wakes it, and leaves it there for
// milliseconds. So a worker that finds itself there moves to the other CPUs that the caller may use.
class Place {
 public:
  static Place here();
  void avoid() const;

 private:
#if defined(__linux__)
  int cpu_ = -1;
  pid_t thread_ = 0;
#endif
};

struct Team {
  Team();

  const KernelTable& table;
  std::atomic<bool> gone{false};    // the process was forked, and this one has none of the workers
  std::atomic<bool> in_use{false};  // by a call; what follows is that call's

  std::vector<std::unique_ptr<Seat>> seats;  // of the workers
  std::vector<Rounds> rounds;                // of the members
  unsigned round = 0;                        // of the caller
  Clock::duration waited{};                  // by the caller, for members that had begun
  Clock::duration credit{};                  // gained by sharing
  Clock::duration debt{};                    // time that calls spend alone before they ask others again
  Clock::duration waking{};                  // spent on waking workers who have not helped since
  Clock::time_point last{};                  // when a call ended

  // Starts the workers that `most` members need, or as many as can be had, and says how many members that makes.
  std::size_t gather(std::size_t most);
  // A sleeping worker gets another state, and wakes up.
  void rouse(Seat& seat, State state);

 private:
  void work(Seat& seat);
  // Returns with a task; sleeps if there is none for so long, the first time.
  void look_out(Seat& seat, Clock::duration stays);
  void sleep(Seat& seat);  // until it is told something

  std::mutex mutex_;
  std::condition_variable wake_;
  Place caller_;
};

Team& team();

}  // namespace fusedlstm
