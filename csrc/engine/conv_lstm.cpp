#include "conv_lstm.hpp"

#include <algorithm>
#include <utility>

#include "../kernels/dispatch.hpp"
#include "conv_pass.hpp"

namespace fusedlstm {

ConvLstm::ConvLstm(const ConvArrays& arrays) : table_(kernels()), channels_(arrays.channels), filters_(arrays.filters) {
  std::copy_n(arrays.input, 2, input_);
  std::copy_n(arrays.recurrent, 2, recurrent_);
  LayerShape shape = {};
  shape.input_size = input_[0].kernel * input_[1].kernel * channels_;
  shape.hidden_size = filters_;
  shape.output_size = recurrent_[0].kernel * recurrent_[1].kernel * filters_;
  DirectionArrays direction;
  direction.weight_ih = arrays.weight_ih;
  direction.weight_hh = arrays.weight_hh;
  direction.bias = arrays.bias;
  direction.cell = arrays.cell;
  packed_ = pack({table_, ConvPass::precision}, shape, direction);
}

Load ConvLstm::load(const Call& call) const {
  const std::size_t positions = call.batch * input_[0].outputs(call.size[0]) * input_[1].outputs(call.size[1]);
  const double step = 4.0 * static_cast<double>(filters_) * static_cast<double>(positions) *
                      static_cast<double>(packed_.input.inputs + packed_.recurrent.inputs);
  return {step, step * static_cast<double>(call.time), 1, 0};
}

std::unique_ptr<Pass> ConvLstm::pass(const Call& call, std::vector<std::size_t> rows, std::size_t members,
                                     bool lasting) const {
  return std::make_unique<ConvPass>(*this, call, std::move(rows), members, lasting);
}

}  // namespace fusedlstm
