// The extension module fusedlstm._core.
#include "bindings.hpp"

// Not for free-threaded Python without its GIL: streams and pools are made safe by it.
PYBIND11_MODULE(_core, module) {
  module.doc() = "The compiled engine behind fusedlstm. Private: use the package's own names.";
  find_main_thread();
  bind_conv_lstm(module);
  bind_lstm(module);
  bind_machine(module);
  bind_pool(module);
  bind_program(module);
  bind_tensors(module);
  bind_lstm_tensors(module);
}
