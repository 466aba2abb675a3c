// What streams of all kinds share: tables of handles, and a status for whatever happens.
#pragma once
#include <memory>
#include <new>
#include <stdexcept>

#include "../capi.h"
#include "../engine/fork.hpp"
#include "handles.hpp"

namespace fusedlstm {

// Made when the library is loaded, never destroyed: threads may be in streams when the process ends.
template <class T>
Handles<T>& made_at_load() {
  static Handles<T>& made = *new Handles<T>;
#if defined(FL_HAS_FORK)
  pthread_atfork([] { made.before_fork(); }, [] { made.after_fork(); }, [] { made.after_fork_in_child(); });
#endif
  return made;
}

inline int status_of(Found found) {
  switch (found) {
    case Found::idle:
      return FUSEDLSTM_OK;
    case Found::busy:
      return FUSEDLSTM_BUSY;
    case Found::torn:
      return FUSEDLSTM_TORN;
    case Found::closed:
      break;
  }
  return FUSEDLSTM_CLOSED;
}

template <class Run>
int guarded(Run run) noexcept {
  try {
    run();
  } catch (const std::bad_alloc&) {
    return FUSEDLSTM_NO_MEMORY;
  } catch (const std::length_error&) {  // the standard library's word for more memory than there can be
    return FUSEDLSTM_NO_MEMORY;
  } catch (...) {
    return FUSEDLSTM_INVALID;
  }
  return FUSEDLSTM_OK;
}

// run(object), unless another thread is in it.
template <class T, class Run>
int alone(Handles<T>& all, const void* handle, Run run, bool mends = false) noexcept {
  const auto number = reinterpret_cast<std::uintptr_t>(handle);
  T* one = nullptr;
  if (const Found found = all.take(number, &one, mends); found != Found::idle) return status_of(found);
  const int status = guarded([&] { run(*one); });
  all.leave(number);
  return status;
}

// Hand out a handle for an object.
template <class T, class Handle>
int adopt(Handles<T>& all, std::unique_ptr<T> one, Handle** handle) noexcept {
  return guarded([&] { *handle = reinterpret_cast<Handle*>(all.open(std::move(one))); });
}

}  // namespace fusedlstm
