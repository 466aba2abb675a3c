#include "team.hpp"

#include <new>
#include <system_error>
#include <utility>

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "../kernels/dispatch.hpp"
#include "fork.hpp"

namespace fusedlstm {

#if defined(__linux__)
Place Place::here() {
  Place found;
  found.cpu_ = sched_getcpu();
  found.thread_ = static_cast<pid_t>(syscall(SYS_gettid));
  return found;
}

void Place::avoid() const {
  cpu_set_t others;
  if (sched_getcpu() != cpu_ || sched_getaffinity(thread_, sizeof others, &others) != 0) return;
  CPU_CLR(static_cast<unsigned>(cpu_), &others);
  if (CPU_COUNT(&others) > 0) sched_setaffinity(0, sizeof others, &others);
}
#else
Place Place::here() { return {}; }
void Place::avoid() const {}
#endif

Team::Team() : table(kernels()) {}

std::size_t Team::gather(std::size_t most) {
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

void Team::rouse(Seat& seat, State state) {
  const Clock::time_point start = Clock::now();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    seat.state.store(state, std::memory_order_release);
    caller_ = Place::here();
  }
  wake_.notify_all();
  waking += Clock::now() - start;
}

void Team::work(Seat& seat) {
  table.enter_flush_to_zero();  // for good: what a caller sets is its own thread's alone
  sleep(seat);                  // a call that has little to share starts workers and wakes none
  for (Clock::duration stays = first_look;; stays = last_look) {
    look_out(seat, stays);
    State found = State::invited;
    if (seat.state.load(std::memory_order_acquire) == State::called ||
        seat.state.compare_exchange_strong(found, State::working, std::memory_order_acq_rel)) {
      Member member(this, seat.id, seat.size, seat.before);
      seat.task(seat.context, member);
      seat.state.store(State::waiting, std::memory_order_release);
    }
  }
}

void Team::look_out(Seat& seat, Clock::duration stays) {
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
    const State away = spent < stays ? State::waking : State::asleep;
    if (seat.state.compare_exchange_strong(found, away, std::memory_order_acq_rel) && away == State::asleep) {
      sleep(seat);
      start = Clock::now();
      stays = first_look;
    } else {
      std::this_thread::yield();
    }
  }
}

void Team::sleep(Seat& seat) {
  std::unique_lock<std::mutex> lock(mutex_);
  wake_.wait(lock, [&] { return seat.state.load(std::memory_order_acquire) != State::asleep; });
  const Place from = caller_;
  lock.unlock();
  from.avoid();
}

namespace {

// Never destroyed: workers may be asleep in it when the process ends. A forked child has none of the threads, so it
// starts over with a fresh team.
std::atomic<Team*> the_team{nullptr};

#if defined(FL_HAS_FORK)
// When the library is loaded: done at the first call, a fork of another thread could come in between.
[[maybe_unused]] const int at_fork = pthread_atfork(nullptr, nullptr, [] {
  if (Team* const before = the_team.exchange(nullptr, std::memory_order_acq_rel)) before->gone = true;
});
#endif

}  // namespace

Team& team() {
  Team* found = the_team.load(std::memory_order_acquire);
  if (found != nullptr) return *found;
  Team* fresh = new Team;
  if (the_team.compare_exchange_strong(found, fresh, std::memory_order_acq_rel)) return *fresh;
  delete fresh;
  return *found;
}

}  // namespace fusedlstm
