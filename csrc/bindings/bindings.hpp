// One function per file of this folder.
#pragma once
#include <pybind11/pybind11.h>

namespace py = pybind11;

void bind_conv_lstm(py::module_& module);
void bind_lstm(py::module_& module);
void bind_machine(py::module_& module);
void bind_pool(py::module_& module);
