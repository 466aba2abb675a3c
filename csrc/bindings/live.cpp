// class _core.Live: a program on memory of its own, which NumPy arrays look at.
#include "../program/live.hpp"
#include "../capi/capi.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <utility>

#include "call.hpp"
#include "live.hpp"
#include "shared.hpp"

using namespace fusedlstm;

// A model that is stepped on memory of its own. pairs: (input, output, state); overlaps: (input, count), elements at the end
// of its last axis that come again at the start; given, made: the inputs and outputs of a step; steps: how many it takes, if
// another program comes after it, else 0.
class LiveModel : public Initialised {
 public:
  struct Kept {
    std::vector<std::array<std::size_t, 3>> pairs;
    std::vector<std::array<std::size_t, 2>> overlaps;
  };

  LiveModel(std::shared_ptr<Model> model, std::shared_ptr<Shared> shared, const Kept& kept,
            const std::array<std::vector<std::size_t>, 2>& moved, long long steps)
      : model_(std::move(model)), shared_(std::move(shared)), steps_(steps) {
    std::vector<std::size_t> sizes;
    for (std::size_t i = 0; i < model_->arrays(); ++i) sizes.push_back(model_->slot(i).bytes);
    std::vector<Live::Pair> states;
    for (const auto& [input, output, state] : kept.pairs) {
      const std::size_t out = model_->inputs() + output;
      const Shared::Kind& kind = shared_->kind(state);
      for (const std::size_t array : {input, out})
        if (model_->slot(array).element != kind.element || model_->slot(array).shape != kind.shape)
          throw std::invalid_argument("state: expected an input and an output of its type and shape");
      if (input >= model_->inputs()) throw std::invalid_argument("state: expected an input and an output");
      states.push_back({input, out, state});
    }
    std::vector<Live::Overlap> again;
    for (const auto& [input, count] : kept.overlaps) {
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
    live_ = std::make_unique<Live>(model_->program(), shared_->states, sizes, states, again);
    template_.program = model_->program();
    for (std::size_t state = 0; state < shared_->kinds.size(); ++state)
      template_.state_bytes.push_back(shared_->states->bytes(state));
    template_.sizes = std::move(sizes);
    template_.pairs = std::move(states);
    template_.overlaps = std::move(again);
    Form own;
    for (const Live::Overlap& one : given_) {
      expect_place(one.input);
      own.given.push_back(model_->slot(one.input));
      if (one.bytes > 0)
        own.given.back().shape.back() -= static_cast<py::ssize_t>(one.bytes / size_of(own.given.back().element));
    }
    for (const std::size_t array : made_) {
      expect_place(array);
      own.made.push_back(model_->slot(array));
    }
    forms_.push_back(std::move(own));
  }

  // The same arrays may come in several shapes, and the outputs then have others. Before the first step.
  using Shapes = std::vector<std::vector<py::ssize_t>>;
  void set_forms(const std::vector<std::pair<Shapes, Shapes>>& forms) {
    std::vector<Form> found;
    for (const auto& [given, made] : forms) {
      found.push_back(forms_.front());
      reshape(found.back().given, given);
      reshape(found.back().made, made);
    }
    if (found.empty()) throw std::invalid_argument("form: expected one or more");
    forms_ = std::move(found);
  }

  // New outputs; None where the arrays do not fit as they are, or the state is elsewhere. held: the caller is in already.
  py::object step(const py::tuple& arrays, bool held = false) const {
    const Form* const form = form_of(arrays);
    if (form == nullptr) return py::none();
    py::tuple found(made_.size());
    for (std::size_t k = 0; k < made_.size(); ++k) found[k] = allocate(form->made[k]);
    std::optional<Inside> inside;
    if (!held) inside.emplace(*shared_);
    if (held && !shared_->held) throw std::invalid_argument("step: expected a caller who is in the stream");
    // Garbage was collected perhaps, which may have done anything to the arrays; another thread may have gone on elsewhere.
    if (!form->fit(arrays) || shared_->current != this) return py::none();
    take(arrays);
    advance();
    for (std::size_t k = 0; k < made_.size(); ++k)
      std::memcpy(py::reinterpret_borrow<py::array>(found[k]).mutable_data(), live_->at(made_[k]),
                  model_->slot(made_[k]).bytes);
    return std::move(found);
  }

  // From and to its own memory.
  void step_in_place() const {
    const Inside inside(*shared_);
    if (shared_->current != this) refuse(Guard::Found::busy);
    advance();
  }

  // An array that looks at the memory, which lives as long as it does. Not for states: they move.
  static py::array array(const py::object& self, std::size_t index) {
    auto& live = self.cast<LiveModel&>();
    const Model::Slot& slot = live.model_->slot(index);
    live.expect_place(index);
    return py::array(Model::dtype_of(slot.element), slot.shape, live.live_->at(index), self);
  }

  // For C: streams that start from where this one is now.
  std::uintptr_t handle() {
    const Inside inside(*shared_);
    // What stays the same is said once: C may open streams, and step them, while the handle is asked for again.
    if (!std::exchange(told_, true)) tell();
    std::vector<char> state(live_->kept_bytes());
    live_->save(state.data());
    template_.keep(std::move(state));
    return reinterpret_cast<std::uintptr_t>(fusedlstm::handle(template_));
  }

  // From now on it has the state; nobody else may be in the guard.
  void take_over() const { shared_->current = this; }

 private:
  void tell() {
    template_.given = given_;
    template_.made = made_;
    for (std::size_t input = 0; input < model_->inputs(); ++input) {
      const auto is_this = [&](const Live::Overlap& one) { return one.input == input; };
      if (live_->is_state(input) || std::any_of(given_.begin(), given_.end(), is_this)) continue;
      const char* const at = live_->at(input);
      template_.fixed.emplace_back(input, std::vector<char>(at, at + template_.sizes[input]));
    }
  }

  void expect_place(std::size_t array) const {
    if (live_->is_state(array)) throw std::invalid_argument("expected an array that is no state");
  }

  // What is given goes to its places; it may itself be a view of one of them.
  void take(const py::tuple& arrays) const {
    const auto data = [&](std::size_t k) {
      return static_cast<const char*>(py::reinterpret_borrow<py::array>(arrays[k]).data());
    };
    const auto size = [&](std::size_t k) { return given_[k].rows * (given_[k].row_bytes - given_[k].bytes); };
    const auto meets = [&](std::size_t k, const Live::Overlap& place) {
      const char* const start = live_->at(place.input);
      return std::less<>()(data(k), start + place.rows * place.row_bytes) && std::less<>()(start, data(k) + size(k));
    };
    std::vector<std::vector<char>> copies;  // of views, where there are any
    for (std::size_t k = 0; k < given_.size(); ++k)
      if (std::any_of(given_.begin(), given_.end(), [&](const Live::Overlap& one) { return meets(k, one); })) {
        copies.resize(given_.size());
        copies[k].assign(data(k), data(k) + size(k));
      }
    for (std::size_t k = 0; k < given_.size(); ++k) {
      const Live::Overlap& one = given_[k];
      const char* const from = copies.empty() || copies[k].empty() ? data(k) : copies[k].data();
      const std::size_t bytes = one.row_bytes - one.bytes;
      for (std::size_t row = 0; row < one.rows; ++row)
        std::memcpy(live_->at(one.input) + row * one.row_bytes + one.bytes, from + row * bytes, bytes);
    }
  }

  // Shapes of what is given and made.
  struct Form {
    std::vector<Model::Slot> given, made;
    bool fit(const py::tuple& arrays) const {
      if (arrays.size() != given.size()) return false;
      for (std::size_t k = 0; k < given.size(); ++k)
        if (!fits(arrays[k], given[k])) return false;
      return true;
    }
  };
  const Form* form_of(const py::tuple& arrays) const {
    for (const Form& one : forms_)
      if (one.fit(arrays)) return &one;
    return nullptr;
  }
  static void reshape(std::vector<Model::Slot>& slots, const Shapes& shapes) {
    if (shapes.size() != slots.size()) throw std::invalid_argument("form: expected a shape for each array");
    const auto count = [](const std::vector<py::ssize_t>& shape) {
      return std::accumulate(shape.begin(), shape.end(), py::ssize_t{1}, std::multiplies<py::ssize_t>());
    };
    for (std::size_t k = 0; k < slots.size(); ++k) {
      if (shapes[k].size() > 64 || count(shapes[k]) != count(slots[k].shape))
        throw std::invalid_argument("form: expected as many elements");
      slots[k].shape = shapes[k];
    }
  }

  void advance() const {
    Program::Fault fault = {};
    model_->release_for([&] { fault = live_->step(); }, 8);
    if (fault.what != nullptr) model_->fail(fault);
    if (steps_ > 0) {
      shared_->steps += steps_;
      shared_->current = nullptr;
    }
  }

  std::shared_ptr<Model> model_;
  std::shared_ptr<Shared> shared_;
  long long steps_;
  std::unique_ptr<Live> live_;
  LiveTemplate template_;
  bool told_ = false;  // whether the template has all that stays the same
  std::vector<Live::Overlap> given_;
  std::vector<std::size_t> made_;
  std::vector<Form> forms_;
};

const LiveModel& live_from(const py::handle& object) { return object.cast<const LiveModel&>(); }
py::object step_on(const LiveModel& live, const py::tuple& arrays) { return live.step(arrays); }
void step_in_place(const LiveModel& live) { live.step_in_place(); }

void bind_live(py::module_& module) {
  py::class_<Shared, std::shared_ptr<Shared>>(module, "States", "What a stream keeps; as a context: one thread is in it.")
      .def(py::init([](const std::vector<py::tuple>& kinds) { return std::shared_ptr<Shared>(::new Shared(kinds)); }),
           py::arg("kinds"))
      .def("__enter__",
           [](Shared& self) {
             const Guard::Found found = self.enter();
             if (found != Guard::Found::idle) refuse(found);
             self.held = true;
           })
      .def("__exit__",
           [](Shared& self, const py::args&) {
             if (std::exchange(self.held, false)) self.leave();
           })
      .def(
          "let_go", [](Shared& self) { self.current = nullptr; }, "No program may step until one takes over.")
      .def(
          "mend", [](Shared& self) { self.mend(); }, "Let others in again after a fork; for who sets the whole state.")
      .def("get", &Shared::get, "A copy of a state; nobody may step meanwhile.")
      .def("set", &Shared::set)
      .def_readwrite("steps", &Shared::steps, "How many were taken, where programs follow each other.");
  using Counts = std::vector<std::size_t>;
  py::class_<LiveModel>(module, "Live", "A program that is stepped on memory of its own.")
      .def(py::init([](std::shared_ptr<Model> model, std::shared_ptr<Shared> states, decltype(LiveModel::Kept::pairs) pairs,
                       decltype(LiveModel::Kept::overlaps) overlaps, const Counts& given, const Counts& made,
                       long long steps) {
             return ::new LiveModel(std::move(model), std::move(states), {std::move(pairs), std::move(overlaps)},
                                    {given, made}, steps);
           }),
           py::arg("program").none(false), py::arg("states").none(false), py::arg("pairs"), py::arg("overlaps"),
           py::arg("given"), py::arg("made"), py::arg("steps") = 0)
      .def("step", &LiveModel::step, py::arg("arrays"), py::arg("held") = false,
           "New outputs for new inputs; None where they do not fit as they are.")
      .def("step_in_place", &LiveModel::step_in_place, "The same with its own memory.")
      .def("array", &LiveModel::array, "What an input or output holds, shared.")
      .def("set_forms", &LiveModel::set_forms, py::arg("forms"), "The shapes that steps come and go in.")
      .def("handle", &LiveModel::handle, "The address that capi.h takes; valid while this object lives.")
      .def("take_over", &LiveModel::take_over, "It may step from now on, and no other program of the stream.");
}
