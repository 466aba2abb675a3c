// The extension module fusedlstm._core.
#include "bindings.hpp"

PYBIND11_MODULE(_core, module, py::mod_gil_not_used()) {
  module.doc() = "The compiled engine behind fusedlstm. Private: use the package's own names.";
  bind_conv_lstm(module);
  bind_lstm(module);
  bind_machine(module);
  bind_pool(module);
  bind_program(module);
}
