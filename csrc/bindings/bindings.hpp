// One function per file of this folder.
#pragma once
#include <pybind11/pybind11.h>

#include <cstddef>
#include <string>

#include "../kernels/table.hpp"

namespace py = pybind11;

// pybind11 gives an object that was made by __new__ alone raw memory when it is first used: by the
// operator of the class, which refuses. Others are made with ::new or std::make_shared.
struct Initialised {
  static void* operator new(std::size_t) { throw py::type_error("expected an object that was initialised"); }
};
// What Python holds of a T.
template <class T>
struct Whole : T, Initialised {
  using T::T;
  std::size_t threads = 0;  // that a call may use; 0: as many as num_threads() says
};

void find_main_thread();

void bind_conv_lstm(py::module_& module);
void bind_lstm(py::module_& module);
void bind_machine(py::module_& module);
void bind_pool(py::module_& module);
void bind_program(py::module_& module);
void bind_tensors(py::module_& module);
void bind_lstm_tensors(py::module_& module);

// By the names that Python has for what weights are held in and multiplied by.
fusedlstm::Precision precision_of(const std::string& dtype, const std::string& products);
