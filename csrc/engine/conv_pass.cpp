#include "conv_pass.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace fusedlstm {

namespace {

// The windows that a member gathers at once: with the weights of a small layer they stay in L2.
constexpr std::size_t patch_bytes = std::size_t{256} << 10;
constexpr std::size_t fewest_places = 24, most_places = 480;

}  // namespace

ConvPass::ConvPass(const ConvLstm& lstm, const Call& call, std::vector<std::size_t> rows, std::size_t members, bool lasting)
    : Pass(lasting),
      lstm_(lstm),
      table_(lstm.table()),
      kernels_(table_.of[static_cast<std::size_t>(precision)]),
      call_(call),
      rows_(std::move(rows)),
      members_(members),
      size_{lstm.input()[0].outputs(call.size[0]), lstm.input()[1].outputs(call.size[1])},
      places_(rows_.size() * size_[0] * size_[1]),
      row_(round_up(lstm.filters(), table_.lanes)),
      x_patch_(lstm.packed().input.inputs),
      h_patch_(lstm.packed().recurrent.inputs),
      chunk_(std::clamp(patch_bytes / ((x_patch_ + h_patch_) * sizeof(float)), fewest_places, most_places)) {
  take_memory();
}

void ConvPass::lay_out(Cursor& cursor) {
  for (float** state : {&h_[0], &h_[1], &c_}) *state = cursor.take<float>(places_ * row_);
  scratch_.resize(members_);
  const std::size_t sums = lstm_.packed().cell ? chunk_ * 4 * row_ : 0;
  for (Scratch& one : scratch_) {
    one.x = cursor.take<float>(chunk_ * x_patch_);
    one.h = cursor.take<float>(chunk_ * h_patch_);
    one.x_rows = cursor.take<const float*>(chunk_);
    one.h_rows = cursor.take<const float*>(chunk_);
    one.from_x = cursor.take<float>(sums);
    one.from_h = cursor.take<float>(sums);
  }
}

void ConvPass::start() {
  const std::size_t floats = of_frame() * lstm_.filters();
  for (std::size_t b = 0; b < rows_.size(); ++b)
    load_frame(b, call_.h_0 == nullptr ? nullptr : call_.h_0 + rows_[b] * floats,
               call_.c_0 == nullptr ? nullptr : call_.c_0 + rows_[b] * floats);
}

void ConvPass::run(Crew& crew) {
  const unsigned long long before = table_.enter_flush_to_zero();
  const double work = std::max(1.0, lstm_.load(call_).step);
  for (std::size_t done = 0; done < call_.time && !crew.stopped();) {
    const auto some = static_cast<std::size_t>(std::max(1.0, crew.stretch() / work));
    const std::size_t last = done + std::min(call_.time - done, some);
    crew.together([&](Member& member) {
      const Range mine = share(member);
      for (std::size_t t = done; t < last; ++t) {
        if (t > done) member.meet();  // windows of h reach into other members' places
        for (std::size_t from = mine.first; from < mine.last; from += chunk_)
          step(t, {from, std::min(mine.last, from + chunk_)}, scratch_[member.id]);
        copy_out(h_[(origin_ + t + 1) % 2], t, mine);
      }
    });
    done = last;
  }
  table_.leave_flush_to_zero(before);
}

bool ConvPass::go_on() {
  Crew alone;
  run(alone);
  origin_ += call_.time;
  return !alone.was_stopped();
}

void ConvPass::finish() {
  origin_ += call_.time;
  const std::size_t filters = lstm_.filters(), frame = of_frame();
  for (std::size_t b = 0; b < rows_.size(); ++b)
    for (std::size_t i = 0; i < frame; ++i) {
      std::copy_n(now() + (b * frame + i) * row_, filters, call_.h_n + (rows_[b] * frame + i) * filters);
      std::copy_n(c_ + (b * frame + i) * row_, filters, call_.c_n + (rows_[b] * frame + i) * filters);
    }
}

// Padding included: what lies past the last filter must not be a signalling pattern.
void ConvPass::load_frame(std::size_t b, const float* h, const float* c) {
  const std::size_t filters = lstm_.filters(), first = b * of_frame() * row_, floats = of_frame() * row_;
  for (float* state : {h_[0], h_[1], c_}) std::fill_n(state + first, floats, 0.0f);
  for (std::size_t i = 0; i < of_frame(); ++i) {
    if (h != nullptr) std::copy_n(h + i * filters, filters, h_[origin_ % 2] + first + i * row_);
    if (c != nullptr) std::copy_n(c + i * filters, filters, c_ + first + i * row_);
  }
}

void ConvPass::load(std::size_t b, const float* state) {
  load_frame(b, state, state == nullptr ? nullptr : state + of_frame() * lstm_.filters());
}

void ConvPass::store(std::size_t b, float* state) const {
  for (const float* from : {now(), static_cast<const float*>(c_)})
    for (std::size_t i = 0; i < of_frame(); ++i)
      state = std::copy_n(from + (b * of_frame() + i) * row_, lstm_.filters(), state);
}

void ConvPass::step(std::size_t t, const Range& places, const Scratch& scratch) const {
  const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(row_), line = static_cast<std::ptrdiff_t>(size_[1]) * row;
  const Sequence& in = call_.x;
  const Windows x({in.data + static_cast<std::ptrdiff_t>(t) * in.time,
                   in.batch,
                   {in.axis[0], in.axis[1]},
                   in.feature,
                   {call_.size[0], call_.size[1]},
                   lstm_.channels()},
                  lstm_.input());
  const Windows h({h_[(origin_ + t) % 2],
                   static_cast<std::ptrdiff_t>(size_[0]) * line,
                   {line, row},
                   1,
                   {size_[0], size_[1]},
                   lstm_.filters()},
                  lstm_.recurrent());
  each_place(places, [&](std::size_t i, std::size_t b, const std::size_t (&at)[2]) {
    scratch.x_rows[i] = scratch.x + i * x_patch_;
    scratch.h_rows[i] = scratch.h + i * h_patch_;
    x.gather(rows_[b], at, scratch.x + i * x_patch_);
    h.gather(b, at, scratch.h + i * h_patch_);
  });
  float* const new_h = h_[(origin_ + t + 1) % 2] + places.first * row_;
  if (lstm_.packed().cell)
    update_any(places, scratch, new_h);
  else
    update_plain(places, scratch, new_h);
}

void ConvPass::update_plain(const Range& places, const Scratch& scratch, float* h) const {
  const PackedDirection& packed = lstm_.packed();
  Recurrence a = {};
  a.input_weights = packed.input.weights.chars();
  a.input_size = x_patch_;
  a.x = scratch.x_rows;
  a.recurrent_weights = packed.recurrent.weights.chars();
  a.recurrent_size = h_patch_;
  a.start = packed.input.bias.floats();
  a.h_in[0] = scratch.h;
  a.h_in_row = h_patch_;
  a.h_out[0] = h;
  a.c = c_ + places.first * row_;
  a.h_out_row = a.c_row = row_;
  a.units = lstm_.filters();
  a.last_panel = packed.recurrent.panels;
  a.last_outputs = packed.recurrent.last_outputs;
  a.rows = places.count();
  a.steps = 1;
  kernels_.recur(a);
}

// Other activations: first the sums, then the general kernel.
void ConvPass::update_any(const Range& places, const Scratch& scratch, float* h) const {
  const PackedDirection& packed = lstm_.packed();
  const auto multiply = [&](const PackedMatrix& matrix, const float* const* windows, float* sums) {
    Projection a = {};
    a.weights = matrix.weights.chars();
    a.bias = matrix.bias.floats();
    a.input_size = matrix.inputs;
    a.last_panel = matrix.panels;
    a.last_outputs = matrix.last_outputs;
    a.x = windows;
    a.rows = places.count();
    a.z = sums;
    a.z_row = 4 * row_;
    kernels_.project(a);
  };
  multiply(packed.input, scratch.x_rows, scratch.from_x);
  multiply(packed.recurrent, scratch.h_rows, scratch.from_h);
  CellUpdate update = {};
  update.cell = packed.cell.get();
  update.from_x = scratch.from_x;
  update.from_h = scratch.from_h;
  update.from_x_row = update.from_h_row = 4 * row_;
  update.c = c_ + places.first * row_;
  update.m = h;
  update.c_row = update.m_row = row_;
  update.units = lstm_.filters();
  update.last_panel = packed.recurrent.panels;
  update.last_row = places.count();
  table_.update_cell(update);
}

// Call run(i, row, position) for each place, i counting from 0.
template <class Run>
void ConvPass::each_place(const Range& places, Run run) const {
  if (places.count() == 0) return;
  std::size_t b = places.first / of_frame(), at[2] = {places.first / size_[1] % size_[0], places.first % size_[1]};
  for (std::size_t i = 0; i < places.count(); ++i) {
    run(i, b, at);
    if (++at[1] < size_[1]) continue;
    at[1] = 0;
    if (++at[0] < size_[0]) continue;
    at[0] = 0;
    ++b;
  }
}

void ConvPass::copy_out(const float* h, std::size_t t, const Range& places) const {
  const Sequence& y = call_.y;
  each_place(places, [&](std::size_t i, std::size_t b, const std::size_t (&at)[2]) {
    float* to = y.data + static_cast<std::ptrdiff_t>(rows_[b]) * y.batch + static_cast<std::ptrdiff_t>(t) * y.time +
                static_cast<std::ptrdiff_t>(at[0]) * y.axis[0] + static_cast<std::ptrdiff_t>(at[1]) * y.axis[1];
    const float* from = h + (places.first + i) * row_;
    for (std::size_t k = 0; k < lstm_.filters(); ++k) to[static_cast<std::ptrdiff_t>(k) * y.feature] = from[k];
  });
}

}  // namespace fusedlstm
