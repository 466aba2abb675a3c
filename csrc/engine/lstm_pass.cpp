#include "lstm_pass.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "join.hpp"

namespace fusedlstm {

namespace {

// Pre-activations computed ahead take this much at most: more did not make anything faster.
constexpr std::size_t ahead_bytes = std::size_t{1} << 20;
constexpr std::size_t fewest_rows_ahead = 24, most_rows_ahead = 512;

}  // namespace

LstmPass::LstmPass(const Lstm& lstm, const Call& call, Share share)
    : Pass(share.lasting),
      lstm_(lstm),
      shape_(lstm.shape()),
      call_(call),
      of_call_(std::move(share.rows)),
      members_(share.members),
      rows_{lstm.table(),
            lstm.table().of[static_cast<std::size_t>(shape_.precision)],
            lstm.table().of[static_cast<std::size_t>(of_hidden(shape_.precision))],
            {}} {
  rows_.lengths.resize(of_call_.size());
  rows_.rounded_bytes = rounded_row_bytes(shape_.precision, lstm.most_inputs());
  std::size_t widest = 0;
  for (std::size_t layer = 0; layer < shape_.layers.size(); ++layer)
    for (std::size_t d = 0; d < shape_.num_directions; ++d) {
      directions_.emplace_back(lstm.direction(layer, d), shape_.layers[layer], d == 1 || shape_.reverse, rows_);
      widest = std::max(widest, directions_.back().z_row());
    }
  const std::size_t count = of_call_.size();
  std::size_t longest = 1;
  for (const std::size_t row : of_call_)
    longest = std::max(longest, call.lengths == nullptr ? call.time : static_cast<std::size_t>(call.lengths[row]));
  rows_.most_ahead = std::clamp(ahead_bytes / (widest * sizeof(float)), fewest_rows_ahead, most_rows_ahead);
  rows_.most_ahead = std::min(std::max(rows_.most_ahead, count), std::max<std::size_t>(1, longest * count));
  const bool pipelined = shape_.num_directions == 1 && shape_.layers.size() > 1;
  block_ = pipelined ? std::max<std::size_t>(1, rows_.most_ahead / std::max<std::size_t>(1, count)) : longest;

  take_memory();
  for (std::vector<Between>* sequences : {&between_, &second_})
    for (std::size_t layer = 0; layer < sequences->size(); ++layer)
      for (std::size_t b = 0; b < count; ++b) {
        Between& one = (*sequences)[layer];
        one.rows[b] = one.data + b * static_cast<std::size_t>(one.step) / count;
      }
}

void LstmPass::lay_out(Cursor& cursor) {
  const std::size_t rows = rows_.count(), layers = shape_.layers.size();
  std::size_t z_row = 0, h_row = 0, width = 0;
  bool plain = true;
  for (DirectionPass& one : directions_) {
    one.lay_out(cursor);
    z_row = std::max(z_row, one.z_row());
    h_row = std::max(h_row, one.shape().output_size);
    plain = plain && one.plain();
  }
  for (std::size_t layer = 0; layer < layers; ++layer) width = std::max(width, shape_.width(layer));
  x_rows_ = cursor.take<float*>(rows);
  y_rows_ = cursor.take<float*>(rows);
  between_.resize(layers - 1);
  for (std::size_t layer = 0; layer + 1 < layers; ++layer) {
    Between& one = between_[layer];
    one.data = layer < 2 ? cursor.take<float>(block_ * rows * width) : between_[layer - 2].data;
    one.rows = cursor.take<float*>(rows);
    one.step = static_cast<std::ptrdiff_t>(rows * shape_.width(layer));
  }
  second_.resize(shape_.merge == Merge::concat ? 0 : layers);
  for (std::size_t layer = 0; layer < second_.size(); ++layer) {
    Between& one = second_[layer];
    one.data = layer == 0 ? cursor.take<float>(block_ * rows * h_row) : second_[0].data;
    one.rows = cursor.take<float*>(rows);
    one.step = static_cast<std::ptrdiff_t>(rows * shape_.layers[layer].output_size);
  }
  scratch_.resize(members_ >= 2 ? shape_.num_directions : 1);
  for (Scratch& one : scratch_) {
    one.z = cursor.take<float>(rows_.most_ahead * z_row);
    one.from_h = plain ? nullptr : cursor.take<float>(rows * z_row);
    one.of_members.resize(members_);
    for (Scratch::Own& own : one.of_members) {
      own.x_rows = cursor.take<const float*>(rows_.most_ahead);
      own.rounded = cursor.take<unsigned char>(2 * rows_.most_ahead * rows_.rounded_bytes);
    }
  }
}

void LstmPass::run(Crew& crew) {
  if (rows_.count() == 0 || rows_.longest == 0) return;
  const unsigned long long before = rows_.table.enter_flush_to_zero();
  std::size_t done = 0;
  do {
    const std::size_t steps = std::min(block_, rows_.longest - done);
    const std::size_t first = shape_.reverse ? rows_.longest - done - steps : done;
    for (std::size_t layer = 0; layer < shape_.layers.size(); ++layer) run_layer(layer, first, first + steps, crew);
    done += block_;
  } while (done < rows_.longest && !crew.stopped());
  rows_.table.leave_flush_to_zero(before);
}

void LstmPass::run_layer(std::size_t layer, std::size_t first, std::size_t last, Crew& crew) {
  const bool is_last = layer + 1 == shape_.layers.size(), merged = shape_.merge != Merge::concat;
  const RowView in = layer == 0 ? RowView{x_rows_, call_.x.time, 0} : between_[layer - 1].view(first);
  const bool unseen = is_last && call_.y.data == nullptr;
  const RowView out = !is_last ? between_[layer].view(first) : RowView{unseen ? nullptr : y_rows_, call_.y.time, 0};
  const RowView beside = merged ? second_[layer].view(first) : RowView{};
  const RowView& second = merged ? beside : out;
  const auto run_direction = [&](std::size_t d, Crew& of_direction, Scratch& scratch) {
    const RowView& whole = d == 1 ? second : out;
    const std::size_t before = merged ? 0 : d * shape_.layers[layer].output_size;
    const RowView part = {whole.rows, whole.time_step, whole.offset + static_cast<std::ptrdiff_t>(before)};
    directions_[layer * shape_.num_directions + d].run(first, last, {in, part}, {of_direction, scratch});
  };
  if (shape_.num_directions == 2 && crew.most() == 2 && last - first > 1) {
    std::atomic<std::size_t> begun{0};
    crew.side_by_side([&](const Member& member) {
      Crew own(crew, member.id);
      for (std::size_t d; (d = begun.fetch_add(1, std::memory_order_relaxed)) < 2;) run_direction(d, own, scratch_[d]);
    });
  } else {
    for (std::size_t d = 0; d < shape_.num_directions; ++d) run_direction(d, crew, scratch_.front());
  }
  const bool residual = shape_.layers[layer].residual;
  if ((!merged && !residual) || unseen) return;
  crew.together([&](const Member& member) {
    join({shape_.merge, residual, shape_.width(layer), in, out, second, first, last, member.id, member.size}, rows_);
  });
}

void LstmPass::bind() {
  rows_.longest = 0;
  for (std::size_t b = 0; b < rows_.count(); ++b) {
    const std::size_t row = of_call_[b];
    const std::ptrdiff_t start = call_.starts == nullptr ? 0 : static_cast<std::ptrdiff_t>(call_.starts[row]);
    const std::ptrdiff_t apart = call_.starts == nullptr ? static_cast<std::ptrdiff_t>(row) : 0;
    x_rows_[b] = call_.x.data + apart * call_.x.batch + start * call_.x.time;
    if (call_.y.data != nullptr) y_rows_[b] = call_.y.data + apart * call_.y.batch + start * call_.y.time;
    rows_.lengths[b] = call_.lengths == nullptr ? call_.time : static_cast<std::size_t>(call_.lengths[row]);
    rows_.longest = std::max(rows_.longest, rows_.lengths[b]);
  }
}

void LstmPass::start() {
  if (call_.lengths != nullptr)  // a lasting pass meets new ones with each call
    std::sort(of_call_.begin(), of_call_.end(), [&](std::size_t a, std::size_t b) {
      return call_.lengths[a] != call_.lengths[b] ? call_.lengths[a] > call_.lengths[b] : a < b;
    });
  bind();
  if (call_.starts == nullptr && call_.y.data != nullptr)  // zeros past the lengths
    for (std::size_t b = 0; b < rows_.count(); ++b)
      for (std::size_t t = rows_.lengths[b]; t < call_.time; ++t)
        std::memset(y_rows_[b] + static_cast<std::ptrdiff_t>(t) * call_.y.time, 0, shape_.output_size() * sizeof(float));
  for (std::size_t s = 0; s < directions_.size(); ++s) {
    directions_[s].start();
    for (std::size_t b = 0; b < rows_.count(); ++b) {
      const Place from = place(s, b, call_.h_0, call_.c_0);
      directions_[s].load(b, from.h, from.c);
    }
  }
}

void LstmPass::finish() {
  for (std::size_t s = 0; s < directions_.size(); ++s)
    for (std::size_t b = 0; b < rows_.count(); ++b) {
      const Place to = place(s, b, call_.h_n, call_.c_n);
      directions_[s].store(b, to.h, to.c);
    }
}

// Of direction s and row b: in the call's slots, or in h and c, of which either may be null.
LstmPass::Place LstmPass::place(std::size_t s, std::size_t b, const float* h, const float* c) const {
  const StateOffset& offset = lstm_.offset(s);
  const std::size_t row = of_call_[b];
  if (call_.slots != nullptr) {
    float* const state = call_.states + static_cast<std::size_t>(call_.slots[row]) * shape_.state_size();
    return {state + offset.h + offset.c, state + offset.h + offset.c + directions_[s].shape().output_size};
  }
  const auto at = [&](const float* all, std::size_t before, std::size_t size) {
    return all == nullptr ? nullptr : const_cast<float*>(all) + before * call_.batch + row * size;
  };
  const LayerShape& shape = directions_[s].shape();
  return {at(h, offset.h, shape.output_size), at(c, offset.c, shape.hidden_size)};
}

bool LstmPass::go_on() {
  bind();
  Crew alone;
  run(alone);
  rows_.origin += rows_.longest;
  rows_.longest = 0;  // these steps are past
  std::fill(rows_.lengths.begin(), rows_.lengths.end(), std::size_t{0});
  return !alone.was_stopped();
}

void LstmPass::store(std::size_t b, float* state) const {
  for (const DirectionPass& one : directions_) {
    const LayerShape& shape = one.shape();
    one.store(b, state, state + shape.output_size);
    state += shape.output_size + shape.hidden_size;
  }
}

void LstmPass::load(std::size_t b, const float* state) {
  for (DirectionPass& one : directions_) {
    const LayerShape& shape = one.shape();
    one.load(b, state, state == nullptr ? nullptr : state + shape.output_size);
    if (state != nullptr) state += shape.output_size + shape.hidden_size;
  }
}

}  // namespace fusedlstm
