// The machine: instruction sets, threads, and the activations for the tests.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "../engine/team.hpp"
#include "../kernels/dispatch.hpp"
#include "bindings.hpp"

using namespace fusedlstm;

namespace {

using Activation = void (*)(const float*, float*, std::size_t);

py::array_t<float> apply(Activation activation, const py::array_t<float, py::array::c_style>& x) {
  py::array_t<float> y(x.size());
  const unsigned long long before = kernels().enter_flush_to_zero();
  activation(x.data(), y.mutable_data(), static_cast<std::size_t>(x.size()));
  kernels().leave_flush_to_zero(before);
  return y;
}

}  // namespace

void bind_machine(py::module_& module) {
  module.def("isa", [] { return kernels().name; }, "The instruction set in use.");
  module.def(
      "available_isas",
      [] {
        std::vector<std::string> names;
        for (const KernelTable* table : available_kernels()) names.emplace_back(table->name);
        return names;
      },
      "The instruction sets that this CPU and this build have, best first.");
  module.def("cpu_model", &cpu_model, "The CPU's own name.");
  module.def("get_num_threads", &num_threads);
  module.def("set_num_threads", &set_num_threads, py::arg("count"));
  module.def("sigmoid", [](const py::array_t<float, py::array::c_style>& x) { return apply(kernels().sigmoid, x); });
  module.def("tanh", [](const py::array_t<float, py::array::c_style>& x) { return apply(kernels().tanh, x); });
}
