#include "team.hpp"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "fork.hpp"

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
// milliseconds, while that thread spins at the first barrier: calls after a pause were three times slower than alone. So
// a worker that finds itself there moves to the other CPUs that the caller may use.
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

struct Team {
  std::mutex in_use;  // held by the call that has the team

  std::mutex mutex;
  std::condition_variable wake, done;
  unsigned long long call = 0;  // rises with each call; workers sleep until it does
  std::size_t size = 1, running = 0, workers = 0;
  void (*task)(const void*, std::size_t) = nullptr;
  const void* context = nullptr;
  Place caller;

  // Starts the workers that `wanted` members need, or as many as can be had, and says how many members that makes.
  std::size_t gather(std::size_t wanted) {
    std::lock_guard<std::mutex> lock(mutex);
    try {
      for (; workers < wanted - 1; ++workers)
        std::thread([this, member = workers + 1, seen = call] { work(member, seen); }).detach();
    } catch (const std::system_error&) {  // no more threads, or no memory for one: the next call asks again
    } catch (const std::bad_alloc&) {
    }
    return std::min(wanted, workers + 1);
  }

  void work(std::size_t member, unsigned long long seen) {
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      wake.wait(lock, [&] { return call != seen; });
      seen = call;
      if (member >= size) continue;
      const Place from = caller;
      lock.unlock();
      from.avoid();
      task(context, member);
      lock.lock();
      if (--running == 0) done.notify_one();
    }
  }
};

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

TeamLease::TeamLease(std::size_t wanted) {
  if (wanted <= 1) return;
  Team& shared = team();
  std::unique_lock<std::mutex> in_use(shared.in_use, std::try_to_lock);
  if (!in_use.owns_lock()) return;
  size_ = shared.gather(wanted);
  if (size_ > 1) in_use_ = std::move(in_use);
}

void TeamLease::start(Task task, const void* context) {
  if (size_ == 1) return task(context, 0);
  Team& shared = team();
  {
    std::lock_guard<std::mutex> lock(shared.mutex);
    shared.task = task;
    shared.context = context;
    shared.caller = Place::here();
    shared.size = size_;
    shared.running = size_ - 1;
    ++shared.call;
  }
  shared.wake.notify_all();
  task(context, 0);
  std::unique_lock<std::mutex> lock(shared.mutex);
  shared.done.wait(lock, [&] { return shared.running == 0; });
}

void Barrier::give_way() { std::this_thread::yield(); }

}  // namespace fusedlstm
