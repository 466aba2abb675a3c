// A trained ConvLSTM: an LSTM at each position of a grid, whose inputs are the windows of x and of h around it.
#pragma once
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "layer.hpp"
#include "packing.hpp"
#include "windows.hpp"

namespace fusedlstm {

struct ConvArrays {
  const float* weight_ih;  // (4 * filters, kernel height, kernel width, channels), gates i, f, g, o
  const float* weight_hh;  // (4 * filters, kernel height, kernel width, filters)
  const float* bias;       // (4 * filters), or null
  std::size_t channels, filters;
  Window input[2];           // height, width
  Window recurrent[2];       // of stride 1 and "same": h keeps its size
  std::optional<Cell> cell;  // activations other than sigmoid and tanh
};

class ConvLstm : public Layer {
 public:
  explicit ConvLstm(const ConvArrays& arrays);

  // Of one position: how many there are, the frames say.
  std::size_t state_size() const override { return 2 * filters_; }
  Load load(const Call& call) const override;
  std::unique_ptr<Pass> pass(const Call& call, std::vector<std::size_t> rows, std::size_t members,
                             bool lasting = false) const override;

  const KernelTable& table() const { return table_; }
  std::size_t channels() const { return channels_; }
  std::size_t filters() const { return filters_; }
  const Window (&input() const)[2] { return input_; }
  const Window (&recurrent() const)[2] { return recurrent_; }
  const PackedDirection& packed() const { return packed_; }

 private:
  const KernelTable& table_;
  std::size_t channels_, filters_;
  Window input_[2], recurrent_[2];
  PackedDirection packed_;
};

}  // namespace fusedlstm
