// The one team of threads of this process, and what becomes of it while others want the CPUs as well.
//
// The caller of a layer goes through its steps, and shares some of them out: to those of the team who are awake, or to
// whoever comes in time. Nobody waits for a thread that has not begun. One that has, and is not let run, is waited for; what
// that cost is a debt, and until it is paid off by calls that run alone, others are not asked.
#pragma once
#include <atomic>
#include <chrono>
#include <cstddef>

namespace fusedlstm {

// Multiply-adds of a call below which there is nothing to share, even with a thread that is awake.
constexpr double worth_a_team = 400e3;
// The same for one step, after which those who share it meet.
constexpr double worth_meeting = 60e3;

struct Team;
struct Seat;

// One of those who run a task together, the caller being the first.
class Member {
 public:
  Member() = default;
  Member(Team* team, std::size_t own, std::size_t all, unsigned before) : id(own), size(all), team_(team), round_(before) {}

  // Returns when all have come. They meet every few microseconds, so that they spin; after a while they give the CPU away.
  void meet() {
    if (size > 1) meet_others();
  }
  unsigned round() const { return round_; }

  std::size_t id = 0, size = 1;

 private:
  void meet_others();

  Team* team_ = nullptr;
  unsigned round_ = 0;  // how often they have met
};

// Who works for one call. Whoever finds the team taken by another caller is alone.
class Crew {
 public:
  Crew() = default;                       // the caller alone
  Crew(std::size_t most, double work);    // most: threads; work: multiply-adds of the call
  Crew(Crew& whole, std::size_t member);  // one of those who run something side by side, alone with its part
  ~Crew() {
    if (team_ != nullptr) leave();
  }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  std::size_t most() const { return most_; }             // members there may be
  bool alone() { return most_ == 1 || nobody_comes(); }  // whether nobody would come now

  bool awaited() const { return awaited_; }  // whether somebody is on the way
  // Multiply-adds after which to ask again who is there, or only whether to stop.
  double stretch() const { return most_ == 1 ? 50e6 : awaited_ ? 1.5e6 : 8e6; }

  // Call run(member) for a Member of each thread that is awake: at once, all at the same time. run must not throw.
  template <class Run>
  void together(const Run& run) {
    if (most_ == 1) {
      Member caller;
      return run(caller);
    }
    run_together([](const void* context, Member& member) { (*static_cast<const Run*>(context))(member); }, &run);
  }
  // The same for each thread that comes before the caller has returned from its own call: they share by claiming.
  template <class Run>
  void side_by_side(const Run& run) {
    if (most_ == 1) {
      Member caller;
      return run(caller);
    }
    run_side_by_side([](const void* context, Member& member) { (*static_cast<const Run*>(context))(member); }, &run);
  }

  // Whether the caller's thread was asked to end this call: what it has made so far is for nobody.
  // Looking costs some nanoseconds, as much as a small layer's step has left: ask when there is more to do.
  bool stopped();
  bool was_stopped() const { return stopped_.load(std::memory_order_relaxed); }  // as far as it was looked

 private:
  using Task = void (*)(const void* context, Member& member);
  using Clock = std::chrono::steady_clock;
  void leave();
  bool nobody_comes() const;
  void run_together(Task task, const void* context);
  void run_side_by_side(Task task, const void* context);
  void rouse(Seat& seat, Clock::time_point now);
  bool may_wake(Clock::time_point now);
  void account(Clock::time_point start, Clock::time_point end, Clock::duration waited, std::size_t size);

  Team* team_ = nullptr;  // that this crew has
  Crew* whole_ = nullptr;
  std::size_t most_ = 1, member_ = 0;
  bool wakes_ = false, woke_ = false, awaited_ = false;  // workers that sleep, or are on their way
  Clock::time_point open_at_{};                          // when others are asked again
  std::atomic<bool> stopped_{false};
};

}  // namespace fusedlstm
