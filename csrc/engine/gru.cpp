#include "gru.hpp"

#include <algorithm>
#include <cstring>

#include "../kernels/dispatch.hpp"
#include "interrupt.hpp"

namespace fusedlstm {

namespace {

// As for LSTMs: pre-activations computed ahead take this much at most.
constexpr std::size_t ahead_bytes = std::size_t{1} << 20;
constexpr std::size_t fewest_rows_ahead = 24, most_rows_ahead = 512;

float* at(const Sequence& sequence, std::size_t b, std::size_t t) {
  return sequence.data + static_cast<std::ptrdiff_t>(b) * sequence.batch + static_cast<std::ptrdiff_t>(t) * sequence.time;
}

}  // namespace

Gru::Gru(const GruShape& shape, const GruArrays& arrays) : table_(kernels()), shape_(shape) {
  const std::size_t hidden = shape.hidden_size, gates = shape.gates(), rows = gates * hidden;
  const Target target = {table_, shape.precision};
  // Biases are added once, with W x, but for that which the reset gate is multiplied with.
  const bool linear = shape.kind == GruKind::gru_linear;
  std::vector<float> ahead(rows), later(rows);
  for (std::size_t i = 0; i < rows; ++i) {
    const float of_x = arrays.bias_ih == nullptr ? 0.0f : arrays.bias_ih[i];
    const float of_h = arrays.bias_hh == nullptr ? 0.0f : arrays.bias_hh[i];
    const bool apart = linear && i >= 2 * hidden;
    ahead[i] = apart ? of_x : static_cast<float>(static_cast<double>(of_x) + of_h);
    later[i] = apart ? of_h : 0.0f;
  }
  input_ = pack_rows(target, {arrays.weight_ih, ahead.data(), rows, shape.input_size});
  const std::size_t together = shape.kind == GruKind::gru ? 2 * hidden : rows;
  recurrent_ = pack_rows(target, {arrays.weight_hh, later.data(), together, hidden});
  if (shape.kind == GruKind::gru)
    candidate_ = pack_rows(target, {arrays.weight_hh + together * hidden, nullptr, hidden, hidden});
  h_row_ = round_up(hidden, table_.lanes);
  z_row_ = round_up(rows + table_.lanes, 4 * table_.lanes);  // what follows the last gate is read as well
}

std::size_t Gru::rows_ahead(std::size_t batch, std::size_t time) const {
  const std::size_t most = std::clamp(ahead_bytes / (z_row_ * sizeof(float)), fewest_rows_ahead, most_rows_ahead);
  return std::max<std::size_t>(1, std::min(std::max(most, batch), batch * std::max<std::size_t>(1, time)));
}

Gru::Scratch Gru::lay_out(Cursor& cursor, std::size_t batch, std::size_t time) const {
  const std::size_t ahead = rows_ahead(batch, time);
  Scratch s = {};
  s.h = cursor.take<float>(batch * h_row_);
  s.reset = cursor.take<float>(shape_.kind == GruKind::gru ? batch * h_row_ : 0);
  s.from_x = cursor.take<float>(ahead * z_row_);
  s.from_h = cursor.take<float>(batch * z_row_);
  s.from_n = cursor.take<float>(shape_.kind == GruKind::gru ? batch * z_row_ : 0);
  s.x_rows = cursor.take<const float*>(ahead);
  s.h_rows = cursor.take<float*>(batch);
  s.reset_rows = cursor.take<float*>(batch);
  s.y_rows = cursor.take<float*>(batch);
  s.rounded = cursor.take<unsigned char>(
      ahead * rounded_row_bytes(shape_.precision, std::max(shape_.input_size, shape_.hidden_size)));
  return s;
}

std::size_t Gru::scratch(std::size_t batch, std::size_t time) const {
  Cursor count;
  lay_out(count, batch, time);
  return count.used();
}

void Gru::run(const GruCall& call, char* scratch) const {
  Cursor deal(scratch);
  const Scratch s = lay_out(deal, call.batch, call.time);
  const std::size_t hidden = shape_.hidden_size;
  std::size_t longest = call.lengths == nullptr ? call.time : 0;
  for (std::size_t b = 0; b < call.batch; ++b) {
    float* const h = s.h + b * h_row_;
    std::fill(h, h + h_row_, 0.0f);
    if (call.h_0 != nullptr) std::copy_n(call.h_0 + static_cast<std::ptrdiff_t>(b) * call.h_0_row, hidden, h);
    s.reset_rows[b] = s.reset + b * h_row_;
    if (call.lengths == nullptr) continue;
    const std::size_t length = static_cast<std::size_t>(call.lengths[b]);
    longest = std::max(longest, length);
    for (std::size_t t = length; call.y.data != nullptr && t < call.time; ++t)
      std::memset(at(call.y, b, t), 0, hidden * sizeof(float));
  }
  if (call.batch == 0) return;
  const std::size_t stride = rows_ahead(call.batch, call.time) / call.batch;
  for (std::size_t done = 0; done < longest && !Interrupt::stopped(); done += stride) {
    const std::size_t steps = std::min(stride, longest - done);
    run_block(call, s, {call.backward ? longest - done - steps : done, steps});
  }
  for (std::size_t b = 0; b < call.batch; ++b)
    std::copy_n(s.h + b * h_row_, hidden, call.h_n + static_cast<std::ptrdiff_t>(b) * call.h_n_row);
}

// The rows that run at time t: their states and outputs; how many they are.
std::size_t Gru::list_rows(const GruCall& call, const Scratch& s, std::size_t t) const {
  std::size_t count = 0;
  for (std::size_t b = 0; b < call.batch; ++b) {
    if (call.ended(b, t)) continue;
    s.h_rows[count] = s.h + b * h_row_;
    if (call.y.data != nullptr) s.y_rows[count] = at(call.y, b, 0);
    ++count;
  }
  return count;
}

// W x + b of all rows and steps of a block, in the order in which they run.
void Gru::project_ahead(const GruCall& call, const Scratch& s, const Block& block) const {
  Projection ahead = {};
  for (std::size_t done = 0; done < block.steps; ++done) {
    const std::size_t t = block.time(done, call.backward);
    for (std::size_t b = 0; b < call.batch; ++b)
      if (!call.ended(b, t)) s.x_rows[ahead.rows++] = at(call.x, b, t);
  }
  ahead.x = s.x_rows;
  ahead.z = s.from_x;
  project(input_, ahead, s);
}

void Gru::run_block(const GruCall& call, const Scratch& s, const Block& block) const {
  project_ahead(call, s, block);
  StateUpdate update = {};
  update.gate = shape_.gate;
  update.candidate = shape_.candidate;
  update.clip = shape_.clip;
  update.from_x = s.from_x;
  update.from_h = s.from_h;
  update.from_n = shape_.kind == GruKind::gru ? s.from_n : s.from_h + 2 * shape_.hidden_size;
  update.from_x_row = update.from_h_row = update.from_n_row = z_row_;
  update.h = s.h_rows;
  update.reset = s.reset_rows;
  update.y = call.y.data == nullptr ? nullptr : s.y_rows;
  update.units = shape_.hidden_size;
  Projection back = {};
  for (std::size_t done = 0; done < block.steps; ++done) {
    const std::size_t t = block.time(done, call.backward);
    if (done == 0 || call.lengths != nullptr) update.rows = back.rows = list_rows(call, s, t);
    update.y_offset = static_cast<std::ptrdiff_t>(t) * call.y.time;
    back.x = s.h_rows;
    back.z = s.from_h;
    back.turn = done + 1;
    project(recurrent_, back, s);
    if (shape_.kind == GruKind::gru) {
      update.cell = OneState::gru_reset;
      table_.update_state(update);
      back.x = s.reset_rows;
      back.z = s.from_n;
      project(candidate_, back, s);
    }
    update.cell = shape_.kind == GruKind::rnn   ? OneState::rnn
                  : shape_.kind == GruKind::gru ? OneState::gru_after
                                                : OneState::gru;
    table_.update_state(update);
    update.from_x += update.rows * z_row_;
  }
}

void Gru::project(const PackedMatrix& matrix, const Projection& what, const Scratch& s) const {
  Projection a = what;
  a.z_row = z_row_;
  a.weights = matrix.weights.chars();
  a.bias = matrix.bias.floats();
  a.input_size = matrix.inputs;
  a.last_panel = matrix.panels;
  a.last_outputs = matrix.last_outputs;
  a.rounded_x = {s.rounded, rounded_row_bytes(shape_.precision, matrix.inputs)};
  table_.of[static_cast<std::size_t>(shape_.precision)].project(a);
}

}  // namespace fusedlstm
