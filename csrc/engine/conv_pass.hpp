// One call of a ConvLSTM. A place is a position of a frame of one row of the batch; each member of the crew has some
// places, gathers the windows around them, and runs the LSTM's kernels on those.
#pragma once
#include <cstddef>
#include <vector>

#include "conv_lstm.hpp"
#include "crew.hpp"

namespace fusedlstm {

class ConvPass : public Pass {
 public:
  static constexpr Precision precision = Precision::float32;  // of the weights

  ConvPass(const ConvLstm& lstm, const Call& call, std::vector<std::size_t> rows, std::size_t members, bool lasting);

  void start() override;
  void run(Crew& crew) override;
  void finish() override;
  bool go_on() override;
  void store(std::size_t b, float* state) const override;
  void load(std::size_t b, const float* state) override;

 private:
  // What one member works on at a time: windows, where they start, and for a cell that is not plain W x + b and R h.
  struct Scratch {
    float *x, *h;
    const float **x_rows, **h_rows;
    float *from_x, *from_h;
  };
  struct Range {
    std::size_t first, last;
    std::size_t count() const { return last - first; }
  };

  void lay_out(Cursor& cursor) override;
  void step(std::size_t t, const Range& places, const Scratch& scratch) const;
  void update_plain(const Range& places, const Scratch& scratch, float* h) const;
  void update_any(const Range& places, const Scratch& scratch, float* h) const;
  void copy_out(const float* h, std::size_t t, const Range& places) const;
  void load_frame(std::size_t b, const float* h, const float* c);
  template <class Run>
  void each_place(const Range& places, Run run) const;
  std::size_t of_frame() const { return size_[0] * size_[1]; }
  Range share(const Member& member) const {
    return {places_ * member.id / member.size, places_ * (member.id + 1) / member.size};
  }
  const float* now() const { return h_[origin_ % 2]; }

  const ConvLstm& lstm_;
  const KernelTable& table_;
  const Kernels& kernels_;
  const Call& call_;
  const std::vector<std::size_t> rows_;  // of the call
  const std::size_t members_;
  const std::size_t size_[2];  // of a frame of y, h and c
  const std::size_t places_;
  const std::size_t row_;                            // floats of h or c from place to place
  const std::size_t x_patch_, h_patch_;              // floats of a window
  const std::size_t chunk_;                          // places whose windows are gathered at once
  std::size_t origin_ = 0;                           // steps that have been run
  float *h_[2] = {nullptr, nullptr}, *c_ = nullptr;  // h: a step reads one and writes the other
  std::vector<Scratch> scratch_;                     // one a member
};

}  // namespace fusedlstm
