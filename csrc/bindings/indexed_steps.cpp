// Steps that pick and order, as methods of _core.Program.
#include "program.hpp"

#include <pybind11/stl.h>

using namespace fusedlstm;

namespace {

// (of the indices, of what is picked from): axes
Picking picking_from(const py::tuple& said) {
  if (said.size() != 2) throw std::invalid_argument("expected the axes of the indices, and of what is picked from");
  return {numbers(said[0]), numbers(said[1])};
}

void take(Model& model, const py::tuple& x, const py::tuple& index, const py::tuple& y, const py::tuple& picking) {
  model.add(take_step(model.tensor(x, false), model.tensor(index, false), model.tensor(y, true), picking_from(picking)));
}

void put(Model& model, const py::tuple& index, const py::tuple& updates, const py::tuple& y, const py::tuple& picking,
         const std::string& reduction) {
  model.add(put_step(model.tensor(index, false), model.tensor(updates, false), model.tensor(y, true), picking_from(picking),
                     reduction));
}

// how: axis, product, exclusive, reverse
void scan(Model& model, const py::tuple& x, const py::tuple& y, const py::tuple& how) {
  if (how.size() != 4) throw std::invalid_argument("scan: expected 4 choices");
  model.add(scan_step(model.tensor(x, false), model.tensor(y, true),
                      {how[0].cast<std::size_t>(), how[1].cast<bool>(), how[2].cast<bool>(), how[3].cast<bool>()}));
}

void top(Model& model, const py::tuple& x, const py::tuple& values, const py::tuple& indices, std::size_t axis,
         bool largest) {
  model.add(top_step(model.tensor(x, false), {model.tensor(values, true), model.tensor(indices, true), axis, largest}));
}

}  // namespace

void bind_indexed_steps(ModelClass& model) { model.def("take", &take).def("put", &put).def("scan", &scan).def("top", &top); }
