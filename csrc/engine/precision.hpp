// How one row of a matrix is stored in a panel, for each precision (the layouts are in kernels/table.hpp).
#pragma once
#include <cstddef>

#include "../kernels/table.hpp"

namespace fusedlstm {

struct PanelRow {
  char* panel;
  std::size_t slot, slots, lane, lanes;  // slot: the gate, of as many as the panel has
};

// The weights must be numbers of that precision already (precision.py rounds): for int8 every one is a whole number of
// times the largest magnitude / 127.
void pack_row(Precision precision, const PanelRow& where, const float* weights, std::size_t inputs);

}  // namespace fusedlstm
