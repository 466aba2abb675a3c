// A trained LSTM: layers of one direction or two.
#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "layer.hpp"
#include "packing.hpp"

namespace fusedlstm {

// Floats of h and of c, of one row, in the directions before this one.
struct StateOffset {
  std::size_t h, c;
};

class Lstm : public Layer {
 public:
  // arrays: layer by layer, the forward direction before the backward one.
  Lstm(const Shape& shape, const std::vector<DirectionArrays>& arrays);

  std::size_t state_size() const override { return shape_.state_size(); }
  Load load(const Call& call) const override;
  std::unique_ptr<Pass> pass(const Call& call, std::vector<std::size_t> rows, std::size_t members,
                             bool lasting = false) const override;

  const Shape& shape() const { return shape_; }
  const KernelTable& table() const { return table_; }
  std::size_t input_size() const { return shape_.layers.front().input_size; }
  std::size_t most_inputs() const;  // of any matrix
  const PackedDirection& direction(std::size_t layer, std::size_t direction) const {
    return directions_[layer * shape_.num_directions + direction];
  }
  const StateOffset& offset(std::size_t direction) const { return offsets_[direction]; }  // counted over all layers

 private:
  const KernelTable& table_;
  Shape shape_;
  std::vector<PackedDirection> directions_;
  std::vector<StateOffset> offsets_;
};

}  // namespace fusedlstm
