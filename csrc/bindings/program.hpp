// class _core.Program: what a graph was planned to be, and what it must keep alive. Here only memory is kept safe.
#pragma once
#include "../program/program.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../program/steps.hpp"
#include "bindings.hpp"

// Flags of arrays that are read where they lie.
constexpr int whole = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;

using Floats = py::array_t<float, py::array::c_style>;
std::vector<std::ptrdiff_t> numbers(const py::handle& tuple);
// ((kernel, stride, dilation, before, spread) for each axis, "zeros", "reflect", "nearest" or "wrap")
fusedlstm::Windowing windowing(const py::handle& said);
std::optional<fusedlstm::Activation> maybe_activation(const py::handle& said);

class Model : public Initialised {
 public:
  Model(std::size_t arena, const std::vector<py::tuple>& inputs, const std::vector<py::tuple>& outputs,
        std::vector<py::array> constants, std::size_t threads);

  // (base, offset, element, shape, strides): every element must lie within its base.
  fusedlstm::Tensor tensor(const py::handle& said, bool written) const;
  std::optional<fusedlstm::Tensor> maybe(const py::handle& said, bool written = false) const {
    return said.is_none() ? std::optional<fusedlstm::Tensor>() : tensor(said, written);
  }
  void add(std::unique_ptr<fusedlstm::Step> step) { program_->add(std::move(step)); }

  // The node of each step, for messages.
  void set_nodes(py::object nodes) { nodes_ = std::move(nodes); }
  [[noreturn]] void fail(const fusedlstm::Program::Fault& fault) const;

  py::tuple run(const py::args& arrays) const { return run_with(arrays, nullptr); }
  py::tuple profile(const py::args& arrays) const;

  // An array that comes in or goes out.
  struct Slot {
    fusedlstm::Element element;
    std::vector<py::ssize_t> shape;
    std::size_t bytes;
    py::dtype dtype;  // NumPy's own object, which most arrays share
  };
  py::tuple make_outputs() const;
  // memory: of the inputs; that of the outputs is added. No Python runs before the end.
  void run_into(const py::tuple& outputs, std::vector<void*>& memory, std::vector<double>* spent) const;
  // Run something on its behalf, without the GIL if it has been seen to take long enough for that. timed_of: where it has
  // not, one of so many runs is timed, as asking the clock costs as much as a few small steps.
  template <class Run>
  void release_for(const Run& run, unsigned timed_of = 1) const;

  static Slot slot_from(const py::tuple& said);  // (element, shape)
  static py::dtype dtype_of(fusedlstm::Element element);
  static bool is_of(const py::array& array, fusedlstm::Element element);
  const std::shared_ptr<fusedlstm::Program>& program() const { return program_; }
  std::size_t inputs() const { return inputs_.size(); }
  std::size_t arrays() const { return inputs_.size() + outputs_.size(); }
  const Slot& slot(std::size_t array) const;  // inputs, then outputs

 private:
  py::tuple run_with(const py::args& arrays, std::vector<double>* spent) const;

  std::vector<py::array> constants_;
  py::object nodes_ = py::none();
  std::vector<Slot> inputs_, outputs_;
  std::vector<std::size_t> bytes_;  // of each base
  std::shared_ptr<fusedlstm::Program> program_;
  static constexpr long long endless = 1LL << 62;  // nanoseconds
  mutable int runs_ = 0;
  mutable unsigned calls_ = 0;
  mutable long long shortest_ = endless;
};

// The steps of each family, as methods.
using ModelClass = py::class_<Model, std::shared_ptr<Model>>;
void bind_batch(py::module_& module);
void bind_call(py::module_& module);
void bind_live(py::module_& module);
void bind_stepping(py::module_& module);
void bind_gru(py::module_& module, ModelClass& model);
void bind_data_steps(py::module_& module, ModelClass& model);
void bind_row_steps(ModelClass& model);
void bind_window_steps(py::module_& module, ModelClass& model);
