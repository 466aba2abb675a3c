// A thread cannot be started, once: a call goes on with those there are, and the next one has its team.
#include <dlfcn.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <new>
#include <thread>

#include "../../csrc/engine/crew.hpp"

namespace {

bool no_threads = false, no_memory = false;

// How many a crew says there may be; 0 if, in half a minute, not as many come as there are CPUs for.
std::size_t members(std::size_t wanted) {
  using Clock = std::chrono::steady_clock;
  fusedlstm::Crew crew(wanted, 1e9);
  const Clock::time_point end = Clock::now() + std::chrono::seconds(30);
  const std::size_t enough = std::min<std::size_t>(crew.most(), std::max(1u, std::thread::hardware_concurrency()));
  std::atomic<std::size_t> count{0};
  while (count < enough && Clock::now() < end) {
    count = 0;
    crew.together([&](fusedlstm::Member& member) {
      ++count;
      member.meet();
    });
  }
  return count >= enough ? crew.most() : 0;
}

}  // namespace

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*), void* argument) {
  if (no_threads) return EAGAIN;
  static const auto real = reinterpret_cast<decltype(&pthread_create)>(dlsym(RTLD_NEXT, "pthread_create"));
  return real(thread, attributes, run, argument);
}

void* operator new(std::size_t size) {
  if (no_memory) throw std::bad_alloc();
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

// Prints the sizes of teams: without, then with what is missing.
int main() {
  std::size_t wanted = 2;
  for (bool* missing : {&no_threads, &no_memory, &no_threads}) {
    *missing = true;
    const std::size_t without = members(wanted);
    *missing = false;
    std::printf("%zu %zu\n", without, members(wanted));
    wanted += 2;
  }
  std::fflush(stdout);
  std::_Exit(0);
}
