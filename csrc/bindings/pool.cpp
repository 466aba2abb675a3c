// What StreamPool runs: rows whose states live in one array. The shapes are StreamPool's; here they only must be safe.
#include "../engine/lstm.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <vector>

#include "arrays.hpp"
#include "bindings.hpp"
#include "gil.hpp"

using namespace fusedlstm;
using arrays::Contiguous, arrays::expect_output, arrays::Integers;

// What is written: no alignment is asked for here, or pybind11 would hand in an aligned copy. expect_output refuses instead.
using Floats = py::array_t<float, py::array::c_style>;
using Places = py::array_t<std::int64_t, py::array::c_style>;

namespace {

void expect(bool holds, const char* message) {
  if (!holds) throw std::invalid_argument(message);
}

// slots[k] is where ids[k] lives: id modulo `apart`, if that slot is in the turn that the id is of (see _slots.py). False if
// one lives nowhere or comes twice. turns is (slots, 1), place (slots) is scratch.
bool find_slots(const Integers& ids, const Integers& turns, std::int64_t apart, Places& place, Places& slots) {
  expect(ids.ndim() == 1 && turns.ndim() == 2 && turns.shape(1) == 1 && apart > 0, "ids, turns: expected vectors");
  expect(place.ndim() == 1 && place.shape(0) == turns.shape(0), "place: expected one for each slot");
  expect(slots.ndim() == 1 && slots.shape(0) == ids.shape(0), "slots: expected one for each id");
  expect_output("place", place);
  expect_output("slots", slots);
  expect(!arrays::overlap(place, slots), "place, slots: expected memory of their own");
  const py::ssize_t count = ids.shape(0);
  const std::int64_t *id = ids.data(), *turn = turns.data();
  std::int64_t *slot = slots.mutable_data(), *last = place.mutable_data();
  for (py::ssize_t k = 0; k < count; ++k) {
    slot[k] = id[k] % apart;
    if (id[k] < 0 || slot[k] >= turns.shape(0) || turn[slot[k]] != 2 * (id[k] / apart) + 1) return false;
    last[slot[k]] = k;
  }
  for (py::ssize_t k = 0; k < count; ++k)
    if (last[slot[k]] != k) return false;
  return true;
}

void step_slots(const Whole<Lstm>& lstm, Contiguous x, Floats& y, Floats& states, const Integers& slots,
                const std::optional<Integers>& lengths) {
  const Shape& shape = lstm.shape();
  expect(shape.num_directions == 1 && !shape.reverse, "lstm: expected one forward direction");
  expect(x.ndim() == 2 && y.ndim() == 2 && states.ndim() == 2 && slots.ndim() == 1, "expected matrices x, y and states");
  expect(static_cast<std::size_t>(x.shape(1)) == lstm.input_size(), "x: expected (steps, input)");
  expect(y.shape(0) == x.shape(0) && static_cast<std::size_t>(y.shape(1)) == shape.output_size(),
         "y: expected (steps, output)");
  expect(static_cast<std::size_t>(states.shape(1)) == shape.state_size(), "states: expected (slots, state size)");
  expect_output("y", y);
  expect_output("states", states);
  x = arrays::apart(x, {&y, &states});
  const py::ssize_t rows = slots.shape(0);
  // Copied before they are checked: nobody else can change these.
  const std::vector<std::int64_t> slot(slots.data(), slots.data() + rows);
  expect(std::all_of(slot.begin(), slot.end(), [&](std::int64_t one) { return one >= 0 && one < states.shape(0); }),
         "slots: expected rows of states");

  Call call = {};
  call.batch = static_cast<std::size_t>(rows);
  call.time = 1;
  std::vector<std::int64_t> valid, starts;
  if (lengths) {
    expect(lengths->ndim() == 1 && lengths->shape(0) == rows, "lengths: expected one for each slot");
    valid.assign(lengths->data(), lengths->data() + rows);
    std::int64_t total = 0;
    for (const std::int64_t length : valid) {
      expect(length >= 0 && length <= x.shape(0) - total, "lengths: expected the steps of x");
      starts.push_back(total);
      total += length;
      call.time = std::max(call.time, static_cast<std::size_t>(length));
    }
    call.lengths = valid.data();
    call.starts = starts.data();
  } else {
    expect(x.shape(0) == rows, "x: expected one step for each slot");
  }
  call.x = sequence(x.data(), x.shape(1), x.shape(1));
  call.y = sequence(y.mutable_data(), y.shape(1), y.shape(1));
  call.states = states.mutable_data();
  call.slots = slot.data();
  without_gil([&] { lstm.run(call, lstm.threads); });
}

}  // namespace

void bind_pool(py::module_& module) {
  module.def("find_slots", &find_slots, py::arg("ids").noconvert(), py::arg("turns").noconvert(), py::arg("apart"),
             py::arg("place").noconvert(), py::arg("slots").noconvert(), "Whether all ids have a slot of their own: which.");
  module.def("step_slots", &step_slots, py::arg("lstm"), py::arg("x").noconvert(), py::arg("y").noconvert(),
             py::arg("states").noconvert(), py::arg("slots").noconvert(), py::arg("lengths").noconvert().none(true),
             "Run row b of x, or lengths[b] rows, on states[slots[b]]: (layer by layer h then c). No slot twice.");
}
