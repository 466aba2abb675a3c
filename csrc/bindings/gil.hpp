// Running without the GIL, and what becomes of a daemon thread that comes back when the interpreter is gone.
#pragma once
#include <Python.h>

#include <chrono>
#include <exception>
#include <thread>

// Such a thread may not go on. CPython ends it inside of PyEval_RestoreThread: from 3.14 on by letting it sleep, before that
// by pthread_exit, which unwinds the C++ above it and aborts the process at the first noexcept function, such as the
// destructor of py::gil_scoped_release. So the unwinding ends here, and the thread sleeps until the process is gone.
template <class Run>
void without_gil(const Run& run) {
  PyThreadState* const thread = PyEval_SaveThread();
  std::exception_ptr failed;
  try {
    run();
  } catch (...) {
    failed = std::current_exception();
  }
  try {
    PyEval_RestoreThread(thread);
  } catch (...) {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
  if (failed) std::rethrow_exception(failed);
}
