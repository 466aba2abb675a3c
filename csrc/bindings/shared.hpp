// What all programs of a stream share: its states, who is in it, and which of them may step.
#pragma once
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "../program/guard.hpp"
#include "../program/live.hpp"
#include "program.hpp"

[[noreturn]] inline void refuse(fusedlstm::Guard::Found found) {
  if (found == fusedlstm::Guard::Found::busy)
    throw std::runtime_error("stream: another thread is using it, and nothing was done");
  throw std::runtime_error(
      "stream: a thread of the process that this one was forked from was in it, so that its state is lost; call reset(), "
      "set state, or make a new stream");
}

struct Shared : fusedlstm::Guard, Initialised {
  struct Kind {
    fusedlstm::Element element;
    std::vector<py::ssize_t> shape;
  };
  explicit Shared(const std::vector<py::tuple>& said) {
    std::vector<std::size_t> bytes;
    for (const py::tuple& one : said) {
      const Model::Slot slot = Model::slot_from(one);
      kinds.push_back({slot.element, slot.shape});
      bytes.push_back(slot.bytes);
    }
    states = std::make_shared<fusedlstm::States>(bytes);
  }
  const Kind& kind(std::size_t state) const {
    if (state >= kinds.size()) throw std::invalid_argument("state: expected one of the stream");
    return kinds[state];
  }
  py::array get(std::size_t state) const {
    const Kind& one = kind(state);
    return py::array(Model::dtype_of(one.element), one.shape, states->now(state));
  }
  void set(std::size_t state, const py::array& value) const {
    if ((value.flags() & py::array::c_style) == 0 || !Model::is_of(value, kind(state).element) ||
        static_cast<std::size_t>(value.nbytes()) != states->bytes(state))
      throw std::invalid_argument("state: expected a contiguous array of its type and size");
    std::memcpy(states->now(state), value.data(), states->bytes(state));
  }

  std::vector<Kind> kinds;
  std::shared_ptr<fusedlstm::States> states;
  long long steps = 0;  // that were taken, where programs follow each other
  bool held = false;    // by Python, for several calls
  const void* current = nullptr;
};

struct Inside {
  explicit Inside(fusedlstm::Guard& of) : guard(of) {
    const fusedlstm::Guard::Found found = guard.enter();
    if (found != fusedlstm::Guard::Found::idle) refuse(found);
  }
  ~Inside() { guard.leave(); }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  fusedlstm::Guard& guard;
};
