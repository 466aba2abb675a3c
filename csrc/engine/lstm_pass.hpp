// Some rows of one call of an LSTM. Members of a crew share the panels: always the same ones, as long as they are as many,
// so that a slice of the weights stays in a core's cache. Of two members each takes a direction of a bidirectional layer.
#pragma once
#include <cstddef>
#include <deque>
#include <vector>

#include "direction.hpp"
#include "lstm.hpp"

namespace fusedlstm {

class LstmPass : public Pass {
 public:
  struct Share {
    std::vector<std::size_t> rows;  // of the call, sorted by length, longest first
    std::size_t members;
    bool lasting;
  };

  LstmPass(const Lstm& lstm, const Call& call, Share share);

  void start() override;
  void run(Crew& crew) override;
  void finish() override;
  bool go_on() override;
  void store(std::size_t b, float* state) const override;
  void load(std::size_t b, const float* state) override;

 private:
  // A sequence between two layers, (time, row, width), or the outputs of a second direction.
  struct Between {
    float* data = nullptr;
    float** rows = nullptr;
    std::ptrdiff_t step = 0;  // floats from one time to the next
    RowView view(std::size_t first_time) const { return {rows, step, -static_cast<std::ptrdiff_t>(first_time) * step}; }
  };
  // Where the state of one direction and row is kept outside of this pass.
  struct Place {
    float *h, *c;
  };

  void lay_out(Cursor& cursor) override;
  void bind();  // the call's rows and lengths
  void run_layer(std::size_t layer, std::size_t first, std::size_t last, Crew& crew);
  Place place(std::size_t s, std::size_t b, const float* h, const float* c) const;
  bool joins(std::size_t layer) const;

  const Lstm& lstm_;
  const Shape& shape_;
  const Call& call_;
  std::vector<std::size_t> of_call_;  // rows of the call
  const std::size_t members_;
  Rows rows_;
  std::deque<DirectionPass> directions_;  // layer by layer
  std::size_t block_;                     // time steps that stacked layers pass on at once

  float** x_rows_ = nullptr;
  float** y_rows_ = nullptr;
  std::vector<Between> between_;  // one a layer but the last; every second one shares its memory
  std::vector<Between> second_;   // one a layer, where directions are merged
  std::vector<Scratch> scratch_;  // one for each direction that runs at the same time
};

}  // namespace fusedlstm
