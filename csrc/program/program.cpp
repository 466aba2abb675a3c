#include "program.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <utility>

#include "../engine/interrupt.hpp"
#include "../kernels/dispatch.hpp"

namespace fusedlstm {

namespace {

// Denormals are zero in all steps, as in the kernels.
class FlushToZero {
 public:
  FlushToZero() : table_(kernels()), before_(table_.enter_flush_to_zero()) {}
  ~FlushToZero() { table_.leave_flush_to_zero(before_); }
  FlushToZero(const FlushToZero&) = delete;
  FlushToZero& operator=(const FlushToZero&) = delete;

 private:
  const KernelTable& table_;
  unsigned long long before_;
};

}  // namespace

Program::Program(std::size_t arena, std::size_t inputs, std::size_t outputs, std::vector<const void*> constants,
                 std::size_t threads)
    : arena_(arena), arrays_(inputs + outputs), threads_(threads), constants_(std::move(constants)) {
  idle_.reserve(most_idle);
}

void Program::add(std::unique_ptr<Step> step) {
  if (runs_) throw std::invalid_argument("program: expected all steps before the first run");
  scratch_ = std::max(scratch_, step->scratch());
  steps_.push_back(std::move(step));
}

Program::Run::Run(const Program& program, bool alone)
    : threads_(alone ? 1 : program.threads_),
      arena_(program.arena_ + cache_line),
      scratch_(program.scratch_ + cache_line),
      bases_(1 + program.arrays_) {
  program.runs_ = true;
  bases_[0] = arena_.chars();
  for (const void* constant : program.constants_) bases_.push_back(static_cast<char*>(const_cast<void*>(constant)));
  for (const std::unique_ptr<Step>& step : program.steps_) states_.push_back(step->state());
}

// Neither waits for the lock: after a fork, a thread that had it may be gone.
std::unique_ptr<Program::Run> Program::take() const {
  const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock() || idle_.empty()) return std::make_unique<Run>(*this);
  std::unique_ptr<Run> found = std::move(idle_.back());
  idle_.pop_back();
  return found;
}

void Program::give_back(std::unique_ptr<Run> run) const {
  const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (lock.owns_lock() && idle_.size() < idle_.capacity()) idle_.push_back(std::move(run));
}

void Program::forget() const {
  if (arena_ + scratch_ < large) return;
  const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (lock.owns_lock()) idle_.clear();
}

Program::Fault Program::run(Run& run, const std::vector<void*>& memory) const {
  for (std::size_t i = 0; i < arrays_; ++i) run.bases_[1 + i] = static_cast<char*>(memory[i]);
  Fault fault = {nullptr, 0};
  const Memory at = {run.bases_.data(), run.scratch_.chars(), &fault.what, run.threads_};
  const FlushToZero flush;
  const bool watched = Interrupt::watched();
  for (; fault.step < steps_.size(); ++fault.step) {
    steps_[fault.step]->run(at, run.states_[fault.step].get());
    if (watched && Interrupt::stopped()) fault.what = "the run was stopped";
    if (fault.what != nullptr) break;
  }
  return fault;
}

Program::Fault Program::profile(Run& run, const std::vector<void*>& memory, std::vector<double>& spent) const {
  using Clock = std::chrono::steady_clock;
  for (std::size_t i = 0; i < arrays_; ++i) run.bases_[1 + i] = static_cast<char*>(memory[i]);
  Fault fault = {nullptr, 0};
  const Memory at = {run.bases_.data(), run.scratch_.chars(), &fault.what, run.threads_};
  const FlushToZero flush;
  for (; fault.step < steps_.size(); ++fault.step) {
    const Clock::time_point before = Clock::now();
    steps_[fault.step]->run(at, run.states_[fault.step].get());
    spent[fault.step] += std::chrono::duration<double, std::nano>(Clock::now() - before).count();
    if (fault.what != nullptr) break;
  }
  return fault;
}

}  // namespace fusedlstm
