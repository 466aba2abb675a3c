// What the bindings of steps need of a program.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../program/steps.hpp"
#include "bindings.hpp"

class StepList {
 public:
  virtual ~StepList() = default;
  // (base, offset, element, shape, strides): every element must lie within its base.
  virtual fusedlstm::Tensor tensor(const py::handle& said, bool written) const = 0;
  virtual void add(std::unique_ptr<fusedlstm::Step> step) = 0;

  std::optional<fusedlstm::Tensor> maybe(const py::handle& said, bool written = false) const {
    return said.is_none() ? std::optional<fusedlstm::Tensor>() : tensor(said, written);
  }
};

std::vector<std::ptrdiff_t> numbers(const py::handle& tuple);
// (kernel, stride, dilation, before, spread) for each axis
std::vector<fusedlstm::Sliding> slidings(const py::handle& said);
// (slidings, "zeros", "reflect", "nearest" or "wrap")
fusedlstm::Windowing windowing(const py::handle& said);
fusedlstm::Edge edge_named(const std::string& name);
std::optional<fusedlstm::Activation> maybe_activation(const py::handle& said);

// Steps along rows, of windows and by places: bindings/steps.cpp.
void bind_steps(py::module_& module);
