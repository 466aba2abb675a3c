// What the engine runs along time, and how a call of it is shared among threads.
//
// A layer (an LSTM, a ConvLSTM) is packed once, by its constructor, and immutable: any number of threads may run it at
// once. What a call needs is a pass: the state and the scratch of some rows, and the loop over time. A pass ends with its
// call, or lasts and goes on from one block of time to the next.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "buffer.hpp"
#include "crew.hpp"

namespace fusedlstm {

// A sequence anywhere in memory: strides in floats, any sign. `axis` and `feature` are for frames; an LSTM's features lie
// side by side.
struct Sequence {
  float* data;
  std::ptrdiff_t batch, time, axis[2], feature;
};

inline Sequence sequence(const float* data, std::ptrdiff_t batch, std::ptrdiff_t time) {
  return {const_cast<float*>(data), batch, time, {0, 0}, 1};
}

struct Call {
  std::size_t batch, time;
  std::size_t size[2];  // of a frame of x: height and width; an LSTM has none
  Sequence x, y;        // x is only read; y may not overlap it, and is not wanted where its data is null (LSTMs)
  // (directions, batch, size of h or c) for each layer, one layer after the other, the size of a frame being all its
  // positions and channels; null for the layer's own, or zeros.
  const float *h_0, *c_0;
  float *h_n, *c_n;

  // Of LSTMs alone. Lengths (batch), each from 0 to time, or null: all rows are `time` long.
  const std::int64_t* lengths;
  // In place of h_0 to c_n, forward only: row b goes on from the state at states + slots[b] * state_size, layer by layer h
  // then c, and leaves it there. No slot twice.
  float* states;
  const std::int64_t* slots;
  // Beside lengths, in place of x.batch and y.batch: row b begins at step starts[b] of x and y, and y ends with the row.
  const std::int64_t* starts;
};

class Pass {
 public:
  virtual ~Pass();
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;

  virtual void start() = 0;          // initial states
  virtual void run(Crew& crew) = 0;  // all steps of the call, on the threads of a crew; or less, if it was stopped
  virtual void finish() = 0;         // final states

  // Of a lasting pass: run the steps that the call now has, on this thread, and keep the state. False: it was stopped, and
  // the states are to be loaded again.
  virtual bool go_on() = 0;
  // The state of row b, state_size floats: layer by layer h then c.
  virtual void store(std::size_t b, float* state) const = 0;
  virtual void load(std::size_t b, const float* state) = 0;  // null: the layer's own, or zeros

 protected:
  explicit Pass(bool lasting) : lasting_(lasting) {}
  // State and scratch: what derived classes need, counted at first and then dealt out. take_memory calls it twice.
  virtual void lay_out(Cursor& cursor) = 0;
  void take_memory();

 private:
  bool lasting_;
  Buffer memory_;
};

// What a call costs, in multiply-adds, and how it may be shared out.
struct Load {
  double step, total;
  std::size_t directions;  // that run side by side
  std::size_t full_rows;   // rows that a thread needs for itself, if rows may be split among threads; else 0

  bool worth_sharing() const;  // enough for several threads
};

class Layer {
 public:
  virtual ~Layer() = default;

  virtual std::size_t state_size() const = 0;  // floats that a row carries from step to step
  virtual Load load(const Call& call) const = 0;
  // rows: those of the call that the pass runs. A lasting pass is laid out for call.time steps or more.
  virtual std::unique_ptr<Pass> pass(const Call& call, std::vector<std::size_t> rows, std::size_t members,
                                     bool lasting = false) const = 0;

  // threads: that it may use; 0: as many as num_threads() says. False: it was stopped, and outputs are undefined; states are
  // as before.
  bool run(const Call& call, std::size_t threads = 0) const;
};

}  // namespace fusedlstm
