#include "gil.hpp"

#include <pybind11/pybind11.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <optional>
#include <thread>

#include "../engine/fork.hpp"
#include "../engine/interrupt.hpp"

namespace py = pybind11;

namespace {

// The one that Python runs handlers of signals on: it imports us first, or is told when it is known.
std::atomic<unsigned long> main_thread{0};
std::atomic<unsigned> forks{0};

#if defined(FL_HAS_FORK)
[[maybe_unused]] const int at_fork = pthread_atfork(nullptr, nullptr, [] {
  main_thread.store(PyThread_get_thread_ident());
  ++forks;
});
#endif

// Such a thread may not go on. CPython ends it inside of PyEval_RestoreThread: from 3.14 on by letting it sleep, before that
// by pthread_exit, which unwinds the C++ above it and aborts the process at the first noexcept function, such as the
// destructor of py::gil_scoped_release. So the unwinding ends here, and the thread sleeps until the process is gone.
void take_gil(PyThreadState* thread) {
  try {
    PyEval_RestoreThread(thread);
  } catch (...) {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
}

// Ctrl-C while the engine works.
class Signals : public fusedlstm::Interrupt {
 public:
  explicit Signals(PyThreadState* thread) : thread_(thread) {}

 private:
  bool asked() override {
    take_gil(thread_);
    const unsigned before = forks;
    bool raised = PyErr_CheckSignals() != 0;  // the error waits in the thread's state
    if (!raised && forks != before) {         // those who share this call are not here
      PyErr_SetString(PyExc_RuntimeError, "a handler forked in the middle of a call, which the child cannot finish");
      raised = true;
    }
    PyEval_SaveThread();
    return raised;
  }
  PyThreadState* const thread_;
};

}  // namespace

void find_main_thread() {
  main_thread.store(py::module_::import("threading").attr("main_thread")().attr("ident").cast<unsigned long>());
}

void run_without_gil(void (*run)(const void*), const void* context) {
  PyThreadState* const thread = PyEval_SaveThread();
  std::exception_ptr failed;
  try {
    std::optional<Signals> signals;
    if (PyThread_get_thread_ident() == main_thread.load(std::memory_order_relaxed)) signals.emplace(thread);
    run(context);
  } catch (...) {
    failed = std::current_exception();
  }
  take_gil(thread);
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();
  if (failed) std::rethrow_exception(failed);
}

int c_without_gil(int (*run)(const void*), const void* context) noexcept {
  int status = -1;
  try {
    without_gil([&] { status = run(context); });
  } catch (py::error_already_set& error) {
    error.restore();
    return -1;
  } catch (...) {
    PyErr_SetString(PyExc_RuntimeError, "the call failed");
    return -1;
  }
  return status;
}
