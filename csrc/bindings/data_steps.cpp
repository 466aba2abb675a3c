// Steps that pick, order and multiply what is computed, as methods of _core.Program.
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

std::shared_ptr<PackedTable> table_from(const Floats& rows, const std::string& dtype, const std::string& products) {
  if (rows.ndim() != 2 || rows.shape(0) < 1 || rows.shape(1) < 1)
    throw std::invalid_argument("table: expected (count, width)");
  return std::const_pointer_cast<PackedTable>(pack_table(rows.data(), static_cast<std::size_t>(rows.shape(0)),
                                                         static_cast<std::size_t>(rows.shape(1)),
                                                         precision_of(dtype, products)));
}

void lookup(Model& model, std::shared_ptr<PackedTable> table, const py::tuple& index, const py::tuple& y) {
  model.add(lookup_step(std::move(table), model.tensor(index, false), model.tensor(y, true)));
}

void put(Model& model, const py::tuple& index, const py::tuple& updates, const py::tuple& y, const py::tuple& picking,
         const std::string& reduction) {
  model.add(put_step(model.tensor(index, false), model.tensor(updates, false), model.tensor(y, true), picking_from(picking),
                     reduction));
}

// how: axis, product, exclusive, reverse; totals: None, or before and after
void scan(Model& model, const py::tuple& x, const py::tuple& y, const py::tuple& how,
          const std::optional<std::pair<py::tuple, py::tuple>>& totals) {
  if (how.size() != 4) throw std::invalid_argument("scan: expected 4 choices");
  std::optional<ScanTotals> kept;
  if (totals) kept = {model.tensor(totals->first, false), model.tensor(totals->second, true)};
  model.add(scan_step(model.tensor(x, false), model.tensor(y, true),
                      {how[0].cast<std::size_t>(), how[1].cast<bool>(), how[2].cast<bool>(), how[3].cast<bool>()}, kept));
}

void top(Model& model, const py::tuple& x, const py::tuple& values, const py::tuple& indices, std::size_t axis,
         bool largest) {
  model.add(top_step(model.tensor(x, false), {model.tensor(values, true), model.tensor(indices, true), axis, largest}));
}

void matmul(Model& model, const py::tuple& x, const py::tuple& w, const py::tuple& y) {
  model.add(matmul_step({model.tensor(x, false), model.tensor(w, false), model.tensor(y, true)}));
}

std::array<Tensor, 4> four(const Model& model, const py::tuple& y, const py::tuple& inputs) {
  if (inputs.size() != 3) throw std::invalid_argument("quantise: expected 3 inputs");
  return {model.tensor(y, true), model.tensor(inputs[0], false), model.tensor(inputs[1], false),
          model.tensor(inputs[2], false)};
}

void dequantise(Model& model, const py::tuple& y, const py::tuple& inputs) {
  model.add(dequantise_step(four(model, y, inputs)));
}

void quantise(Model& model, const py::tuple& y, const py::tuple& inputs, const std::pair<double, double>& limits) {
  model.add(quantise_step(four(model, y, inputs), limits.first, limits.second));
}

void requantise(Model& model, const py::tuple& y, const py::tuple& from, const std::pair<double, double>& limits) {
  if (from.size() != 5) throw std::invalid_argument("requantise: expected sums, scales and a zero point");
  const auto part = [&](std::size_t k) { return model.tensor(from[k], false); };
  model.add(
      requantise_step(model.tensor(y, true), {part(0), part(1), part(2), part(3), part(4)}, limits.first, limits.second));
}

void dynamic(Model& model, const py::tuple& x, const py::tuple& y, const py::tuple& scale, const py::tuple& zero) {
  model.add(
      dynamic_step(model.tensor(x, false), model.tensor(y, true), model.tensor(scale, true), model.tensor(zero, true)));
}

}  // namespace

void bind_data_steps(py::module_& module, ModelClass& model) {
  py::class_<PackedTable, std::shared_ptr<PackedTable>>(module, "PackedTable",
                                                        "Rows (count, width) that are looked up, packed once.")
      .def(py::init(&table_from), py::arg("rows"), py::arg("dtype"), py::arg("products"));
  model.def("lookup", &lookup, py::arg("table").none(false), py::arg("index"), py::arg("y"));
  model.def("take", &take).def("put", &put).def("scan", &scan).def("top", &top).def("matmul", &matmul);
  model.def("dequantise", &dequantise).def("quantise", &quantise).def("requantise", &requantise).def("dynamic", &dynamic);
}
