#include "conv_lstm.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "../kernels/dispatch.hpp"
#include "team.hpp"

namespace fusedlstm {

namespace {

// The windows that a member gathers at once: with the weights of a small layer they stay in L2.
constexpr std::size_t patch_bytes = std::size_t{256} << 10;
constexpr std::size_t fewest_rows = 24, most_rows = 480;
// Of the weights.
constexpr Precision precision = Precision::float32;

// The frames of one time, as windows slide over them.
struct Source {
  const float* data;
  std::ptrdiff_t batch, axis[2], channel;
  std::size_t size[2], channels;
  const Window* window;
  std::ptrdiff_t start[2];

  std::size_t patch() const { return window[0].kernel * window[1].kernel * channels; }
};

Source source(const float* data, const Frames& like, const std::size_t (&size)[2], std::size_t channels,
              const Window* window) {
  return {data,
          like.batch,
          {like.axis[0], like.axis[1]},
          like.channel,
          {size[0], size[1]},
          channels,
          window,
          {window[0].start(size[0]), window[1].start(size[1])}};
}

// `count` positions of one line, a stride apart.
void copy_line(const Source& s, const float* from, std::ptrdiff_t step, std::size_t count, float* to) {
  if (s.channel == 1 && (step == static_cast<std::ptrdiff_t>(s.channels) || count == 1)) {
    std::memcpy(to, from, count * s.channels * sizeof(float));
    return;
  }
  for (std::size_t i = 0; i < count; ++i, from += step, to += s.channels) {
    if (s.channel == 1)
      std::memcpy(to, from, s.channels * sizeof(float));
    else
      for (std::size_t k = 0; k < s.channels; ++k) to[k] = from[static_cast<std::ptrdiff_t>(k) * s.channel];
  }
}

// The taps [first, last) of a window that starts at `start` lie on an axis of `length`.
struct Inside {
  std::size_t first, last;
  Inside(const Window& window, std::ptrdiff_t start, std::size_t length) {
    first = 0;
    last = window.kernel;
    const std::ptrdiff_t end = static_cast<std::ptrdiff_t>(length) - start;  // taps at or past it are beyond the axis
    if (start >= 0 && end >= static_cast<std::ptrdiff_t>(window.reach())) return;
    const std::ptrdiff_t dilation = static_cast<std::ptrdiff_t>(window.dilation),
                         kernel = static_cast<std::ptrdiff_t>(window.kernel);
    const std::ptrdiff_t before = start < 0 ? (-start + dilation - 1) / dilation : 0;
    const std::ptrdiff_t until = end > 0 ? (end + dilation - 1) / dilation : 0;
    first = static_cast<std::size_t>(std::min(before, kernel));
    last = std::max(first, static_cast<std::size_t>(std::min(until, kernel)));
  }
};

// The window of one position, (kernel height, kernel width, channels), zeros where it reaches over the edge.
void gather(const Source& s, std::size_t b, const std::size_t (&at)[2], float* to) {
  const Window &tall = s.window[0], &wide = s.window[1];
  const auto begin = [&](std::size_t axis) {
    return s.start[axis] + static_cast<std::ptrdiff_t>(at[axis] * s.window[axis].stride);
  };
  const Inside rows(tall, begin(0), s.size[0]), columns(wide, begin(1), s.size[1]);
  const float* frame = s.data + static_cast<std::ptrdiff_t>(b) * s.batch;
  const std::ptrdiff_t step = static_cast<std::ptrdiff_t>(wide.dilation) * s.axis[1];
  const std::size_t line = wide.kernel * s.channels;
  for (std::size_t tap = 0; tap < tall.kernel; ++tap, to += line) {
    if (tap < rows.first || tap >= rows.last || columns.first == columns.last) {
      std::fill(to, to + line, 0.0f);
      continue;
    }
    const std::ptrdiff_t y = begin(0) + static_cast<std::ptrdiff_t>(tap * tall.dilation),
                         x = begin(1) + static_cast<std::ptrdiff_t>(columns.first * wide.dilation);
    std::fill(to, to + columns.first * s.channels, 0.0f);
    copy_line(s, frame + y * s.axis[0] + x * s.axis[1], step, columns.last - columns.first, to + columns.first * s.channels);
    std::fill(to + columns.last * s.channels, to + line, 0.0f);
  }
}

// One call. A row is a position of a frame; rows go batch by batch, line by line.
class ConvPass {
 public:
  ConvPass(const ConvLstm& lstm, const KernelTable& table, const ConvCall& call, std::size_t members)
      : lstm_(lstm), table_(table), kernels_(table.of[static_cast<std::size_t>(precision)]), call_(call), members_(members) {
    for (std::size_t axis = 0; axis < 2; ++axis) size_[axis] = lstm.input(axis).outputs(call.size[axis]);
    rows_ = call.batch * size_[0] * size_[1];
    row_ = round_up(lstm.filters(), table.lanes);
    x_patch_ = lstm.packed().input.inputs;
    h_patch_ = lstm.packed().recurrent.inputs;
    chunk_ = std::clamp(patch_bytes / ((x_patch_ + h_patch_) * sizeof(float)), fewest_rows, most_rows);
    barrier_.expect(members);
    Cursor count;
    lay_out(count);
    memory_ = Buffer(count.used());
    Cursor deal(memory_.floats());
    lay_out(deal);
  }

  void run(std::size_t member) {
    const unsigned long long before = table_.enter_flush_to_zero();
    const std::size_t first = rows_ * member / members_, last = rows_ * (member + 1) / members_;
    // Padding included: what lies past the last filter must not be a signalling pattern.
    for (float* state : {h_[0], h_[1], c_}) std::memset(state + first * row_, 0, (last - first) * row_ * sizeof(float));
    copy_in(call_.h_0, h_[0], first, last);
    copy_in(call_.c_0, c_, first, last);
    for (std::size_t t = 0; t < call_.time; ++t) {
      barrier_.wait(table_, member);  // windows of h reach into other members' rows
      for (std::size_t from = first; from < last; from += chunk_)
        step(t, from, std::min(last, from + chunk_), scratch_[member]);
      copy_out(h_[(t + 1) % 2], call_.y, t, first, last);
    }
    copy_out(h_[call_.time % 2], call_.h_n, 0, first, last);
    copy_out(c_, call_.c_n, 0, first, last);
    table_.leave_flush_to_zero(before);
  }

 private:
  // What one member works on at a time: windows, where they start, and for a cell that is not plain W x + b and R h.
  struct Scratch {
    float *x, *h;
    const float **x_rows, **h_rows;
    float *from_x, *from_h;
  };

  void lay_out(Cursor& cursor) {
    for (float** state : {&h_[0], &h_[1], &c_}) *state = cursor.take<float>(rows_ * row_);
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

  // One step of the rows [first, last).
  void step(std::size_t t, std::size_t first, std::size_t last, const Scratch& scratch) const {
    const Source x = source(call_.x.data + static_cast<std::ptrdiff_t>(t) * call_.x.time, call_.x, call_.size,
                            lstm_.channels(), &lstm_.input(0));
    const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(row_), width = static_cast<std::ptrdiff_t>(size_[1]);
    const Frames dense = {nullptr, static_cast<std::ptrdiff_t>(size_[0]) * width * row, 0, {width * row, row}, 1};
    const Source h = source(h_[t % 2], dense, size_, lstm_.filters(), &lstm_.recurrent(0));
    each_row(first, last, [&](std::size_t r, std::size_t b, const std::size_t (&at)[2]) {
      const std::size_t i = r - first;
      scratch.x_rows[i] = scratch.x + i * x_patch_;
      scratch.h_rows[i] = scratch.h + i * h_patch_;
      gather(x, b, at, scratch.x + i * x_patch_);
      gather(h, b, at, scratch.h + i * h_patch_);
    });

    float *const new_h = h_[(t + 1) % 2] + first * row_, *const c = c_ + first * row_;
    if (lstm_.packed().cell)
      update_any(last - first, scratch, new_h, c);
    else
      update_plain(last - first, scratch, new_h, c);
  }

  void update_plain(std::size_t rows, const Scratch& scratch, float* new_h, float* c) const {
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
    a.h_out[0] = new_h;
    a.c = c;
    a.h_out_row = a.c_row = row_;
    a.units = lstm_.filters();
    a.last_panel = packed.recurrent.panels;
    a.rows = rows;
    a.steps = 1;
    kernels_.recur(a);
  }

  // Other activations: first the sums, then the general kernel.
  void update_any(std::size_t rows, const Scratch& scratch, float* new_h, float* c) const {
    const PackedDirection& packed = lstm_.packed();
    const auto multiply = [&](const PackedMatrix& matrix, const float* const* windows, float* sums) {
      Projection a = {};
      a.weights = matrix.weights.chars();
      a.bias = matrix.bias.floats();
      a.input_size = matrix.inputs;
      a.last_panel = matrix.panels;
      a.x = windows;
      a.rows = rows;
      a.z = sums;
      a.z_row = 4 * row_;
      kernels_.project(a);
    };
    multiply(packed.input, scratch.x_rows, scratch.from_x);
    multiply(packed.recurrent, scratch.h_rows, scratch.from_h);
    CellUpdate update = {};
    update.options = &packed.cell->options;
    update.from_x = scratch.from_x;
    update.from_h = scratch.from_h;
    update.from_x_row = update.from_h_row = 4 * row_;
    update.c = c;
    update.m = new_h;
    update.c_row = update.m_row = row_;
    update.units = lstm_.filters();
    update.last_panel = packed.recurrent.panels;
    update.last_row = rows;
    table_.update_cell(update);
  }

  // Call run(row, batch, position) for each row.
  template <class Run>
  void each_row(std::size_t first, std::size_t last, Run run) const {
    std::size_t b = first / size_[1] / size_[0], at[2] = {first / size_[1] % size_[0], first % size_[1]};
    for (std::size_t r = first; r < last; ++r) {
      run(r, b, at);
      if (++at[1] < size_[1]) continue;
      at[1] = 0;
      if (++at[0] < size_[0]) continue;
      at[0] = 0;
      ++b;
    }
  }

  static float* place(const Frames& frames, std::size_t b, const std::size_t (&at)[2]) {
    return frames.data + static_cast<std::ptrdiff_t>(b) * frames.batch +
           static_cast<std::ptrdiff_t>(at[0]) * frames.axis[0] + static_cast<std::ptrdiff_t>(at[1]) * frames.axis[1];
  }

  void copy_in(const Frames& frames, float* state, std::size_t first, std::size_t last) const {
    if (frames.data == nullptr) return;
    each_row(first, last, [&](std::size_t r, std::size_t b, const std::size_t (&at)[2]) {
      const float* from = place(frames, b, at);
      for (std::size_t k = 0; k < lstm_.filters(); ++k)
        state[r * row_ + k] = from[static_cast<std::ptrdiff_t>(k) * frames.channel];
    });
  }

  void copy_out(const float* state, const Frames& frames, std::size_t t, std::size_t first, std::size_t last) const {
    each_row(first, last, [&](std::size_t r, std::size_t b, const std::size_t (&at)[2]) {
      float* to = place(frames, b, at) + static_cast<std::ptrdiff_t>(t) * frames.time;
      for (std::size_t k = 0; k < lstm_.filters(); ++k)
        to[static_cast<std::ptrdiff_t>(k) * frames.channel] = state[r * row_ + k];
    });
  }

  const ConvLstm& lstm_;
  const KernelTable& table_;
  const Kernels& kernels_;
  const ConvCall& call_;
  std::size_t members_, size_[2], rows_, row_, x_patch_, h_patch_, chunk_;
  Barrier barrier_;
  Buffer memory_;
  float *h_[2] = {nullptr, nullptr}, *c_ = nullptr;  // h: a step reads one and writes the other
  std::vector<Scratch> scratch_;                     // one a member
};

}  // namespace

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
  direction.options = arrays.options;
  packed_ = pack(table_, precision, shape, direction);
}

void ConvLstm::run(const ConvCall& call) const {
  const std::size_t positions = call.batch * input_[0].outputs(call.size[0]) * input_[1].outputs(call.size[1]);
  if (positions == 0) return;
  const double step = 4.0 * static_cast<double>(filters()) * static_cast<double>(positions) *
                      static_cast<double>(packed_.input.inputs + packed_.recurrent.inputs);
  const bool worth = step * static_cast<double>(call.time) >= worth_a_team && step >= worth_meeting;
  TeamLease team(worth ? num_threads() : 1);
  ConvPass pass(*this, table_, call, team.size());
  team.run([&](std::size_t member) { pass.run(member); });
}

}  // namespace fusedlstm
