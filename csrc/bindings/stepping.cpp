// class _core.Stepping, of which the streams of models are: a step like the one before takes no Python on its way. It is a
// type of Python's own kind, since a call by pybind11 takes as long as a small step.
#include <exception>
#include <new>

#include "live.hpp"
#include "program.hpp"

namespace {

struct Stepping {
  PyObject base;    // as all of Python's objects begin
  PyObject* live;   // what steps are taken by; null where they are not like the one before
  PyObject* shown;  // what a step on its own memory returns
  const LiveModel* at;
  bool plain;  // whether new outputs may be handed out as they are
};

Stepping& of(PyObject* self) { return *reinterpret_cast<Stepping*>(self); }

void forget(Stepping& one) {
  one.at = nullptr;
  Py_CLEAR(one.live);
  Py_CLEAR(one.shown);
}

// Of a step like the one before; null where it is not.
py::object quick(const Stepping& one, const py::tuple& arrays) {
  const py::object live = py::reinterpret_borrow<py::object>(one.live);  // whatever happens to the stream meanwhile
  if (arrays.empty()) {
    step_in_place(*one.at);
    return py::reinterpret_borrow<py::object>(one.shown);
  }
  py::object found = one.plain ? step_on(*one.at, arrays) : py::none();
  if (found.is_none()) return py::object();
  if (py::len(found) > 1) return found;
  return py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(found.ptr(), 0));
}

PyObject* step(PyObject* self, PyObject* arguments, PyObject* named) {
  try {
    const auto arrays = py::reinterpret_borrow<py::tuple>(arguments);
    const bool by_name = named != nullptr && PyDict_GET_SIZE(named) > 0;
    if (of(self).at != nullptr && !by_name)
      if (py::object found = quick(of(self), arrays)) return found.release().ptr();
    const py::object names = by_name ? py::reinterpret_borrow<py::object>(named) : py::dict();
    return py::handle(self).attr("_step")(arrays, names).release().ptr();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

PyObject* set_quick(PyObject* self, PyObject* arguments) {
  PyObject *live, *shown;
  int plain;
  if (PyArg_ParseTuple(arguments, "OOp", &live, &shown, &plain) == 0) return nullptr;
  try {
    const LiveModel* const at = live == Py_None ? nullptr : &live_from(live);
    forget(of(self));
    if (at == nullptr) Py_RETURN_NONE;
    of(self).live = Py_NewRef(live);
    of(self).shown = Py_NewRef(shown);
    of(self).at = at;
    of(self).plain = plain != 0;
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_TypeError, error.what());
    return nullptr;
  }
  Py_RETURN_NONE;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(of(self).live);
  Py_VISIT(of(self).shown);
  return 0;
}

int clear(PyObject* self) {
  forget(of(self));
  return 0;
}

void dealloc(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  forget(of(self));
  type->tp_free(self);
  Py_DECREF(type);
}

constexpr char step_doc[] = R"(step($self, /, *args, **kwargs)
--

Run one step.

Parameters
----------
*args, **kwargs : array_like
    The inputs that are neither states nor fixed, in the order of the model or by name; one with a context without it.
    Along time with an axis of one step or without it, and with a batch of one also without that. None at all: what
    is in `input`, and the result goes to `output`.

Returns
-------
ndarray, or a tuple of them
    The outputs that are no states: new arrays, or `output` where there were no arguments. Along time with an axis of
    one step if the inputs have one, and None where this step gives none: layers with strides, and those that wait for
    their first window to be full.

Raises
------
RuntimeError
    Another thread is in this stream.
TypeError, ValueError
    Arrays that do not fit. The state is as before.
)";

template <class Function>
void* address(Function* function) {
  return reinterpret_cast<void*>(function);
}

}  // namespace

void bind_stepping(py::module_& module) {
  static PyMethodDef methods[] = {
      {"step", reinterpret_cast<PyCFunction>(address(&step)), METH_VARARGS | METH_KEYWORDS, step_doc},
      {"_set_quick", &set_quick, METH_VARARGS, "What steps like the one before are taken by, or None; what they return."},
      {nullptr, nullptr, 0, nullptr}};
  static PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("What streams of models are: one that steps.")},
                                {Py_tp_methods, methods},
                                {Py_tp_traverse, address(&traverse)},
                                {Py_tp_clear, address(&clear)},
                                {Py_tp_dealloc, address(&dealloc)},
                                {0, nullptr}};
  static PyType_Spec spec = {"fusedlstm._core.Stepping", sizeof(Stepping), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};
  module.attr("Stepping") = py::reinterpret_steal<py::object>(PyType_FromSpec(&spec));
}
