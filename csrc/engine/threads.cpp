#include "threads.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

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

}  // namespace

std::size_t num_threads() { return thread_setting().load(std::memory_order_relaxed); }

void set_num_threads(std::size_t count) {
  if (count < 1 || count > 1024)
    throw std::invalid_argument("num_threads: expected a whole number from 1 to 1024, found " + std::to_string(count));
  thread_setting().store(count, std::memory_order_relaxed);
}

}  // namespace fusedlstm
