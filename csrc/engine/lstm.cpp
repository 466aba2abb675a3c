#include "lstm.hpp"

#include <algorithm>
#include <deque>
#include <numeric>
#include <stdexcept>
#include <string>

#include "../kernels/dispatch.hpp"
#include "pass.hpp"

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
  for (std::size_t i = 0; i < arrays.size(); ++i)
    directions_.push_back(pack(table_, shape_.precision, shape_.layers[i / shape.num_directions], arrays[i]));
}

std::size_t Lstm::most_inputs() const {
  std::size_t most = 0;
  for (const LayerShape& layer : shape_.layers)
    most = std::max({most, layer.input_size, layer.hidden_size, layer.output_size});
  return most;
}

void Lstm::run(const Call& call) const {
  std::vector<std::size_t> rows(call.batch);
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  if (call.lengths != nullptr)
    std::stable_sort(rows.begin(), rows.end(),
                     [&](std::size_t a, std::size_t b) { return call.lengths[a] > call.lengths[b]; });

  const double step = static_cast<double>(shape_.multiplications()) / static_cast<double>(shape_.layers.size()) *
                      static_cast<double>(call.batch);
  const double total = step * static_cast<double>(call.time * directions_.size());
  const bool worth = total >= worth_a_team && (step >= worth_meeting || shape_.num_directions == 2);
  TeamLease team(worth ? num_threads() : 1);

  const bool split_rows = team.size() > 1 && call.batch >= full_rows * team.size() && team.size() != shape_.num_directions;
  const std::size_t passes = split_rows ? team.size() : 1;
  std::vector<std::vector<std::size_t>> shares(passes);  // dealt out in turn, so that lengths are shared fairly
  for (std::size_t i = 0; i < rows.size(); ++i) shares[i % passes].push_back(rows[i]);
  std::deque<Pass> pass;
  for (std::vector<std::size_t>& share : shares)
    pass.emplace_back(*this, table_, call, std::move(share), split_rows ? 1 : team.size());

  if (split_rows) {
    team.run([&](std::size_t member) {
      pass[member].prepare();
      pass[member].run(0);
      pass[member].finish();
    });
  } else {
    pass[0].prepare();
    team.run([&](std::size_t member) { pass[0].run(member); });
    pass[0].finish();
  }
}

}  // namespace fusedlstm
