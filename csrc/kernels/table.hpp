// What the engine may ask of the kernels: one table of functions per instruction set.
//
// Packed weights. Units are cut into panels of `lanes` units; a panel holds the four gates of its units:
//   weights  [panel][k][gate][lane]     k runs over the inputs (or the recurrent inputs), gates i, f, g, o
//   bias, z  [panel][gate][lane]        z: the pre-activations of one row
// Lanes past the last unit hold zeros and are never read back.
//
// Every output is summed in one order: the bias, then x by k, then h by k, in blocks of 64 terms, each block a chain of
// fused multiply-adds that starts at zero and is added to the total. The number of rows or panels computed together, the
// threads and the width of the vectors do not change that order, so they do not change the bits.
#pragma once
#include <cstddef>
#include <cstdint>

namespace fusedlstm {

// z[row] = bias + W x[row] for the panels [first_panel, last_panel).
struct Projection {
  const float* weights;
  const float* bias;
  std::size_t input_size;
  std::size_t first_panel, last_panel;
  const float* const* x;  // one pointer a row
  std::size_t rows;
  float* z;
  std::size_t z_row;  // floats from one row of z to the next
};

// `steps` steps of one direction for the panels [first_panel, last_panel) of `rows` rows: gates, cell update and output
// in one pass. Strides are in floats.
struct Recurrence {
  const float* input_weights;  // used when input_size > 0: x is multiplied here rather than projected beforehand
  std::size_t input_size;
  const float* const* x;  // x[row] + x_offset + step * x_step
  std::ptrdiff_t x_offset, x_step;

  const float* recurrent_weights;
  std::size_t recurrent_size;

  const float* start;  // z, or the bias (start_row = start_step = 0)
  std::ptrdiff_t start_row, start_step;

  const float* h_in[2];  // step s reads h_in[s % 2] and writes h_out[s % 2]
  float* h_out[2];
  std::size_t h_in_row, h_out_row;
  float* c;  // updated in place
  std::size_t c_row;
  float* const* y;  // y[row] + y_offset + step * y_step; null: no y
  std::ptrdiff_t y_offset, y_step;

  std::size_t units;  // all units of the layer: the last panel may be partly filled
  std::size_t first_panel, last_panel;
  std::size_t rows, steps;
  bool last_panel_first;  // the order of the first step; it alternates, so that what was read last is read first
};

struct KernelTable {
  const char* name;
  std::size_t lanes;
  void (*project)(const Projection&) noexcept;
  void (*recur)(const Recurrence&) noexcept;
  void (*sigmoid)(const float* x, float* y, std::size_t count) noexcept;
  void (*tanh)(const float* x, float* y, std::size_t count) noexcept;
  void (*sigmoid_times_tanh)(const float* a, const float* b, float* y, std::size_t count) noexcept;
  unsigned long long (*enter_flush_to_zero)() noexcept;  // returns what leave_flush_to_zero restores
  void (*leave_flush_to_zero)(unsigned long long) noexcept;
  void (*pause)() noexcept;  // for a spinning thread
};

extern const KernelTable scalar_kernels;
#if defined(__x86_64__) || defined(_M_X64)
extern const KernelTable avx2_kernels;
extern const KernelTable avx512_kernels;
#elif defined(__aarch64__) || defined(_M_ARM64)
extern const KernelTable neon_kernels;
#endif

}  // namespace fusedlstm
