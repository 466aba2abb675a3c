// Reductions by ONNX's names, without "Reduce".
#pragma once
#include <string>

#include "../kernels/table.hpp"

namespace fusedlstm {

// The kernel's part, and what is done to its result.
struct NamedReduction {
  const char* name;
  Reduction kind;
  double (*finish)(double value, double count);
};
const NamedReduction& reduction_named(const std::string& name);

}  // namespace fusedlstm
