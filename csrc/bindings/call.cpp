// class _core.Call: a program, called with the inputs of the whole model.
#include "call.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <utility>

using namespace fusedlstm;

namespace {

const py::detail::PyArray_Proxy* as_array(const py::handle& given) {
  return Py_TYPE(given.ptr()) == py::detail::npy_api::get().PyArray_Type_ ? py::detail::array_proxy(given.ptr()) : nullptr;
}

// Mostly one object; arrays that were pickled have types of their own.
bool is_type(PyObject* found, const py::dtype& wanted) {
  if (found == wanted.ptr()) return true;
  const auto type = py::reinterpret_borrow<py::dtype>(found);
  return type.num() == wanted.num() && type.byteorder() == wanted.byteorder();
}

// A run that is given back, whatever happens.
struct Taken {
  explicit Taken(const Program& of) : program(of), run(of.take()) {}
  ~Taken() { program.give_back(std::move(run)); }
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;
  const Program& program;
  std::unique_ptr<Program::Run> run;
};

}  // namespace

bool fits(const py::handle& given, const Model::Slot& slot) {
  const auto* const array = as_array(given);
  return array != nullptr && is_type(array->descr, slot.dtype) && (array->flags & whole) == whole &&
         static_cast<std::size_t>(array->nd) == slot.shape.size() &&
         std::equal(slot.shape.begin(), slot.shape.end(), array->dimensions);
}

py::array allocate(const Model::Slot& slot) {
  auto& numpy = py::detail::npy_api::get();
  PyObject* const made =
      numpy.PyArray_NewFromDescr_(numpy.PyArray_Type_, slot.dtype.inc_ref().ptr(), static_cast<int>(slot.shape.size()),
                                  reinterpret_cast<const Py_intptr_t*>(slot.shape.data()), nullptr, nullptr, 0, nullptr);
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::array>(made);
}

// Collects garbage now and then, which runs anything: nothing may have been looked at before.
py::tuple Model::make_outputs() const {
  py::tuple outputs(outputs_.size());
  for (std::size_t i = 0; i < outputs_.size(); ++i)
    PyTuple_SET_ITEM(outputs.ptr(), static_cast<py::ssize_t>(i), allocate(outputs_[i]).release().ptr());
  return outputs;
}

void Model::run_into(const py::tuple& outputs, std::vector<void*>& memory, std::vector<double>* spent) const {
  for (std::size_t i = 0; i < outputs_.size(); ++i)
    memory.push_back(py::detail::array_proxy(PyTuple_GET_ITEM(outputs.ptr(), static_cast<py::ssize_t>(i)))->data);
  const Taken taken(*program_);
  Program::Fault fault;
  release_for(
      [&] { fault = spent != nullptr ? program_->profile(*taken.run, memory, *spent) : program_->run(*taken.run, memory); });
  if (fault.what != nullptr) fail(fault);
}

py::tuple Model::run_with(const py::args& arrays, std::vector<double>* spent) const {
  if (arrays.size() != inputs_.size()) throw std::invalid_argument("run: expected another number of inputs");
  py::tuple outputs = make_outputs();
  std::vector<void*> memory;
  memory.reserve(this->arrays());
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const py::handle given = arrays[i];
    if (!py::isinstance<py::array>(given)) throw std::invalid_argument("run: expected arrays");
    const auto array = py::reinterpret_borrow<py::array>(given);
    if ((array.flags() & whole) != whole || !is_of(array, inputs_[i].element) ||
        static_cast<std::size_t>(array.ndim()) != inputs_[i].shape.size() ||
        !std::equal(inputs_[i].shape.begin(), inputs_[i].shape.end(), array.shape()))
      throw std::invalid_argument("run: expected a contiguous array of the planned type and shape");
    memory.push_back(const_cast<void*>(array.data()));
  }
  run_into(outputs, memory, spent);
  return outputs;
}

py::tuple Model::profile(const py::args& arrays) const {
  std::vector<double> spent(program_->steps());
  const py::tuple outputs = run_with(arrays, &spent);
  return py::make_tuple(outputs, spent);
}

namespace {

// What a model has been called with before fits most calls, and then nothing needs to be looked up, converted or said:
// whoever gets None says what was wrong, or makes another plan.
class ModelCall : public Initialised {
 public:
  // names: of the model's inputs; places: for each of them the program's input, or the array that the plan was made for.
  ModelCall(std::shared_ptr<Model> model, const py::tuple& names, const py::tuple& places) : model_(std::move(model)) {
    if (names.size() != places.size()) throw std::invalid_argument("places: expected one for each name");
    std::size_t planned = 0;
    for (std::size_t k = 0; k < names.size(); ++k) {
      Input one;
      one.name = py::reinterpret_borrow<py::str>(names[k]);
      if (!PyUnicode_Check(one.name.ptr())) throw std::invalid_argument("names: expected strings");
      if (PyLong_Check(places[k].ptr())) {
        one.place = places[k].cast<std::size_t>();
        if (one.place >= model_->inputs()) throw std::invalid_argument("places: expected inputs of the program");
        ++planned;
      } else {
        if (as_array(places[k]) == nullptr) throw std::invalid_argument("places: expected numbers or arrays");
        const py::array value = py::array(places[k]).attr("copy")();  // nobody else has it
        one.decided = value;
        one.slot = {Element::boolean, {value.shape(), value.shape() + value.ndim()}, 0, value.dtype()};
        one.slot.bytes = static_cast<std::size_t>(value.nbytes());
      }
      inputs_.push_back(std::move(one));
    }
    std::vector<bool> seen(model_->inputs());
    for (const Input& one : inputs_)
      if (!one.decided) seen[one.place] = true;
    if (planned != seen.size() || !std::all_of(seen.begin(), seen.end(), [](bool it) { return it; }))
      throw std::invalid_argument("places: expected every input of the program once");
  }

  py::object in_order(const py::tuple& given) const {
    if (given.size() != inputs_.size()) return py::none();
    return call([&](std::size_t k) { return PyTuple_GET_ITEM(given.ptr(), static_cast<py::ssize_t>(k)); });
  }
  py::object by_name(const py::dict& given) const {
    if (given.size() != inputs_.size()) return py::none();
    return call([&](std::size_t k) { return PyDict_GetItem(given.ptr(), inputs_[k].name.ptr()); });
  }

 private:
  struct Input {
    py::str name;
    std::size_t place = 0;
    std::optional<py::array> decided;
    Model::Slot slot;
  };

  // get: of each input what was given, which may run Python where it looks into a dict. So may making the outputs: what was
  // found to fit is looked at again behind it.
  template <class Get>
  py::object call(const Get& get) const {
    std::vector<py::object> given;
    given.reserve(inputs_.size());
    for (std::size_t k = 0; k < inputs_.size(); ++k) {
      given.push_back(py::reinterpret_borrow<py::object>(get(k)));
      if (!given.back()) return py::none();
    }
    std::vector<void*> memory(model_->inputs());
    memory.reserve(model_->arrays());
    if (!find(given, memory)) return py::none();
    py::tuple outputs = model_->make_outputs();
    if (!find(given, memory)) return py::none();
    model_->run_into(outputs, memory, nullptr);
    return std::move(outputs);
  }

  // Where the inputs lie, if they fit.
  bool find(const std::vector<py::object>& given, std::vector<void*>& memory) const {
    for (std::size_t k = 0; k < inputs_.size(); ++k) {
      const Input& input = inputs_[k];
      if (input.decided ? !same(input, given[k]) : !fits(given[k], model_->slot(input.place))) return false;
      if (!input.decided) memory[input.place] = as_array(given[k])->data;
    }
    return true;
  }

  static bool same(const Input& input, const py::handle& given) {
    if (PyLong_CheckExact(given.ptr()) && input.slot.shape.empty() &&
        py::isinstance<py::array_t<std::int64_t, 0>>(*input.decided)) {
      int over = 0;
      const long long value = PyLong_AsLongLongAndOverflow(given.ptr(), &over);
      return over == 0 && value == *static_cast<const std::int64_t*>(input.decided->data());
    }
    return fits(given, input.slot) && std::memcmp(as_array(given)->data, input.decided->data(), input.slot.bytes) == 0;
  }

  std::shared_ptr<Model> model_;
  std::vector<Input> inputs_;
};

}  // namespace

void bind_call(py::module_& module) {
  py::class_<ModelCall>(module, "Call",
                        "A program, called with the inputs of the whole model; None where they do not fit as they are.")
      .def(py::init([](std::shared_ptr<Model> model, const py::tuple& names, const py::tuple& places) {
             return ::new ModelCall(std::move(model), names, places);
           }),
           py::arg("program").none(false), py::arg("names"), py::arg("places"))
      .def("in_order", &ModelCall::in_order)
      .def("by_name", &ModelCall::by_name);
}
