// class _core.Live: a program on memory of its own, which NumPy arrays look at.
#include "../program/live.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "../program/guard.hpp"
#include "call.hpp"

using namespace fusedlstm;

namespace {

[[noreturn]] void refuse(Guard::Found found) {
  if (found == Guard::Found::busy) throw std::runtime_error("stream: another thread is using it, and nothing was done");
  throw std::runtime_error(
      "stream: a thread of the process that this one was forked from was in it, so that its state is lost; call reset(), "
      "set state, or make a new stream");
}

// What Python holds of a guard, whether it has entered, and which program of a stream has its state.
struct Entrance : Guard, Initialised {
  bool held = false;
  const void* current = nullptr;
};

struct Inside {
  explicit Inside(Guard& of) : guard(of) {
    const Guard::Found found = guard.enter();
    if (found != Guard::Found::idle) refuse(found);
  }
  ~Inside() { guard.leave(); }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  Guard& guard;
};

// A model that is stepped on memory of its own. pairs: (input, output) of each state; overlaps: (input, count), elements at
// the end of its last axis that come again at the start; given, made: the inputs and outputs of a step.
class LiveModel : public Initialised {
 public:
  using Pairs = std::vector<std::pair<std::size_t, std::size_t>>;

  LiveModel(std::shared_ptr<Model> model, std::shared_ptr<Entrance> guard, const std::array<Pairs, 2>& kept,
            const std::array<std::vector<std::size_t>, 2>& moved)
      : model_(std::move(model)), guard_(std::move(guard)) {
    std::vector<std::size_t> sizes;
    for (std::size_t i = 0; i < model_->arrays(); ++i) sizes.push_back(model_->slot(i).bytes);
    std::vector<Live::Pair> states;
    for (const auto& [input, output] : kept[0]) {
      const std::size_t out = model_->inputs() + output;
      if (input >= model_->inputs() || output >= model_->arrays() - model_->inputs() ||
          model_->slot(input).element != model_->slot(out).element || model_->slot(input).shape != model_->slot(out).shape)
        throw std::invalid_argument("state: expected an input and an output of one type and shape");
      states.push_back({input, out});
    }
    std::vector<Live::Overlap> again;
    for (const auto& [input, count] : kept[1]) {
      const Model::Slot& slot = model_->slot(input);
      if (input >= model_->inputs() || slot.shape.empty() || count > static_cast<std::size_t>(slot.shape.back()))
        throw std::invalid_argument("context: expected less than the input's last axis");
      const std::size_t row = static_cast<std::size_t>(slot.shape.back()) * size_of(slot.element);
      again.push_back({input, row == 0 ? 0 : slot.bytes / row, row, count * size_of(slot.element)});
    }
    for (const std::size_t input : moved[0]) {
      const auto overlap = std::find_if(again.begin(), again.end(), [&](const auto& one) { return one.input == input; });
      const Model::Slot& slot = model_->slot(input);
      if (overlap != again.end()) {
        given_.push_back({input, overlap->rows, overlap->row_bytes, overlap->bytes});
      } else {
        given_.push_back({input, 1, slot.bytes, 0});
      }
    }
    for (const std::size_t output : moved[1]) {
      model_->slot(model_->inputs() + output);
      made_.push_back(model_->inputs() + output);
    }
    live_ = std::make_unique<Live>(model_->program(), sizes, std::move(states), std::move(again));
  }

  // New outputs; None where the arrays do not fit as they are, or the state is elsewhere.
  py::object step(const py::tuple& arrays) const {
    if (!fit(arrays)) return py::none();
    py::tuple found(made_.size());
    for (std::size_t k = 0; k < made_.size(); ++k) found[k] = allocate(model_->slot(made_[k]));
    const Inside inside(*guard_);
    // Garbage was collected perhaps, which may have done anything to the arrays; another thread may have gone on elsewhere.
    if (!fit(arrays) || guard_->current != this) return py::none();
    for (std::size_t k = 0; k < given_.size(); ++k) {
      const Live::Overlap& one = given_[k];
      const auto* from = static_cast<const char*>(py::reinterpret_borrow<py::array>(arrays[k]).data());
      const std::size_t bytes = one.row_bytes - one.bytes;
      for (std::size_t row = 0; row < one.rows; ++row)
        std::memcpy(live_->at(one.input) + row * one.row_bytes + one.bytes, from + row * bytes, bytes);
    }
    advance();
    for (std::size_t k = 0; k < made_.size(); ++k)
      std::memcpy(py::reinterpret_borrow<py::array>(found[k]).mutable_data(), live_->at(made_[k]),
                  model_->slot(made_[k]).bytes);
    return std::move(found);
  }

  // From and to its own memory.
  void step_in_place() const {
    const Inside inside(*guard_);
    if (guard_->current != this) refuse(Guard::Found::busy);
    advance();
  }

  // An array that looks at the memory, which lives as long as it does. Not for states: they move.
  static py::array array(const py::object& self, std::size_t index) {
    auto& live = self.cast<LiveModel&>();
    const Model::Slot& slot = live.model_->slot(index);
    return py::array(Model::dtype_of(slot.element), slot.shape, live.live_->at(index), self);
  }
  py::array state(std::size_t index) const {
    const Model::Slot& slot = model_->slot(index);
    return py::array(Model::dtype_of(slot.element), slot.shape, live_->at(index));
  }
  void set_state(std::size_t index, const py::array& value) {
    const Model::Slot& slot = model_->slot(index);
    if ((value.flags() & py::array::c_style) == 0 || !Model::is_of(value, slot.element) ||
        static_cast<std::size_t>(value.nbytes()) != slot.bytes)
      throw std::invalid_argument("state: expected a contiguous array of its type and size");
    std::memcpy(live_->at(index), value.data(), slot.bytes);
  }

  // From now on it has the state; nobody else may be in the guard.
  void take_over() const { guard_->current = this; }

 private:
  bool fit(const py::tuple& arrays) const {
    if (arrays.size() != given_.size()) return false;
    for (std::size_t k = 0; k < given_.size(); ++k) {
      const Model::Slot& slot = model_->slot(given_[k].input);
      const py::ssize_t before = static_cast<py::ssize_t>(given_[k].bytes / size_of(slot.element));
      if (!fits(arrays[k], slot, slot.shape.empty() ? 0 : slot.shape.back() - before)) return false;
    }
    return true;
  }

  void advance() const {
    Program::Fault fault = {};
    model_->release_for([&] { fault = live_->step(); });
    if (fault.what != nullptr) model_->fail(fault);
  }

  std::shared_ptr<Model> model_;
  std::shared_ptr<Entrance> guard_;
  std::unique_ptr<Live> live_;
  std::vector<Live::Overlap> given_;
  std::vector<std::size_t> made_;
};

}  // namespace

void bind_live(py::module_& module) {
  py::class_<Entrance, std::shared_ptr<Entrance>>(module, "Guard", "Lets one thread at a time into a stream.")
      .def(py::init([] { return std::shared_ptr<Entrance>(::new Entrance()); }))
      .def("__enter__",
           [](Entrance& self) {
             const Guard::Found found = self.enter();
             if (found != Guard::Found::idle) refuse(found);
             self.held = true;
           })
      .def("__exit__",
           [](Entrance& self, const py::args&) {
             if (std::exchange(self.held, false)) self.leave();
           })
      .def("mend", [](Entrance& self) { self.mend(); }, "Let others in again after a fork; for who sets the whole state.");
  using Counts = std::vector<std::size_t>;
  py::class_<LiveModel>(module, "Live", "A program that is stepped on memory of its own.")
      .def(py::init([](std::shared_ptr<Model> model, std::shared_ptr<Entrance> guard, const LiveModel::Pairs& pairs,
                       const LiveModel::Pairs& overlaps, const Counts& given, const Counts& made) {
             return ::new LiveModel(std::move(model), std::move(guard), {pairs, overlaps}, {given, made});
           }),
           py::arg("program").none(false), py::arg("guard").none(false), py::arg("pairs"), py::arg("overlaps"),
           py::arg("given"), py::arg("made"))
      .def("step", &LiveModel::step, "New outputs for new inputs; None where they do not fit as they are.")
      .def("step_in_place", &LiveModel::step_in_place, "The same with its own memory.")
      .def("array", &LiveModel::array, "What an input or output holds, shared.")
      .def("state", &LiveModel::state, "A copy of a state; nobody may step meanwhile.")
      .def("set_state", &LiveModel::set_state)
      .def("take_over", &LiveModel::take_over, "It has the state of the stream from now on; others do not step.");
}
