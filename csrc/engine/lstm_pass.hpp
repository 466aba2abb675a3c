// Some rows of one call of an LSTM, run by the members of a team that meet at barriers.
//
// Each member owns a range of panels for the whole call (its slice of the weights stays in its core's cache) and all members
// go through the same steps; when a bidirectional layer has members enough, each direction gets its own group.
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
  void run(std::size_t member) override;
  void finish() override;
  void go_on() override;
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
  void run_layer(std::size_t layer, std::size_t first, std::size_t last, std::size_t member);
  Group group_of(std::size_t member);
  Place place(std::size_t s, std::size_t b, const float* h, const float* c) const;
  bool joins(std::size_t layer) const;

  const Lstm& lstm_;
  const Shape& shape_;
  const Call& call_;
  std::vector<std::size_t> of_call_;  // rows of the call
  const std::size_t members_, groups_;
  Rows rows_;
  std::deque<DirectionPass> directions_;  // layer by layer
  std::size_t block_;                     // time steps that stacked layers pass on at once
  Barrier all_, of_group_[2];

  float** x_rows_ = nullptr;
  float** y_rows_ = nullptr;
  std::vector<Between> between_;  // one a layer but the last; every second one shares its memory
  std::vector<Between> second_;   // one a layer, where directions are merged
  std::vector<Group> work_;       // one a member
};

}  // namespace fusedlstm
