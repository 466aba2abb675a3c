// What the engine may ask of the kernels: one table of functions per instruction set.
//
// Packed weights. Units are cut into panels of `lanes` units; a panel holds the four gates of its units:
//   weights  [panel][k][gate][lane]     k runs over the inputs (or the recurrent inputs), gates i, f, g, o
//   bias, z  [panel][gate][lane]        z: the pre-activations of one row
// Lanes past the last unit hold zeros and are never read back. Of the last panel there are only the vectors that its outputs
// fill (`tail_vectors`), so that k follow each other sooner; a plain cell's few last units have their gates side by side:
//   weights  [k][gate][unit]            quarters or halves of a vector; bias and z the same
// bfloat16 holds two gates of a lane side by side,
// [panel][k][gate / 2][lane][gate % 2], or where x and h are bfloat16 too, two k: [panel][k / 2][gate][lane][k % 2], with
// zeros up to an even number; int8 is described below.
//
// Every output is summed in one order: the bias, then x by k, then h by k, in blocks of 64 terms (512 for bfloat16 by
// bfloat16), each block a chain of fused multiply-adds that starts at zero and is added to the total; of two k that are held
// side by side, the second comes first, as in the CPU's own instruction for them. The number of rows or panels computed
// together, the threads and the width of the vectors do not change that order, so they do not change the bits.
#pragma once
#include <cstddef>
#include <cstdint>

namespace fusedlstm {

constexpr std::size_t round_up(std::size_t count, std::size_t unit) { return (count + unit - 1) / unit * unit; }

// What the weights are held in, and by what they are multiplied: x and h are float32, but for int8 rounded to whole numbers
// of 16 bits or of 8, or x of 16 and h of 8, each row and step with a scale of its own, and may be rounded to bfloat16.
// Everything else is float32.
enum class Precision { float32, float16, bfloat16, bfloat16_by_bfloat16, int8_by_16, int8_by_16_and_8, int8_by_8 };
constexpr std::size_t precisions = 7;

// int8 weights. Sums of products of whole numbers are exact within a block of this many k, then become floats:
//   [panel] { scale [gate][lane] as float, then for each block { the sum of its weights [gate][lane] as int32,
//             weights [k / 4][gate][lane][k % 4] } }, with zeros up to a multiple of 4 k
constexpr std::size_t integer_block = 512;

constexpr bool is_int8(Precision precision) { return precision >= Precision::int8_by_16; }

// What h is multiplied as, where x is something else.
constexpr Precision of_hidden(Precision precision) {
  return precision == Precision::int8_by_16_and_8 ? Precision::int8_by_8 : precision;
}

// Vectors of a last panel whose outputs fill `vectors`, of four.
constexpr std::size_t tail_vectors(Precision precision, std::size_t vectors) {
  if (is_int8(precision) || precision == Precision::bfloat16_by_bfloat16) return 4;
  return precision == Precision::bfloat16 ? round_up(vectors, 2) : vectors;
}

// Bytes of a panel of `inputs` k; width: its outputs, 4 * lanes, or of a last one lanes * tail_vectors.
constexpr std::size_t panel_bytes(Precision precision, std::size_t inputs, std::size_t width) {
  if (is_int8(precision)) return width * (4 + 4 * (round_up(inputs, integer_block) / integer_block) + round_up(inputs, 4));
  if (precision == Precision::bfloat16_by_bfloat16) return width * round_up(inputs, 2) * 2;
  return width * inputs * (precision == Precision::float32 ? 4 : 2);
}
// Where block `first / integer_block` of an int8 panel starts: every block before it is whole.
constexpr std::size_t integer_block_start(std::size_t first, std::size_t width) {
  return width * (4 + first / integer_block * (4 + integer_block));
}

// Where a row of x or h is rounded: for int8 the scale as a float, and from `rounded_head` on the numbers, as the
// instruction set wants them. A row takes rounded_head bytes, and for each k rounded up to 32 k 2 (int8) or 4 (bfloat16).
constexpr std::size_t rounded_head = 64;
// 0 where rows are not rounded.
constexpr std::size_t rounded_row_bytes(Precision precision, std::size_t inputs) {
  if (is_int8(precision)) return rounded_head + 2 * round_up(inputs, 32);
  return precision == Precision::bfloat16_by_bfloat16 ? rounded_head + 4 * round_up(inputs, 32) : 0;
}
struct Rounded {
  unsigned char* rows;
  std::size_t row_bytes;
};

// z[row] = bias + W x[row] for the panels [first_panel, last_panel).
struct Projection {
  const void* weights;
  const float* bias;
  std::size_t input_size;
  std::size_t first_panel, last_panel;
  std::size_t last_outputs;  // that the last panel has, and z has room for; 0: all
  const float* const* x;     // one pointer a row
  std::size_t rows;
  float* z;
  std::size_t z_row;  // floats from one row of z to the next
  Rounded rounded_x;  // scratch for `rows` rows, where the precision rounds them
  // The number of a step that multiplies by the same weights, from 1 on: panels are met from either end in turn, so that
  // what was read last is read first. 0: in order.
  std::size_t turn;
};

// What one row alone projects while it reads its recurrent weights: z of later steps, Kernels::ahead of them at a time.
// Their x and z are where the recurrence would have them; the first ones are there already.
struct Ahead {
  const void* weights;
  const float* bias;
  std::size_t inputs;      // 0: nothing is projected
  float* z;                // as `start` has it
  std::size_t group;       // steps that are projected during as many before them, a multiple of Kernels::ahead
  std::size_t done, last;  // steps that were before this call; steps that are to be projected, a multiple of the group
};

// `steps` steps of one direction for the panels [first_panel, last_panel) of `rows` rows: gates, cell update and output
// in one pass. Strides are in floats.
struct Recurrence {
  const void* input_weights;  // used when input_size > 0: x is multiplied here rather than projected beforehand
  std::size_t input_size;
  const float* const* x;  // x[row] + x_offset + step * x_step
  std::ptrdiff_t x_offset, x_step;

  const void* recurrent_weights;
  std::size_t recurrent_size;
  Rounded rounded_x, rounded_h;  // scratch for `rows` rows, where the precision rounds them

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
  std::size_t last_outputs;  // that the last panel has, gaps between its gates included; 0: all
  std::size_t rows, steps;
  Ahead ahead;
  bool last_panel_first;  // the order of the first step; it alternates, so that what was read last is read first
};

// Element-wise functions; bindings/cell.cpp pairs them with the names of cell.py.
enum class Function {
  affine,
  clipped_relu,
  elu,
  exponential,
  gelu,
  gelu_tanh,
  hard_sigmoid,
  leaky_relu,
  mish,
  relu,
  scaled_tanh,
  selu,
  sigmoid,
  silu,
  softplus,
  softsign,
  tanh,
  thresholded_relu,
};
struct Activation {
  Function function;
  float alpha, beta;
};

enum class Coupled { none, forget, input };
enum class GateNorm { none, gates, sides };
enum class CellNorm { none, carried, output };

// What a cell computes where it is not the plain one: every choice of cell.py.
struct Cell {
  Activation gate, candidate, output;
  Coupled coupled;
  float gate_clip, cell_clip, projection_clip;
  GateNorm gate_norm;
  CellNorm cell_norm;
  float norm_epsilon, cell_zoneout, hidden_zoneout;

  bool needs_whole_rows() const { return gate_norm != GateNorm::none || cell_norm != CellNorm::none; }
};

// The same with its arrays, null where there is none: those over gates packed like a bias, those over units in whole
// vectors.
struct PackedCell : Cell {
  const float* bias;  // added after a normalisation; without one it is in from_x already
  const float *norm_ih, *norm_hh;
  const float *peephole_i, *peephole_f, *peephole_o;
  const float *norm_c, *norm_c_bias;
};

// One step of any cell for the panels [first_panel, last_panel) of the rows [first_row, last_row): from the pre-activations
// to the new c and to o output(c).
struct CellUpdate {
  const PackedCell* cell;
  const float* from_x;  // W x + bias
  std::size_t from_x_row;
  float* from_h;  // R h; overwritten
  std::size_t from_h_row;
  float* c;
  std::size_t c_row;
  float* m;
  std::size_t m_row;
  std::size_t units;
  std::size_t first_panel, last_panel, first_row, last_row;
};

// What follows a projection: its clip, zoneout, and the copy into y, for the units [first, last) of some rows; `first` is a
// multiple of the vector's width. h holds o output(c) or its projection, and is updated in place.
struct HiddenUpdate {
  const PackedCell* cell;
  const float* h_before;
  float* h;
  std::size_t h_row;
  float* const* y;  // y[row] + y_offset; null: no y
  std::ptrdiff_t y_offset;
  std::size_t first, last, first_row, last_row;
};

// Cells of one state, h. A row's pre-activations lie gate by gate, those of a GRU in the order z, r, n; past the last unit
// rows of any of them can be read for one vector more.
enum class OneState {
  rnn,        // h = candidate(x + R h)
  gru,        // n = candidate(x_n + r (R_n h + b_n)); h = z h + (1 - z) n
  gru_reset,  // n = candidate(x_n + R_n (r h)): first r h, into `reset`,
  gru_after,  // then, with R_n of it in from_n, h
};
struct StateUpdate {
  OneState cell;
  Activation gate, candidate;
  float clip;           // of pre-activations
  const float* from_x;  // W x + b
  std::size_t from_x_row;
  const float* from_h;  // R h
  std::size_t from_h_row;
  const float* from_n;  // of that the part of n
  std::size_t from_n_row;
  float* const* h;  // one pointer a row, in whole vectors; updated in place
  float* const* reset;
  float* const* y;  // y[row] + y_offset; null: no y
  std::ptrdiff_t y_offset;
  std::size_t units, rows;
};

// One line of element-wise work: y[i] = f(inputs[0][i], ...), floats but for the truth values (bytes) that comparisons
// make and `choose` takes first. An input may be one number for all i; y may be one of the inputs.
struct MapLine {
  void* y;
  const void* inputs[3];
  bool repeated[3];
  std::size_t count;
};
using MapFunction = void (*)(const MapLine&) noexcept;
// By the order of KernelTable::map. min and max are NaN where an input is.
enum class MapKernel {
  add,
  sub,
  mul,
  div,
  min,
  max,
  multiply_add,  // a b + c, rounded once
  neg,
  abs,
  square,
  square_root,
  reciprocal,
  less,
  less_or_equal,
  equal,
  choose,  // a ? b : c
  slope,   // a < 0 ? a b : a
  floor,
  ceil,
  round,  // ties to the even one
  log,
  erf,
  mish,
};
constexpr std::size_t map_kernels = 23;

// What becomes of a row of floats. Its terms go into sixteen partial sums, term k into number k % 16; those of 1024 terms
// are added in pairs, and that to the total, in double. Neither the width of the vectors nor where the rows lie changes
// that.
enum class Reduction { sum, sum_abs, sum_squares, sum_exp, product, max, min };
struct Reducing {
  Reduction kind;
  float shift;  // sum_exp: of exp(x - shift), for x <= shift
};
// Rows that lie side by side: term k of all of them from x + k * x_step on. y may be x.
struct Columns {
  const float* x;
  float* y;
  std::ptrdiff_t x_step, y_step;
  std::size_t count, columns;
};

// y = (x - mean) / deviation * gain + bias. deviation: sqrt(variance + epsilon) + floor, of the squares of x itself where it
// is not centred. gain and bias, for each element of a row, may be null.
struct Normalise {
  const float *gain, *bias;
  float epsilon, floor;
  bool centred;
  float *mean, *inverse;  // of each row: 1 / deviation; null where not wanted
};

// One position of a convolution that sees one input channel for each output channel and k: y[c] = bias[c] + the sum over k
// of weights[k][c] x[offsets[k] + c], in the order of the other products; an offset may be `nothing`, outside of the input.
constexpr std::ptrdiff_t nothing = PTRDIFF_MIN;
struct ChannelProducts {
  const float* x;
  const std::ptrdiff_t* offsets;
  const float* weights;  // rows of `channels`
  const float* bias;
  float* y;
  std::size_t count, channels;
};

// One position of a pool: y[c] is the largest of x[offsets[k] + c], or their sum divided by `divisor`.
struct ChannelPool {
  const float* x;
  const std::ptrdiff_t* offsets;
  std::size_t count;  // 1 or more
  float* y;
  std::size_t channels;
  float divisor;  // 0: the largest
};

// One line resampled: y[i] = the sum over t of weights[t][i] x[places[t][i]], both with `count` a row.
struct ResampleLine {
  const float* x;
  const std::ptrdiff_t* places;
  const float* weights;
  std::size_t taps;
  float* y;
  std::size_t count;
};

// What depends on the precision of the weights.
struct Kernels {
  void (*project)(const Projection&) noexcept;
  void (*recur)(const Recurrence&) noexcept;
  std::size_t ahead;  // steps that recur projects side by side; 0: it does not
};

// An instruction set that does some precisions better than the set which it extends.
struct Improvement {
  Precision precision;
  Kernels kernels;
};
struct Extension {
  const char* name;
  std::size_t count;
  Improvement improvements[3];
};

struct KernelTable {
  const char* name;
  std::size_t lanes;
  Kernels of[precisions];
  void (*update_cell)(const CellUpdate&) noexcept;
  void (*update_hidden)(const HiddenUpdate&) noexcept;
  void (*update_state)(const StateUpdate&) noexcept;
  void (*activate)(const Activation&, const float* x, float* y, std::size_t count) noexcept;
  void (*sigmoid)(const float* x, float* y, std::size_t count) noexcept;
  void (*tanh)(const float* x, float* y, std::size_t count) noexcept;
  void (*sigmoid_times_tanh)(const float* a, const float* b, float* y, std::size_t count) noexcept;
  MapFunction map[map_kernels];
  double (*reduce)(const Reducing&, const float* x, std::size_t count) noexcept;
  void (*reduce_columns)(Reduction, const Columns&, double* sums) noexcept;  // shift 0; y is not used
  void (*softmax)(const float* x, float* y, std::size_t count) noexcept;     // y may be x
  void (*softmax_columns)(const Columns&) noexcept;
  void (*normalise)(const Normalise&, const float* x, float* y, std::size_t count) noexcept;
  void (*normalise_columns)(const Normalise&, const Columns&) noexcept;
  void (*channel_products)(const ChannelProducts&) noexcept;
  void (*channel_pool)(const ChannelPool&) noexcept;
  void (*resample_line)(const ResampleLine&) noexcept;
  unsigned long long (*enter_flush_to_zero)() noexcept;  // returns what leave_flush_to_zero restores
  void (*leave_flush_to_zero)(unsigned long long) noexcept;
  void (*pause)() noexcept;  // for a spinning thread
};

// Empty, without a name, where they are of another architecture or the compiler does not know them.
extern const KernelTable scalar_kernels;
extern const KernelTable avx2_kernels;
extern const Extension avx2vnni_kernels;
extern const KernelTable avx512_kernels;
extern const Extension avx512vnni_kernels;
extern const Extension avx512bf16_kernels;
extern const KernelTable neon_kernels;

}  // namespace fusedlstm
