// What Python's Cell and Activation (cell.py) say, as the engine takes it.
#pragma once
#include <pybind11/pybind11.h>

#include "../kernels/table.hpp"

// Both throw std::invalid_argument for a name that is unknown.
fusedlstm::Activation activation_from(const pybind11::handle& activation);
// Without the arrays.
fusedlstm::Cell cell_from(const pybind11::handle& cell);
