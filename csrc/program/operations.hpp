// Element-wise operations by name.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "../kernels/table.hpp"

namespace fusedlstm {

// What one line of a walk is: pointers and strides of y and of up to three inputs.
struct Line {
  char* at[4];
  std::ptrdiff_t step[4];  // in bytes
  std::ptrdiff_t count;
};
using OfLine = void (*)(const Line& line, const double* more);

// One of the two: a kernel where `plain` is null.
struct Operation {
  OfLine plain;
  MapKernel kernel;
  bool turned;  // the kernel takes the second input first
};

// By ONNX's name and the elements of the inputs, f, i or b: "Add(ff)". Throws std::invalid_argument.
Operation operation_named(const std::string& name);

}  // namespace fusedlstm
