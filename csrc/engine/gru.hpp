// One direction of a GRU or an RNN: packed weights, and the loop over time. The panels and kernels for products are the
// LSTM's.
#pragma once
#include <cstddef>
#include <cstdint>

#include "layer.hpp"
#include "packing.hpp"

namespace fusedlstm {

enum class GruKind { rnn, gru, gru_linear };  // gru_linear: R_n h is computed before the reset gate meets it

// Row-major float32, the gates of a GRU in the order z, r, n, G of them; biases may be null.
struct GruArrays {
  const float *weight_ih, *weight_hh;  // (G H, input), (G H, H)
  const float *bias_ih, *bias_hh;      // (G H)
};

struct GruShape {
  GruKind kind;
  std::size_t input_size, hidden_size;
  Activation gate, candidate;
  float clip;
  Precision precision;
  std::size_t gates() const { return kind == GruKind::rnn ? 1 : 3; }
};

// One direction's part of a call.
struct GruCall {
  std::size_t batch, time;
  Sequence x, y;                // y.data null: it is not wanted
  const std::int64_t* lengths;  // null: all rows are `time` long
  const float* h_0;             // null: zeros
  std::ptrdiff_t h_0_row;
  float* h_n;
  std::ptrdiff_t h_n_row;
  bool backward;
  bool ended(std::size_t b, std::size_t t) const { return lengths != nullptr && t >= static_cast<std::size_t>(lengths[b]); }
};

class Gru {
 public:
  Gru(const GruShape& shape, const GruArrays& arrays);

  const GruShape& shape() const { return shape_; }
  std::size_t scratch(std::size_t batch, std::size_t time) const;  // bytes
  void run(const GruCall& call, char* scratch) const;

 private:
  struct Scratch {
    float *h, *reset;                 // a row of the state in whole vectors
    float *from_x, *from_h, *from_n;  // pre-activations: computed ahead, and of one step
    const float** x_rows;
    float **h_rows, **reset_rows, **y_rows;  // of the rows that run in a step
    unsigned char* rounded;
  };
  struct Block {
    std::size_t first, steps;  // times
    std::size_t time(std::size_t done, bool backward) const { return backward ? first + steps - 1 - done : first + done; }
  };

  Scratch lay_out(Cursor& cursor, std::size_t batch, std::size_t time) const;
  std::size_t rows_ahead(std::size_t batch, std::size_t time) const;
  std::size_t list_rows(const GruCall& call, const Scratch& s, std::size_t t) const;
  void project_ahead(const GruCall& call, const Scratch& s, const Block& block) const;
  void run_block(const GruCall& call, const Scratch& s, const Block& block) const;
  void project(const PackedMatrix& matrix, const Projection& what, const Scratch& s) const;

  const KernelTable& table_;
  const GruShape shape_;
  PackedMatrix input_, recurrent_, candidate_;  // candidate_: R_n, where r h is what it is multiplied by
  std::size_t h_row_, z_row_;                   // floats from row to row, of states and of pre-activations
};

}  // namespace fusedlstm
