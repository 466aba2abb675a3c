// class _core.Batch: a program for some rows of a pool. Shapes are the pool's; here they only must be safe.
#include "../program/batch.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "arrays.hpp"
#include "call.hpp"

using namespace fusedlstm;

namespace {

using Numbers = std::vector<std::size_t>;
using Bytes = py::array_t<std::uint8_t, py::array::c_style>;

void expect(bool holds, const char* message) {
  if (!holds) throw std::invalid_argument(message);
}

class RowsOfModel : public Initialised {
 public:
  // states: (input, output, outer, bytes, offset); given: (input, outer, bytes, lines, kept, offset); made: (output, outer,
  // bytes); see Batch.
  RowsOfModel(std::shared_ptr<Model> model, std::size_t rows, const std::vector<std::array<std::size_t, 5>>& states,
              const std::vector<std::array<std::size_t, 6>>& given, const std::vector<std::array<std::size_t, 3>>& made)
      : model_(std::move(model)) {
    Numbers sizes;
    for (std::size_t i = 0; i < model_->arrays(); ++i) sizes.push_back(model_->slot(i).bytes);
    const std::size_t first = model_->inputs();
    std::vector<Batch::State> kept;
    for (const auto& [in, out, outer, bytes, offset] : states) {
      expect(in < first, "batch: expected an input");
      kept.push_back({{in, outer, bytes}, {first + out, outer, bytes}, offset});
    }
    std::vector<Batch::Given> taken;
    for (const auto& [in, outer, bytes, lines, again, offset] : given) {
      expect(in < first, "batch: expected an input");
      taken.push_back({{in, outer, bytes}, lines, again, offset});
    }
    std::vector<Batch::Part> out;
    for (const auto& [array, outer, bytes] : made) out.push_back({first + array, outer, bytes});
    batch_ = std::make_unique<Batch>(model_->program(), sizes, rows, std::move(kept), std::move(taken), std::move(out));
  }

  // An input that all rows share.
  void set(std::size_t input, const py::array& value) const {
    expect(input < model_->inputs(), "batch: expected an input");
    const Model::Slot& slot = model_->slot(input);
    expect((value.flags() & py::array::c_style) != 0 && Model::is_of(value, slot.element) &&
               static_cast<std::size_t>(value.nbytes()) == slot.bytes,
           "batch: expected a contiguous array of the input's type and size");
    std::memcpy(batch_->at(input), value.data(), slot.bytes);
  }

  Batch& batch() const { return *batch_; }
  const Model& model() const { return *model_; }

 private:
  std::shared_ptr<Model> model_;
  std::unique_ptr<Batch> batch_;
};

// blocks: (batch, first row, number of rows); states (slots, bytes): packed rows, changed where all went well.
void step_batches(const std::vector<std::tuple<std::shared_ptr<RowsOfModel>, std::size_t, std::size_t>>& blocks,
                  Bytes& states, const arrays::Integers& slots, const std::vector<py::array>& given,
                  const std::vector<py::array>& made) {
  expect(states.ndim() == 2 && slots.ndim() == 1, "expected packed states and slots");
  arrays::expect_output("states", states);
  const std::size_t rows = static_cast<std::size_t>(slots.shape(0)), row = static_cast<std::size_t>(states.shape(1));
  const std::vector<std::int64_t> slot(slots.data(), slots.data() + rows);
  expect(std::all_of(slot.begin(), slot.end(), [&](std::int64_t one) { return one >= 0 && one < states.shape(0); }),
         "slots: expected rows of states");
  std::vector<const char*> from;
  std::vector<char*> to;
  constexpr int written = whole | py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  for (const py::array& one : given) {
    expect((one.flags() & whole) == whole, "given: expected contiguous arrays");
    from.push_back(static_cast<const char*>(one.data()));
  }
  for (const py::array& one : made) {
    expect((one.flags() & written) == written, "made: expected contiguous arrays that may be written");
    to.push_back(static_cast<char*>(const_cast<void*>(one.data())));
  }
  for (const auto& [rows_of_model, first, count] : blocks) {
    expect(rows_of_model != nullptr, "blocks: expected a batch");
    const Batch& batch = rows_of_model->batch();
    expect(count > 0 && first <= rows && count <= rows - first && count <= batch.rows() && batch.row_bytes() <= row &&
               batch.inputs() == given.size() && batch.outputs() == made.size(),
           "blocks: expected rows that are there");
    for (std::size_t k = 0; k < given.size(); ++k)
      expect(static_cast<std::size_t>(given[k].nbytes()) == rows * batch.given_bytes(k), "given: expected a row for each");
    for (std::size_t k = 0; k < made.size(); ++k)
      expect(static_cast<std::size_t>(made[k].nbytes()) == rows * batch.made_bytes(k), "made: expected a row for each");
  }
  std::vector<char> after(rows * row);
  auto* const packed = reinterpret_cast<char*>(states.mutable_data());
  Program::Fault fault = {};
  const RowsOfModel* at_fault = nullptr;
  without_gil([&] {
    for (const auto& [rows_of_model, first, count] : blocks) {
      fault = rows_of_model->batch().run({packed, row, slot.data(), after.data(), first, count, from.data(), to.data()});
      if (fault.what != nullptr) {
        at_fault = rows_of_model.get();
        return;
      }
    }
    for (const auto& [rows_of_model, first, count] : blocks)
      for (std::size_t k = first; k < first + count; ++k)
        std::memcpy(packed + static_cast<std::size_t>(slot[k]) * row, after.data() + k * row, row);
  });
  if (at_fault != nullptr) at_fault->model().fail(fault);
}

}  // namespace

void bind_batch(py::module_& module) {
  py::class_<RowsOfModel, std::shared_ptr<RowsOfModel>>(module, "Batch", "A program for some rows whose states lie packed.")
      .def(py::init([](std::shared_ptr<Model> model, std::size_t rows, const std::vector<std::array<std::size_t, 5>>& states,
                       const std::vector<std::array<std::size_t, 6>>& given,
                       const std::vector<std::array<std::size_t, 3>>& made) {
             return std::shared_ptr<RowsOfModel>(::new RowsOfModel(std::move(model), rows, states, given, made));
           }),
           py::arg("program").none(false), py::arg("rows"), py::arg("states"), py::arg("given"), py::arg("made"))
      .def("set", &RowsOfModel::set, py::arg("input"), py::arg("value"), "An input that all rows share.");
  module.def("step_batches", &step_batches, py::arg("blocks"), py::arg("states").noconvert(), py::arg("slots").noconvert(),
             py::arg("given"), py::arg("made"), "Step packed rows, block by block; none has changed after an error.");
}
