// Running without the GIL: Ctrl-C, and what becomes of a daemon thread that comes back when the interpreter is gone.
#pragma once
#include <Python.h>

// Run something without the GIL, for as long as it takes. On the main thread handlers of signals run meanwhile, as between
// two instructions of Python; if one raises, what was begun is stopped and py::error_already_set thrown.
void run_without_gil(void (*run)(const void*), const void* context);

template <class Run>
void without_gil(const Run& run) {
  run_without_gil([](const void* context) { (*static_cast<const Run*>(context))(); }, &run);
}

// The same for C: -1 with Python's error set where a handler raised, else what `run` returned.
int c_without_gil(int (*run)(const void*), const void* context) noexcept;
