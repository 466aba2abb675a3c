// Steps along rows, as methods of _core.Program.
#include <pybind11/stl.h>

#include <utility>

#include "program.hpp"

using namespace fusedlstm;

namespace {

void reduce(Model& model, const std::string& name, const py::tuple& x, const py::tuple& y, std::size_t along) {
  model.add(reduce_step(name, model.tensor(x, false), model.tensor(y, true), along));
}
// sums: before and after, each partial sums, totals and counts
void running(Model& model, const std::string& name, const py::tuple& x, const py::tuple& y,
             const std::pair<py::tuple, py::tuple>& sums, bool single) {
  const auto kept = [&](const py::tuple& three, bool written) -> RunningSums {
    if (three.size() != 3) throw std::invalid_argument("running: expected three arrays that are kept");
    return {model.tensor(three[0], written), model.tensor(three[1], written), model.tensor(three[2], written)};
  };
  const RunningArrays arrays = {model.tensor(x, false), model.tensor(y, true), kept(sums.first, false),
                                kept(sums.second, true)};
  model.add(running_step(name, arrays, single));
}
void arg(Model& model, const py::tuple& x, const py::tuple& y, bool largest, bool last) {
  model.add(arg_step(model.tensor(x, false), model.tensor(y, true), largest, last));
}
void softmax(Model& model, const std::string& kind, const py::tuple& x, const py::tuple& y) {
  model.add(softmax_step(kind, model.tensor(x, false), model.tensor(y, true)));
}
// how: (gain, bias, mean, inverse, epsilon, floor, centred), the first four may be None
void normalise(Model& model, const py::tuple& x, const py::tuple& y, std::size_t along, const py::tuple& how) {
  if (how.size() != 7) throw std::invalid_argument("normalise: expected seven options");
  const Normalising found = {model.maybe(how[0]),       model.maybe(how[1]),  model.maybe(how[2], true),
                             model.maybe(how[3], true), how[4].cast<float>(), how[5].cast<float>(),
                             how[6].cast<bool>()};
  model.add(normalise_step(model.tensor(x, false), model.tensor(y, true), along, found));
}

}  // namespace

void bind_row_steps(ModelClass& model) {
  model.def("reduce", &reduce)
      .def("running", &running)
      .def("arg", &arg)
      .def("softmax", &softmax)
      .def("normalise", &normalise);
}
