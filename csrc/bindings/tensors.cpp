// class _core.TensorType.
#include "tensors.hpp"

#include <pybind11/numpy.h>

#include <algorithm>
#include <new>
#include <stdexcept>
#include <utility>

namespace tensors {

namespace {

constexpr std::int32_t this_machine = 1;  // a device
constexpr std::uint8_t floating = 2;      // a kind of numbers

}  // namespace

bool Floats::has_shape(std::initializer_list<std::int64_t> wanted) const {
  return static_cast<std::size_t>(rank) == wanted.size() && std::equal(wanted.begin(), wanted.end(), shape);
}

bool Floats::contiguous() const {
  std::int64_t expected = 1;
  for (int axis = rank - 1; axis >= 0; --axis) {
    if (shape[axis] > 1 && strides[axis] != expected) return false;
    expected *= shape[axis];
  }
  return true;
}

Type::Type(const py::type& type) : type_(type) {
  const py::object capsule = py::getattr(type, "__dlpack_c_exchange_api__", py::none());
  if (!PyCapsule_IsValid(capsule.ptr(), "dlpack_exchange_api"))
    throw std::invalid_argument("type: expected one whose tensors are exchanged in C (__dlpack_c_exchange_api__)");
  exchange_ = static_cast<const Exchange*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
  while (exchange_ != nullptr && exchange_->version.major != 1) exchange_ = exchange_->older;
  if (exchange_ == nullptr || exchange_->look == nullptr) throw std::invalid_argument("type: expected DLPack 1");
  if (py::hasattr(type, "is_neg")) negated_ = type.attr("is_neg");
}

bool Type::negated(const py::handle& tensor) const {
  if (!negated_) return false;
  const auto answer = py::reinterpret_steal<py::object>(PyObject_CallOneArg(negated_.ptr(), tensor.ptr()));
  if (!answer) PyErr_Clear();  // whoever asks does without
  return answer.ptr() != Py_False;
}

bool Type::look(const py::handle& tensor, Floats& found) const {
  if (reinterpret_cast<PyObject*>(Py_TYPE(tensor.ptr())) != type_.ptr()) return false;
  if (negated(tensor)) return false;
  View view = {};
  if (exchange_->look(tensor.ptr(), &view) != 0) {
    PyErr_Clear();  // whoever asks does without
    return false;
  }
  if (view.device != this_machine || view.kind != floating || view.bits != 32 || view.lanes != 1) return false;
  if (view.rank < 1 || view.rank > 3) return false;
  if (view.data == nullptr) return false;  // zeros that were never written anywhere
  char* const data = static_cast<char*>(view.data) + view.offset;
  if (reinterpret_cast<std::uintptr_t>(data) % alignof(float) != 0) return false;
  found.data = reinterpret_cast<float*>(data);
  found.shape = view.shape;
  found.rank = view.rank;
  std::int64_t stride = 1;
  for (int axis = view.rank - 1; axis >= 0; --axis) {
    found.strides[axis] = view.strides != nullptr ? view.strides[axis] : stride;
    stride *= view.shape[axis];
  }
  return true;
}

Owned Type::make(std::vector<std::int64_t> shape, float*& data) const {
  View like = {};
  like.device = this_machine;
  like.kind = floating;
  like.bits = 32;
  like.lanes = 1;
  like.rank = static_cast<std::int32_t>(shape.size());
  like.shape = shape.data();
  Managed* made = nullptr;
  const auto say_nothing = [](void*, const char*, const char*) {};
  if (exchange_->allocate(&like, &made, nullptr, say_nothing) != 0 || made == nullptr) throw std::bad_alloc();
  data = reinterpret_cast<float*>(static_cast<char*>(made->view.data) + made->view.offset);
  return Owned(made);
}

py::object Type::wrap(Owned made) const {
  void* object = nullptr;
  if (exchange_->wrap(made.release(), &object) != 0 || object == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(static_cast<PyObject*>(object));
}

}  // namespace tensors

namespace {

// The same memory for NumPy, or None. Whoever holds it must not let the tensor be resized.
py::object array(const tensors::Type& type, const py::object& tensor) {
  tensors::Floats found;
  if (!type.look(tensor, found)) return py::none();
  std::vector<py::ssize_t> shape, strides;
  for (int axis = 0; axis < found.rank; ++axis) {
    shape.push_back(found.shape[axis]);
    strides.push_back(found.strides[axis] * static_cast<py::ssize_t>(sizeof(float)));
  }
  return py::array_t<float, 0>(shape, strides, found.data, tensor);
}

}  // namespace

void bind_tensors(py::module_& module) {
  py::class_<tensors::Type>(module, "TensorType", "The type of a framework's tensors, exchanged in C (DLPack 1).")
      .def(py::init([](const py::type& type) { return ::new tensors::Type(type); }), py::arg("type").none(false))
      .def("array", &array, py::arg("tensor"), "Its memory as an array, or None where it does not fit.");
}
