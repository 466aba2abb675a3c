// The machine: instruction sets, threads, and the activations for the tests.
#include <pybind11/stl.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "../engine/buffer.hpp"
#include "../engine/threads.hpp"
#include "../kernels/dispatch.hpp"
#include "arrays.hpp"
#include "bindings.hpp"
#include "cell.hpp"

using namespace fusedlstm;

namespace {

using Floats = arrays::Contiguous;

// run(y) on a new array of this size, in the floating-point mode of the kernels.
template <class Run>
Floats fill(py::ssize_t size, Run run) {
  Floats y(size);
  const unsigned long long before = kernels().enter_flush_to_zero();
  run(y.mutable_data());
  kernels().leave_flush_to_zero(before);
  return y;
}

// Memory that NumPy does not own, so that no `resize` moves it from under a running step.
Floats zeros(std::size_t rows, std::size_t columns) {
  if (columns == 0 || rows > std::size_t{PTRDIFF_MAX} / sizeof(float) / columns)
    throw std::invalid_argument("zeros: expected a size that there can be");
  auto memory = std::make_unique<Buffer>(rows * columns * sizeof(float));
  std::memset(memory->chars(), 0, memory->bytes());
  float* const data = memory->floats();
  const py::capsule owner(memory.get(), [](void* buffer) { delete static_cast<Buffer*>(buffer); });
  memory.release();  // NOLINT: the capsule has it
  return Floats({static_cast<py::ssize_t>(rows), static_cast<py::ssize_t>(columns)}, data, owner);
}

std::size_t count(const Floats& x) { return static_cast<std::size_t>(x.size()); }

void check_out(const py::array& out) {
  arrays::expect_output("out", out);
  if (!arrays::whole_rows(out))
    throw std::invalid_argument("out: expected the last axis to be contiguous, found strides " +
                                arrays::text({out.strides(), out.strides() + out.ndim()}));
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
  module.def("use_isa", &use_kernels, py::arg("name"), "For LSTMs made from now on; for tests.");
  module.def("cpu_model", &cpu_model, "The CPU's own name.");
  module.def("zeros", &zeros, py::arg("rows"), py::arg("columns"), "Floats in memory that stays where it is.");
  module.def("check_out", &check_out, py::arg("out"), "Whether a call may write there; raises if not.");
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
