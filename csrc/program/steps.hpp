// The steps of a program by family; each is made with everything resolved.
#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../engine/conv_lstm.hpp"
#include "../engine/gru.hpp"
#include "../engine/lstm.hpp"
#include "program.hpp"

namespace fusedlstm {

// How the elements of a tensor are held: floats as float32, whole numbers as int64, truth values as bytes.
enum class Element { float32, int64, boolean };
constexpr std::size_t size_of(Element element) {
  return element == Element::float32 ? 4 : element == Element::int64 ? 8 : 1;
}
struct Tensor : View {
  Element element = Element::float32;
};

// Elements along a line, steps in bytes.
using CopyLine = void (*)(const char* from, char* to, std::ptrdiff_t count, std::ptrdiff_t from_step,
                          std::ptrdiff_t to_step);
CopyLine copy_line_of(Element element);

// y = x, wherever they lie.
std::unique_ptr<Step> copy_step(const Tensor& x, const Tensor& y);

// y = operation(x...), element by element; inputs have y's shape, with strides of 0 where they are broadcast. `more` are the
// operation's parameters.
std::unique_ptr<Step> map_step(const std::string& operation, const std::vector<Tensor>& inputs, const Tensor& y,
                               const std::vector<double>& more);
std::unique_ptr<Step> activation_step(const Activation& activation, const Tensor& x, const Tensor& y);

// How a tensor of indices picks of another one, element by element of a third (what is taken, or put): for each axis of the
// indices, and of what is picked from, the axis of the third that it follows; -1 are the coordinates of an index, and the
// axes that they pick along, in their order. Without such an axis an index is one coordinate.
struct Picking {
  std::vector<std::ptrdiff_t> indices, picked;
};
constexpr const char* index_out_of_range = "expected indices within the tensor, found one that is out of range";
// y = x[index]. Indices count from the end below 0; one that is out of range is a fault.
std::unique_ptr<Step> take_step(const Tensor& x, const Tensor& index, const Tensor& y, const Picking& picking);
// The same of the rows of a table of weights: y (index..., width). See lookup.cpp.
struct PackedTable {
  Precision precision;
  std::size_t count, width, row_bytes;
  Buffer rows;  // each as a panel of one output
};
// Throws std::invalid_argument for float32, which `take_step` reads as it is.
std::shared_ptr<const PackedTable> pack_table(const float* table, std::size_t count, std::size_t width, Precision precision);
std::unique_ptr<Step> lookup_step(std::shared_ptr<const PackedTable> table, const Tensor& index, const Tensor& y);
// y[index] = updates, or reduced with what is there: "none", "add", "mul", "max" or "min"; with "skip" as "none", where an
// index that is out of range puts nothing.
std::unique_ptr<Step> put_step(const Tensor& index, const Tensor& updates, const Tensor& y, const Picking& picking,
                               const std::string& reduction);

// Running sums or products along an axis, from its end on, or without the element itself.
struct Scan {
  std::size_t axis;
  bool product, exclusive, reverse;
};
// Totals of what came before, and with x: int64, for floats the bits of doubles; of x's shape with one place on the axis.
struct ScanTotals {
  Tensor before, after;
};
std::unique_ptr<Step> scan_step(const Tensor& x, const Tensor& y, const Scan& scan,
                                const std::optional<ScanTotals>& totals = std::nullopt);
// The first elements along an axis, the largest or the smallest first, and where they are; of equal ones the first.
struct Top {
  Tensor values, indices;
  std::size_t axis;
  bool largest;
};
std::unique_ptr<Step> top_step(const Tensor& x, const Top& top);

// A matrix product with rows of x, or windows over them, and what is done to each row of y. See product.cpp.
struct PackedWeights {
  const KernelTable& table;
  Precision precision;
  PackedMatrix matrix;
  std::size_t outputs;
};
std::shared_ptr<const PackedWeights> pack_weights(const float* matrix, const float* bias, std::size_t outputs,
                                                  std::size_t inputs, Precision precision);
// How windows slide along one axis of x: output o sees (o * stride + tap * dilation - before), or with `spread` above 1 what
// of that is a multiple of it, divided by it (transposed convolutions).
struct Sliding {
  std::ptrdiff_t kernel, stride, dilation, before, spread;
};
enum class Edge { zeros, reflect, nearest, wrap };
struct Windowing {
  std::vector<Sliding> axes;
  Edge edge;
};
// x is (rows..., inputs) and y (rows..., outputs); or with windows x is (batch, spatial..., channels) and y (batch,
// spatial..., outputs). activation: or null.
std::unique_ptr<Step> product_step(std::shared_ptr<const PackedWeights> weights, const Tensor& x, const Tensor& y,
                                   const std::optional<Windowing>& windows, const std::optional<Activation>& activation);

// y = x w: x (batch..., rows, inputs), w (batch..., inputs, outputs), all three of one rank and batch.
struct Factors {
  Tensor x, w, y;
};
std::unique_ptr<Step> matmul_step(const Factors& factors);

// y = (x - zero point) scale; y, x, zero point and scale are of one shape.
std::unique_ptr<Step> dequantise_step(const std::array<Tensor, 4>& tensors);
// y = x / scale + zero point, rounded and cut off; y, x, scale and zero point are of one shape.
std::unique_ptr<Step> quantise_step(const std::array<Tensor, 4>& tensors, double low, double high);
// The same of sums of whole products, which have the scales of both sides; y's own are one for all.
struct Requantised {
  Tensor sums, x_scale, w_scale, scale, zero;
};
std::unique_ptr<Step> requantise_step(const Tensor& y, const Requantised& from, double low, double high);
// To 8 bits without a sign, by a scale and a zero point that it makes.
std::unique_ptr<Step> dynamic_step(const Tensor& x, const Tensor& y, const Tensor& scale, const Tensor& zero);

// Convolutions whose outputs each see few channels; see channels.cpp.
struct ChannelWeights {
  Buffer matrix, bias;  // (count, outputs) and (outputs)
  std::size_t count, outputs;
};
std::unique_ptr<Step> channels_step(std::shared_ptr<const ChannelWeights> weights, const Tensor& x, const Tensor& y,
                                    const Windowing& windows, const std::optional<Activation>& activation);
// The second half of a transposed convolution: x (batch, spatial..., taps outputs), what each input gives to each tap.
std::unique_ptr<Step> overlap_step(const Tensor& x, const Tensor& y, const std::optional<Tensor>& bias,
                                   std::vector<Sliding> axes);

// y: what `name` makes of the last `along` axes of x; ONNX's names without "Reduce".
std::unique_ptr<Step> reduce_step(const std::string& name, const Tensor& x, const Tensor& y, std::size_t along);
// The same over all x that have come so far; see running.cpp. What is kept of each result comes in and goes out, whole.
struct RunningSums {
  Tensor partial, total, count;  // (16, results) as floats, or (1, results) of extremes; the bits of doubles; whole numbers
};
struct RunningArrays {
  Tensor x, y;  // (terms, results) and (results)
  RunningSums before, after;
};
// single: of one term alone y is that, as it is.
std::unique_ptr<Step> running_step(const std::string& name, const RunningArrays& arrays, bool single);
// Where along the last axis the first or last of the largest or smallest is.
std::unique_ptr<Step> arg_step(const Tensor& x, const Tensor& y, bool largest, bool last);

// Softmax, LogSoftmax or Hardmax along the last axis.
std::unique_ptr<Step> softmax_step(const std::string& kind, const Tensor& x, const Tensor& y);
// See Normalise; gain and bias have a number for each element of a row, mean and inverse one for each row.
struct Normalising {
  std::optional<Tensor> gain, bias, mean, inverse;
  float epsilon = 0.0f, floor = 0.0f;
  bool centred = true;
};
std::unique_ptr<Step> normalise_step(const Tensor& x, const Tensor& y, std::size_t along, const Normalising& how);

// Pooling: x and y are (batch, spatial..., channels).
enum class Pooled { largest, average, norm };
struct Pooling {
  Pooled kind = Pooled::largest;
  std::vector<Sliding> axes;
  std::vector<std::pair<std::ptrdiff_t, std::ptrdiff_t>> counted;  // of each axis: padding that an average counts
  double p = 2.0;                                                  // of the norm
  double least = 0.0;                                              // whole numbers: what an empty window gives
};
std::unique_ptr<Step> pool_step(const Pooling& how, const Tensor& x, const Tensor& y);
// The largest with their places, counted as if x were (batch, channels, spatial...) in memory.
std::unique_ptr<Step> largest_step(const Pooling& how, const Tensor& x, const Tensor& y, const std::optional<Tensor>& places,
                                   bool column_major);

// y goes on around x by `edge`, or is `fill` there (0 if none); `before`: how far it begins before x.
std::unique_ptr<Step> pad_step(const Tensor& x, const Tensor& y, const std::vector<std::ptrdiff_t>& before, Edge edge,
                               const std::optional<Tensor>& fill);
// Of each axis of y, where in x its elements come from.
std::unique_ptr<Step> pick_step(const Tensor& x, const Tensor& y, const std::vector<std::vector<std::ptrdiff_t>>& places);
// Each output along an axis: `count` places of x, times their weights.
struct Taps {
  std::size_t count;
  std::vector<std::ptrdiff_t> places;
  std::vector<float> weights;
};
std::unique_ptr<Step> resample_step(const Tensor& x, const Tensor& y, std::size_t axis, Taps taps);

// x and y (batch, time, ...): the first steps of each row turned around, as many as its length says.
std::unique_ptr<Step> turn_step(const Tensor& x, const Tensor& y, const Tensor& lengths);
// The upper or lower triangle of the last two axes, from a diagonal on.
std::unique_ptr<Step> triangle_step(const Tensor& x, const Tensor& y, const std::optional<Tensor>& diagonal, bool upper);

struct LstmArrays {
  Tensor x;                 // (batch, time, features)
  std::optional<Tensor> y;  // likewise, if it is wanted
  std::optional<Tensor> h_0, c_0, lengths;
  Tensor h_n, c_n;  // contiguous, as Lstm has them
};
std::unique_ptr<Step> lstm_step(std::shared_ptr<const Lstm> lstm, const LstmArrays& arrays);

struct FrameArrays {
  Tensor x;                        // (batch, time, height, width, channels)
  std::optional<Tensor> h_0, c_0;  // (batch, height, width, filters), contiguous
  Tensor y, h_n, c_n;              // likewise
};
std::unique_ptr<Step> conv_lstm_step(std::shared_ptr<const ConvLstm> lstm, const FrameArrays& arrays);

// Directions of a GRU or an RNN, the second one backward, or the only one.
struct GruLayer {
  std::vector<Gru> directions;
  bool reverse;
};
struct GruStates {
  Tensor x;                   // (time, batch, features)
  std::optional<Tensor> y;    // (time, directions, batch, units), if it is wanted
  std::optional<Tensor> h_0;  // (directions, batch, units)
  std::optional<Tensor> lengths;
  Tensor h_n;
};
std::unique_ptr<Step> gru_step(std::shared_ptr<const GruLayer> layer, const GruStates& arrays);

}  // namespace fusedlstm
