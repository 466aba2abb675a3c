// The machine: instruction sets, threads, and the activations for the tests.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <stdexcept>

#include "../engine/team.hpp"
#include "../kernels/dispatch.hpp"
#include "bindings.hpp"
#include "cell.hpp"

using namespace fusedlstm;

namespace {

using Floats = py::array_t<float, py::array::c_style>;

// run(y) on a new array of this size, in the floating-point mode of the kernels.
template <class Run>
Floats fill(py::ssize_t size, Run run) {
  Floats y(size);
  const unsigned long long before = kernels().enter_flush_to_zero();
  run(y.mutable_data());
  kernels().leave_flush_to_zero(before);
  return y;
}

std::size_t count(const Floats& x) { return static_cast<std::size_t>(x.size()); }

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
  module.def("use_isa", &use_kernels, py::arg("name"), "For LSTMs made from now on; for tests.");
  module.def("cpu_model", &cpu_model, "The CPU's own name.");
  module.def("get_num_threads", &num_threads);
  module.def("set_num_threads", &set_num_threads, py::arg("count"));
  module.def("sigmoid",
             [](const Floats& x) { return fill(x.size(), [&](float* y) { kernels().sigmoid(x.data(), y, count(x)); }); });
  module.def("tanh",
             [](const Floats& x) { return fill(x.size(), [&](float* y) { kernels().tanh(x.data(), y, count(x)); }); });
  module.def("activate", [](const py::object& activation, const Floats& x) {
    const Activation a = activation_from(activation);
    return fill(x.size(), [&](float* y) { kernels().activate(a, x.data(), y, count(x)); });
  });
  module.def("sigmoid_times_tanh", [](const Floats& a, const Floats& b) {
    if (a.size() != b.size()) throw std::invalid_argument("expected arrays of one size");
    return fill(a.size(), [&](float* y) { kernels().sigmoid_times_tanh(a.data(), b.data(), y, count(a)); });
  });
}
