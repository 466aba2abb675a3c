#include "crew.hpp"

#include <algorithm>
#include <utility>

#include "interrupt.hpp"
#include "team.hpp"

namespace fusedlstm {

namespace {

// Multiply-adds of a call that pays to wake a worker for: some 100 microseconds, twice what that takes.
constexpr double worth_waking = 5e6;
// What was lost is lost again once in so many times at most, or once in a second. Of the time without calls as much less
// counts as well, so that it is forgotten.
constexpr int dearness = 32;
constexpr std::chrono::seconds longest_debt(1);
// Of what a team gained, the part that may be lost before others are not asked, and at most how much.
constexpr int certain = 4;
constexpr std::chrono::milliseconds most_credit(5);

}  // namespace

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

void Crew::leave() {
  const Clock::time_point now = Clock::now();
  team_->debt = std::max(Clock::duration(), open_at_ - now);
  team_->last = now;
  team_->in_use.store(false, std::memory_order_release);
}

bool Crew::nobody_comes() const {
  if (open_at_ > Clock::now()) return true;
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
    wait_until(team_->table,
               [&] { return state.load(std::memory_order_acquire) != State::working || (stopped() && team_->gone); });
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
  open_at_ = std::min<Clock::time_point>(std::max(open_at_, end) - dearness * credit, end + longest_debt);
  credit = {};
}

}  // namespace fusedlstm
