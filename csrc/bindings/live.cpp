// class _core.Live: a program on memory of its own, which NumPy arrays look at.
#include "../program/live.hpp"

#include <pybind11/stl.h>

#include <cstring>
#include <stdexcept>
#include <utility>

#include "gil.hpp"
#include "program.hpp"

using namespace fusedlstm;

namespace {

// A model that is stepped on memory of its own. pairs: (input, output) of each state; overlaps: (input, count), elements at
// the end of its last axis that come again at the start.
class LiveModel : public Initialised {
 public:
  LiveModel(std::shared_ptr<Model> model, const std::vector<std::pair<std::size_t, std::size_t>>& pairs,
            const std::vector<std::pair<std::size_t, std::size_t>>& overlaps)
      : model_(std::move(model)) {
    std::vector<std::size_t> sizes;
    for (std::size_t i = 0; i < model_->arrays(); ++i) sizes.push_back(model_->slot(i).bytes);
    std::vector<Live::Pair> states;
    for (const auto& [input, output] : pairs) {
      const std::size_t out = model_->inputs() + output;
      if (input >= model_->inputs() || model_->slot(input).element != model_->slot(out).element ||
          model_->slot(input).shape != model_->slot(out).shape)
        throw std::invalid_argument("state: expected an input and an output of one type and shape");
      states.push_back({input, out});
    }
    std::vector<Live::Overlap> again;
    for (const auto& [input, count] : overlaps) {
      const Model::Slot& slot = model_->slot(input);
      if (input >= model_->inputs() || slot.shape.empty() || count > static_cast<std::size_t>(slot.shape.back()))
        throw std::invalid_argument("context: expected less than the input's last axis");
      const std::size_t row = static_cast<std::size_t>(slot.shape.back()) * size_of(slot.element);
      again.push_back({input, row == 0 ? 0 : slot.bytes / row, row, count * size_of(slot.element)});
    }
    live_ = std::make_unique<Live>(model_->program(), sizes, std::move(states), std::move(again));
  }

  void step(bool release) {
    Program::Fault fault = {};
    if (release) {
      without_gil([&] { fault = live_->step(); });
    } else {
      fault = live_->step();
    }
    if (fault.what == Live::busy) throw std::runtime_error(fault.what);
    if (fault.what != nullptr) model_->fail(fault);
  }

  // An array that looks at the memory, which lives as long as it does. Not for states: they move.
  static py::array array(const py::object& self, std::size_t index) {
    auto& live = self.cast<LiveModel&>();
    const Model::Slot& slot = live.model_->slot(index);
    return py::array(Model::dtype_of(slot.element), slot.shape, live.live_->at(index), self);
  }
  py::array state(std::size_t index) const {
    const Model::Slot& slot = model_->slot(index);
    const Inside inside(*live_);
    return py::array(Model::dtype_of(slot.element), slot.shape, live_->at(index));
  }
  void set_state(std::size_t index, const py::array& value) {
    const Model::Slot& slot = model_->slot(index);
    if ((value.flags() & py::array::c_style) == 0 || !Model::is_of(value, slot.element) ||
        static_cast<std::size_t>(value.nbytes()) != slot.bytes)
      throw std::invalid_argument("state: expected a contiguous array of its type and size");
    const Inside inside(*live_);
    std::memcpy(live_->at(index), value.data(), slot.bytes);
  }

 private:
  struct Inside {
    explicit Inside(Live& of) : live(of) {
      if (!live.enter()) throw std::runtime_error(Live::busy);
    }
    ~Inside() { live.leave(); }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;
    Live& live;
  };

  std::shared_ptr<Model> model_;
  std::unique_ptr<Live> live_;
};

}  // namespace

void bind_live(py::module_& module) {
  using Pairs = std::vector<std::pair<std::size_t, std::size_t>>;
  py::class_<LiveModel>(module, "Live", "A program that is stepped on memory of its own.")
      .def(py::init([](std::shared_ptr<Model> model, const Pairs& pairs, const Pairs& overlaps) {
             return ::new LiveModel(std::move(model), pairs, overlaps);
           }),
           py::arg("program").none(false), py::arg("pairs"), py::arg("overlaps"))
      .def("step", &LiveModel::step, py::arg("release"))
      .def("array", &LiveModel::array, "What an input or output holds, shared.")
      .def("state", &LiveModel::state, "A copy of a state.")
      .def("set_state", &LiveModel::set_state);
}
