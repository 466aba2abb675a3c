// Rows that keep their state from call to call and run on the caller's thread: what the C API opens.
#pragma once
#include <cstddef>
#include <memory>

#include "lstm.hpp"

namespace fusedlstm {

class Stream {
 public:
  Stream(const Lstm& lstm, std::size_t batch);
  Stream(const Stream& other);
  Stream& operator=(const Stream&) = delete;

  const Lstm& lstm() const { return lstm_; }
  std::size_t batch() const { return call_.batch; }

  // x (batch, input) and y (batch, output) are contiguous and may overlap; active (batch), or null: all.
  void step(const float* x, float* y, const unsigned char* active);
  // As in Call; y may not overlap x. Where it is interrupted, the state is as before.
  void process(std::size_t time, const Sequence& x, const Sequence& y);
  void get_state(float* states) const;  // (batch, state_size)
  void set_state(const float* states);
  void reset(const unsigned char* rows);  // (batch), or null: all

 private:
  bool go_on(std::size_t time, const Sequence& x, const Sequence& y);

  const Lstm& lstm_;
  Call call_;
  std::unique_ptr<Pass> pass_;
  std::size_t inputs_, outputs_, state_size_;  // of one row
  Buffer spare_;  // (batch, input) and (batch, state): inputs that overlap outputs, states of rows that sit out
};

}  // namespace fusedlstm
