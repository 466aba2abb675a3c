// The bits of programs' steps.
#pragma once
#include <cstdint>
#include <vector>

#include "../../csrc/kernels/table.hpp"

namespace fusedlstm {

// A matrix product, a convolution or a transposed one.
std::uint64_t product_bits(std::uint64_t seed, Precision precision);
// One number for each family of steps.
std::vector<std::uint64_t> steps_bits(std::uint64_t seed);

}  // namespace fusedlstm
