// One function per file of this folder.
#pragma once
#include <pybind11/pybind11.h>

#include <string>

#include "../kernels/table.hpp"

namespace py = pybind11;

void bind_conv_lstm(py::module_& module);
void bind_lstm(py::module_& module);
void bind_machine(py::module_& module);
void bind_pool(py::module_& module);
void bind_program(py::module_& module);

// By the names that Python has for what weights are held in and multiplied by.
fusedlstm::Precision precision_of(const std::string& dtype, const std::string& products);
