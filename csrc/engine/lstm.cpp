#include "lstm.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "../kernels/dispatch.hpp"
#include "lstm_pass.hpp"

namespace fusedlstm {

namespace {

// Rows each thread needs for its registers to be full: then rows are split, and threads never meet.
constexpr std::size_t full_rows = 12;

// Up to this many bytes of recurrent weights as float32, float16 is widened once, here: the bits are the same, and what is
// in L2 anyway takes longer to widen in every step than to read.
constexpr std::size_t widened_bytes = 512 * 1024;

Precision held_in(const Shape& shape) {
  if (shape.precision != Precision::float16) return shape.precision;
  for (const LayerShape& layer : shape.layers)
    if (4 * layer.hidden_size * layer.output_size * sizeof(float) > widened_bytes) return Precision::float16;
  return Precision::float32;
}

}  // namespace

Lstm::Lstm(const Shape& shape, const std::vector<DirectionArrays>& arrays) : table_(kernels()), shape_(shape) {
  const std::size_t expected = shape.layers.size() * shape.num_directions;
  if (arrays.empty() || arrays.size() != expected)
    throw std::invalid_argument("expected " + std::to_string(expected) + " directions, found " +
                                std::to_string(arrays.size()));
  shape_.precision = held_in(shape);
  directions_.reserve(arrays.size());
  StateOffset before = {0, 0};
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const LayerShape& layer = shape_.layers[i / shape.num_directions];
    directions_.push_back(pack({table_, shape_.precision}, layer, arrays[i]));
    offsets_.push_back(before);
    before = {before.h + layer.output_size, before.c + layer.hidden_size};
  }
}

std::size_t Lstm::most_inputs() const {
  std::size_t most = 0;
  for (const LayerShape& layer : shape_.layers)
    most = std::max({most, layer.input_size, layer.hidden_size, layer.output_size});
  return most;
}

Load Lstm::load(const Call& call) const {
  const double step = static_cast<double>(shape_.multiplications()) / static_cast<double>(shape_.layers.size()) *
                      static_cast<double>(call.batch);
  return {step, step * static_cast<double>(call.time * directions_.size()), shape_.num_directions, full_rows};
}

std::unique_ptr<Pass> Lstm::pass(const Call& call, std::vector<std::size_t> rows, std::size_t members, bool lasting) const {
  return std::make_unique<LstmPass>(*this, call, LstmPass::Share{std::move(rows), members, lasting});
}

}  // namespace fusedlstm
