#include "team.hpp"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "../kernels/dispatch.hpp"
#include "fork.hpp"
#include "interrupt.hpp"

namespace fusedlstm {

namespace {

std::size_t usable_cpus() {
  double cpus = std::max(1u, std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = std::min(cpus, static_cast<double>(CPU_COUNT(&set)));
  double quota = 0, period = 0;  // cgroup v2; "max" fails to parse and means no quota
  if (std::ifstream file("/sys/fs/cgroup/cpu.max"); file >> quota >> period && period > 0)
    cpus = std::min(cpus, std::ceil(quota / period));
#endif
  return static_cast<std::size_t>(std::max(1.0, cpus));
}

std::size_t initial_threads() {
  const char* text = std::getenv("FUSEDLSTM_NUM_THREADS");
  if (text == nullptr || *text == '\0') return usable_cpus();
  char* end = nullptr;
  const long count = std::strtol(text, &end, 10);
  if (*end != '\0' || count < 1 || count > 1024)
    throw std::invalid_argument("FUSEDLSTM_NUM_THREADS: expected a whole number from 1 to 1024, found '" +
                                std::string(text) + "'");
  return static_cast<std::size_t>(count);
}

std::atomic<std::size_t>& thread_setting() {
  static std::atomic<std::size_t> setting{initial_threads()};
  return setting;
}

// Where a call was made. Linux likes to wake a worker on the CPU of the thread that wakes it, and leaves it there for
// milliseconds. So a worker that finds itself there moves to the other CPUs that the caller may use.
struct Place {
#if defined(__linux__)
  int cpu = -1;
  pid_t thread = 0;

  static Place here() { return {sched_getcpu(), static_cast<pid_t>(syscall(SYS_gettid))}; }
  void avoid() const {
    cpu_set_t others;
    if (sched_getcpu() != cpu || sched_getaffinity(thread, sizeof others, &others) != 0) return;
    CPU_CLR(static_cast<unsigned>(cpu), &others);
    if (CPU_COUNT(&others) > 0) sched_setaffinity(0, sizeof others, &others);
  }
#else
  static Place here() { return {}; }
  void avoid() const {}
#endif
};

using Clock = std::chrono::steady_clock;

constexpr unsigned impatience = 100;  // loads without a pause, which takes 140 cycles on some CPUs
constexpr unsigned patience = 600;    // some 20 microseconds: after that the other may not even be running
constexpr std::chrono::microseconds politeness(100), nap(50);
// How long a worker spins for the next task, and between which calls it pays to wake one for a short call; how long it goes
// on letting others have its CPU in between, before it sleeps.
constexpr std::chrono::microseconds linger(50), last_look(200);
// Multiply-adds of a call that pays to wake a worker for: some 100 microseconds, twice what that takes.
constexpr double worth_waking = 5e6;
// What was lost is lost again once in so many times at most. Of the time without calls as much less counts as well, so that
// it is forgotten.
constexpr int dearness = 32;
// Of what a team gained, the part that may be lost before others are not asked, and at most how much.
constexpr int certain = 4;
constexpr std::chrono::milliseconds most_credit(5);

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

enum class State {
  asleep,
  waking,   // will look out for a task
  waiting,  // looks out for one
  taken,    // waits for the caller to say which
  called,   // has a task, and others count on it
  invited,  // has one, and may be too late
  working
};

}  // namespace

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

struct Team {
  const KernelTable& table = kernels();
  std::atomic<bool> in_use{false};  // by a call; what follows is that call's

  std::vector<std::unique_ptr<Seat>> seats;  // of the workers
  std::vector<Rounds> rounds;                // of the members
  unsigned round = 0;                        // of the caller
  Clock::duration waited{};                  // by the caller, for members that had begun
  Clock::duration credit{};                  // gained by sharing
  Clock::duration debt{};                    // time that calls spend alone before they ask others again
  Clock::duration waking{};                  // spent on waking workers who have not helped since
  Clock::time_point last{};                  // when a call ended
  Place caller;

  std::mutex mutex;
  std::condition_variable wake;

  // Starts the workers that `most` members need, or as many as can be had, and says how many members that makes.
  std::size_t gather(std::size_t most) {
    try {
      if (rounds.size() < most || round > 1u << 30) {
        rounds = std::vector<Rounds>(std::max(most, rounds.size()));
        round = 0;
      }
      while (seats.size() < most - 1) {
        seats.push_back(std::make_unique<Seat>());
        try {
          std::thread([this, seat = seats.back().get()] { work(*seat); }).detach();
        } catch (...) {
          seats.pop_back();
          throw;
        }
      }
    } catch (const std::system_error&) {  // no more threads, or no memory for one: the next call asks again
    } catch (const std::bad_alloc&) {
    }
    return std::min({most, seats.size() + 1, std::max<std::size_t>(1, rounds.size())});
  }

  // A sleeping worker gets another state, and wakes up.
  void rouse(Seat& seat, State state) {
    const Clock::time_point start = Clock::now();
    {
      const std::lock_guard<std::mutex> lock(mutex);
      seat.state.store(state, std::memory_order_release);
      caller = Place::here();
    }
    wake.notify_all();
    waking += Clock::now() - start;
  }

  void work(Seat& seat) {
    for (;;) {
      look_out(seat);
      State found = State::invited;
      if (seat.state.load(std::memory_order_acquire) == State::called ||
          seat.state.compare_exchange_strong(found, State::working, std::memory_order_acq_rel)) {
        Member member(this, seat.id, seat.size, seat.before);
        seat.task(seat.context, member);
        seat.state.store(State::waiting, std::memory_order_release);
      }
    }
  }

  // Returns with a task; sleeps if there is none for a while.
  void look_out(Seat& seat) {
    Clock::time_point start = Clock::now();
    for (unsigned spins = 0;; ++spins) {
      State found = seat.state.load(std::memory_order_acquire);
      if (found == State::called || found == State::invited) return;
      if (found == State::waking) seat.state.compare_exchange_strong(found, State::waiting, std::memory_order_acq_rel);
      if (spins > impatience) table.pause();
      if (spins % 64 != 63) continue;
      const Clock::duration spent = Clock::now() - start;
      if (spent < linger) continue;
      found = State::waiting;  // nobody may count on it from now on
      const State away = spent < last_look ? State::waking : State::asleep;
      if (seat.state.compare_exchange_strong(found, away, std::memory_order_acq_rel) && away == State::asleep) {
        sleep(seat);
        start = Clock::now();
      } else {
        std::this_thread::yield();
      }
    }
  }

  void sleep(Seat& seat) {
    std::unique_lock<std::mutex> lock(mutex);
    wake.wait(lock, [&] { return seat.state.load(std::memory_order_acquire) != State::asleep; });
    const Place from = caller;
    lock.unlock();
    from.avoid();
  }
};

void Member::meet_others() {
  std::vector<Rounds>& all = team_->rounds;
  const unsigned round = ++round_;
  all[id].count.store(round, std::memory_order_release);
  for (std::size_t other = 0; other < size; ++other) {
    const auto come = [&] { return static_cast<int>(all[other].count.load(std::memory_order_acquire) - round) >= 0; };
    const Clock::duration waited = come() ? Clock::duration() : wait_until(team_->table, come);
    if (id == 0) team_->waited += waited;
  }
}

namespace {

// Never destroyed: workers may be asleep in it when the process ends. A forked child has none of the threads, so it
// starts over with a fresh team.
std::atomic<Team*> the_team{nullptr};

#if defined(FL_HAS_FORK)
// When the library is loaded: done at the first call, a fork of another thread could come in between.
[[maybe_unused]] const int at_fork =
    pthread_atfork(nullptr, nullptr, [] { the_team.store(nullptr, std::memory_order_release); });
#endif

Team& team() {
  Team* found = the_team.load(std::memory_order_acquire);
  if (found != nullptr) return *found;
  Team* fresh = new Team;
  if (the_team.compare_exchange_strong(found, fresh, std::memory_order_acq_rel)) return *fresh;
  delete fresh;
  return *found;
}

}  // namespace

std::size_t num_threads() { return thread_setting().load(std::memory_order_relaxed); }

void set_num_threads(std::size_t count) {
  if (count < 1 || count > 1024)
    throw std::invalid_argument("num_threads: expected a whole number from 1 to 1024, found " + std::to_string(count));
  thread_setting().store(count, std::memory_order_relaxed);
}

Crew::Crew(std::size_t most, double work) {
  if (most <= 1 || work < worth_a_team) return;
  Team& found = team();
  if (found.in_use.exchange(true, std::memory_order_acquire)) return;
  team_ = &found;
  most_ = found.gather(most);
  const Clock::time_point now = Clock::now();
  const Clock::duration pause = now - found.last;
  wakes_ = awaited_ = work >= worth_waking || pause < linger;
  open_at_ = now + std::max(Clock::duration(), found.debt - pause / dearness);
  for (std::size_t k = 0; k + 1 < most_ && now >= open_at_; ++k)  // they come while the call is made ready
    rouse(*found.seats[k], now);
}

Crew::Crew(Crew& whole, std::size_t member) : whole_(&whole), member_(member) {}

Crew::~Crew() {
  if (team_ == nullptr) return;
  const Clock::time_point now = Clock::now();
  team_->debt = std::max(Clock::duration(), open_at_ - now);
  team_->last = now;
  team_->in_use.store(false, std::memory_order_release);
}

bool Crew::alone() {
  if (most_ == 1 || open_at_ > Clock::now()) return true;
  if (wakes_) return false;
  for (std::size_t k = 0; k + 1 < most_; ++k)
    if (team_->seats[k]->state.load(std::memory_order_relaxed) != State::asleep) return false;
  return true;
}

bool Crew::stopped() {
  if (whole_ != nullptr && member_ > 0) return whole_->stopped_.load(std::memory_order_relaxed);
  if (Interrupt::stopped()) (whole_ == nullptr ? this : whole_)->stopped_.store(true, std::memory_order_relaxed);
  return (whole_ == nullptr ? this : whole_)->stopped_.load(std::memory_order_relaxed);
}

void Crew::rouse(Seat& seat, Clock::time_point now) {
  if (seat.state.load(std::memory_order_relaxed) == State::asleep && may_wake(now)) team_->rouse(seat, State::waking);
}

// Not, for a while, where those who were woken did not come in time to help.
bool Crew::may_wake(Clock::time_point now) {
  if (!wakes_) return false;
  woke_ = woke_ || team_->waking == Clock::duration();
  if (woke_) return true;
  open_at_ = now + dearness * std::exchange(team_->waking, {});
  return false;
}

void Crew::run_together(Task task, const void* context) {
  const Clock::time_point start = Clock::now();
  std::size_t size = 1;
  awaited_ = false;
  for (std::size_t k = 0; k + 1 < most_ && start >= open_at_; ++k) {
    Seat& seat = *team_->seats[k];
    State found = State::waiting;
    if (seat.state.compare_exchange_strong(found, State::taken, std::memory_order_acq_rel)) {
      seat.id = size++;
    } else {
      rouse(seat, start);
      awaited_ = awaited_ || wakes_;
    }
  }
  Member caller(team_, 0, size, team_->round);
  for (std::size_t k = 0; k + 1 < most_ && size > 1; ++k) {
    Seat& seat = *team_->seats[k];
    if (seat.state.load(std::memory_order_relaxed) != State::taken) continue;
    seat.before = caller.round();
    seat.size = size;
    seat.task = task;
    seat.context = context;
    seat.state.store(State::called, std::memory_order_release);
  }
  task(context, caller);
  if (size == 1) return;
  team_->waking = {};
  team_->round = caller.round();
  for (std::size_t k = 0; k + 1 < most_; ++k) {
    const std::atomic<State>& state = team_->seats[k]->state;
    team_->waited += wait_until(team_->table, [&] { return state.load(std::memory_order_acquire) != State::called; });
  }
  account(start, Clock::now(), std::exchange(team_->waited, {}), size);
}

void Crew::run_side_by_side(Task task, const void* context) {
  const Clock::time_point start = Clock::now();
  std::size_t size = 1;
  for (std::size_t k = 0; k + 1 < most_ && start >= open_at_; ++k) {
    Seat& seat = *team_->seats[k];
    State found = seat.state.load(std::memory_order_relaxed);
    while (found != State::asleep && !seat.state.compare_exchange_weak(found, State::taken, std::memory_order_acq_rel)) {
    }
    if (found == State::asleep && !may_wake(start)) continue;
    seat.id = size++;
    seat.size = 1;
    seat.task = task;
    seat.context = context;
    if (found == State::asleep)
      team_->rouse(seat, State::invited);
    else
      seat.state.store(State::invited, std::memory_order_release);
  }
  Member caller;
  task(context, caller);
  if (size == 1) return;
  const Clock::time_point own = Clock::now();
  std::size_t too_late = 0;
  for (std::size_t k = 0; k + 1 < most_; ++k) {
    std::atomic<State>& state = team_->seats[k]->state;
    State found = State::invited;
    if (state.compare_exchange_strong(found, State::waking, std::memory_order_acq_rel)) {
      ++too_late;
      continue;
    }
    wait_until(team_->table, [&] { return stopped(), state.load(std::memory_order_acquire) != State::working; });
  }
  if (too_late + 1 < size) team_->waking = {};
  const Clock::time_point end = Clock::now();
  account(start, end, end - own, size);
}

// Alone it would have taken the caller's own part as many times as there are members.
void Crew::account(Clock::time_point start, Clock::time_point end, Clock::duration waited, std::size_t size) {
  const Clock::duration gained = (end - start - waited) * static_cast<Clock::rep>(size) - (end - start);
  Clock::duration& credit = team_->credit;
  credit = std::min<Clock::duration>(credit + (gained > Clock::duration() ? gained / certain : gained), most_credit);
  if (credit >= Clock::duration()) return;
  open_at_ = std::max(open_at_, end) - dearness * credit;
  credit = {};
}

}  // namespace fusedlstm
