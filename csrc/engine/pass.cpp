#include "pass.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace fusedlstm {

namespace {

// Pre-activations computed ahead take this much at most: more did not make anything faster.
constexpr std::size_t ahead_bytes = std::size_t{1} << 20;
constexpr std::size_t most_rows_ahead = 512;
// Below this many rows the input is multiplied in the step itself: there is no reuse of W to gain.
constexpr std::size_t few_rows = 4;
// Inputs this narrow cost less in the step than their pre-activations cost to store and load.
constexpr std::size_t narrow_input = 4;

// A call's memory is kept for the thread's next call, if it is no more than this: steps need no allocation, and sequences
// no new pages.
constexpr std::size_t kept_bytes = std::size_t{8} << 20;
thread_local Buffer kept;

Buffer take(std::size_t bytes) {
  if (kept.bytes() >= bytes) return std::exchange(kept, Buffer());
  return Buffer(bytes);
}

}  // namespace

Pass::~Pass() {
  if (!lasting_ && memory_.bytes() <= kept_bytes && memory_.bytes() > kept.bytes()) kept = std::move(memory_);
}

Pass::Pass(const Lstm& lstm, const KernelTable& table, const Call& call, std::vector<std::size_t> rows, std::size_t members,
           bool lasting)
    : lstm_(lstm),
      table_(table),
      call_(call),
      shape_(lstm.shape()),
      rows_(std::move(rows)),
      members_(members),
      lasting_(lasting) {
  groups_ = members_ >= 2 ? shape_.num_directions : 1;
  for (std::size_t b = 0; b < rows_.size(); ++b) longest_ = std::max(longest_, length(b));
  const std::size_t panel = 4 * table_.lanes;
  c_row_ = round_up(shape_.hidden_size, table_.lanes);
  h_row_ = shape_.projected ? round_up(shape_.output_size, panel) : c_row_;
  z_row_ = c_row_ * 4;
  z_rows_ = std::clamp<std::size_t>(ahead_bytes / (z_row_ * sizeof(float)), 24, most_rows_ahead);
  z_rows_ = std::min(std::max(z_rows_, rows_.size()), std::max<std::size_t>(1, longest_ * rows_.size()));
  const bool pipelined = shape_.num_directions == 1 && shape_.num_layers > 1;
  block_ = pipelined ? std::max<std::size_t>(1, z_rows_ / std::max<std::size_t>(1, rows_.size()))
                     : std::max<std::size_t>(1, longest_);
  all_.expect(members_);
  for (std::size_t g = 0; g < groups_; ++g) of_group_[g].expect((members_ + groups_ - 1 - g) / groups_);

  Cursor count;
  lay_out(count);
  memory_ = lasting_ ? Buffer(count.used()) : take(count.used());
  Cursor deal(memory_.floats());
  lay_out(deal);
}

void Pass::lay_out(Cursor& cursor) {
  const std::size_t rows = rows_.size();
  states_.resize(shape_.num_layers * shape_.num_directions);
  for (State& state : states_) {
    for (float*& h : state.h) h = cursor.take<float>(rows * h_row_);
    state.c = cursor.take<float>(rows * c_row_);
    state.unprojected = shape_.projected ? cursor.take<float>(rows * c_row_) : nullptr;
  }
  x_rows_ = cursor.take<float*>(rows);
  y_rows_ = cursor.take<float*>(rows);
  const std::size_t width = shape_.num_directions * shape_.output_size;
  for (std::size_t i = 0; i < std::min<std::size_t>(2, shape_.num_layers - 1); ++i) {
    between_[i] = cursor.take<float>(block_ * rows * width);
    between_rows_[i] = cursor.take<float*>(rows);
  }
  z_.resize(groups_);
  for (float*& z : z_) z = cursor.take<float>(z_rows_ * z_row_);
  scratch_rows_.resize(members_);
  for (const float**& scratch : scratch_rows_) scratch = cursor.take<const float*>(z_rows_);
}

std::size_t Pass::length(std::size_t row) const {
  return call_.lengths == nullptr ? call_.time : static_cast<std::size_t>(call_.lengths[rows_[row]]);
}

void Pass::bind() {
  longest_ = 0;
  const std::size_t width = shape_.num_directions * shape_.output_size;
  for (std::size_t b = 0; b < rows_.size(); ++b) {
    const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(rows_[b]);
    x_rows_[b] = const_cast<float*>(call_.x) + row * call_.x_batch;  // only ever read
    y_rows_[b] = call_.y + row * call_.y_batch;
    for (std::size_t i = 0; i < 2; ++i)
      if (between_[i] != nullptr) between_rows_[i][b] = between_[i] + b * width;
    longest_ = std::max(longest_, length(b));
  }
}

void Pass::prepare() {
  bind();
  const std::size_t width = shape_.num_directions * shape_.output_size;
  for (std::size_t b = 0; b < rows_.size(); ++b)
    for (std::size_t t = length(b); t < call_.time; ++t)
      std::memset(y_rows_[b] + static_cast<std::ptrdiff_t>(t) * call_.y_time, 0, width * sizeof(float));
  reset(call_.h_0, call_.c_0);
}

void Pass::reset(const float* h_0, const float* c_0) {
  for (std::size_t s = 0; s < states_.size(); ++s) {
    const State& state = states_[s];
    const std::size_t rows = rows_.size();
    // Padding included: a unit past the last is multiplied by nothing, but must not be a signalling pattern.
    for (float* h : state.h) std::memset(h, 0, rows * h_row_ * sizeof(float));
    std::memset(state.c, 0, rows * c_row_ * sizeof(float));
    for (std::size_t b = 0; b < rows; ++b) {
      const std::size_t at = s * call_.batch + rows_[b];
      // Both buffers: a backward row joins at its own end, whichever buffer is then read.
      if (h_0 != nullptr)
        for (float* h : state.h)
          std::memcpy(h + b * h_row_, h_0 + at * shape_.output_size, shape_.output_size * sizeof(float));
      if (c_0 != nullptr)
        std::memcpy(state.c + b * c_row_, c_0 + at * shape_.hidden_size, shape_.hidden_size * sizeof(float));
    }
  }
}

void Pass::finish() {
  for (std::size_t s = 0; s < states_.size(); ++s)
    for (std::size_t b = 0; b < rows_.size(); ++b) {
      const std::size_t at = s * call_.batch + rows_[b];
      // Buffers swap at every step: forward a row stops at its length, backward all rows stop together.
      const std::size_t steps = s % shape_.num_directions == 0 ? length(b) : longest_;
      std::memcpy(call_.h_n + at * shape_.output_size, states_[s].h[(origin_ + steps) % 2] + b * h_row_,
                  shape_.output_size * sizeof(float));
      std::memcpy(call_.c_n + at * shape_.hidden_size, states_[s].c + b * c_row_, shape_.hidden_size * sizeof(float));
    }
}

void Pass::go_on() {
  bind();
  run(0);
  origin_ += longest_;
}

std::size_t Pass::state_size() const { return states_.size() * (shape_.output_size + shape_.hidden_size); }

void Pass::store_row(std::size_t b, float* state) const {
  for (const State& s : states_) {
    state = std::copy_n(s.h[origin_ % 2] + b * h_row_, shape_.output_size, state);
    state = std::copy_n(s.c + b * c_row_, shape_.hidden_size, state);
  }
}

void Pass::load_row(std::size_t b, const float* state) {
  for (const State& s : states_) {
    float *h = s.h[origin_ % 2] + b * h_row_, *c = s.c + b * c_row_;
    if (state == nullptr) {
      std::fill_n(h, shape_.output_size, 0.0f);
      std::fill_n(c, shape_.hidden_size, 0.0f);
      continue;
    }
    std::copy_n(state, shape_.output_size, h);
    std::copy_n(state + shape_.output_size, shape_.hidden_size, c);
    state += shape_.output_size + shape_.hidden_size;
  }
}

// The sequence that layer `layer` writes and the next one reads, for a block that starts at first_time.
Pass::View Pass::between(std::size_t layer, std::size_t first_time) const {
  const std::ptrdiff_t step = static_cast<std::ptrdiff_t>(rows_.size() * shape_.num_directions * shape_.output_size);
  return {between_rows_[layer % 2], step, -static_cast<std::ptrdiff_t>(first_time) * step};
}

void Pass::run(std::size_t member) {
  if (rows_.empty()) return;
  const unsigned long long before = table_.enter_flush_to_zero();
  const std::size_t group_index = groups_ == 1 ? 0 : member % 2;
  const Group group = {groups_ == 1 ? member : member / 2, of_group_[group_index].members(), &of_group_[group_index],
                       z_[group_index], scratch_rows_[member]};
  for (std::size_t first = 0; first < longest_; first += block_) {
    const std::size_t last = std::min(longest_, first + block_);
    for (std::size_t layer = 0; layer < shape_.num_layers; ++layer) {
      const View in = layer == 0 ? View{x_rows_, call_.x_time, 0} : between(layer - 1, first);
      const View out = layer + 1 == shape_.num_layers ? View{y_rows_, call_.y_time, 0} : between(layer, first);
      for (std::size_t direction = 0; direction < shape_.num_directions; ++direction) {
        if (groups_ == 2 && direction != group_index) continue;
        View part = out;
        part.offset += static_cast<std::ptrdiff_t>(direction * shape_.output_size);
        run_direction(layer, direction, first, last, in, part, group);
      }
      all_.wait(table_);
    }
  }
  table_.leave_flush_to_zero(before);
}

// Times [first, last) of one direction, cut where rows end and where the pre-activations would outgrow the cache.
void Pass::run_direction(std::size_t layer, std::size_t direction, std::size_t first, std::size_t last, const View& in,
                         const View& out, const Group& group) {
  const std::size_t inputs = lstm_.direction(layer, direction).input.inputs;
  const auto piece = [&](std::size_t from, std::size_t to, std::size_t active) {
    const bool project_first = inputs > narrow_input && (to - from) * active >= few_rows;
    run_steps(layer, direction, from, to, active, project_first, in, out, group);
  };
  const auto limit = [&](std::size_t active) {
    return last - first == 1 ? 1 : std::max<std::size_t>(1, z_rows_ / active);  // a division counts in a single step
  };
  std::size_t active = direction == 0 ? rows_.size() : 0;
  if (direction == 0) {
    for (std::size_t t = first; t < last;) {
      while (active > 0 && length(active - 1) <= t) --active;
      const std::size_t end = std::min({last, length(active - 1), t + limit(active)});
      piece(t, end, active);
      t = end;
    }
  } else {
    for (std::size_t t = last; t > first;) {
      while (active < rows_.size() && length(active) >= t) ++active;
      const std::size_t next = active < rows_.size() ? length(active) : 0;
      const std::size_t begin = std::max({first, next, t > limit(active) ? t - limit(active) : 0});
      piece(begin, t, active);
      t = begin;
    }
  }
}

// Times [first, last), throughout which the first `active` rows run.
void Pass::run_steps(std::size_t layer, std::size_t direction, std::size_t first, std::size_t last, std::size_t active,
                     bool project_first, const View& in, const View& out, const Group& group) {
  const PackedDirection& packed = lstm_.direction(layer, direction);
  const State& s = state(layer, direction);
  const std::size_t panels = packed.recurrent.panels;
  const std::size_t first_panel = group.share_of(panels, group.id), last_panel = group.share_of(panels, group.id + 1);
  const bool forward = direction == 0;

  if (project_first) {
    for (std::size_t t = first; t < last; ++t)
      for (std::size_t b = 0; b < active; ++b) group.x_rows[(t - first) * active + b] = in.rows[b] + in.at(t);
    table_.project({packed.input.weights.floats(), packed.input.bias.floats(), packed.input.inputs, first_panel, last_panel,
                    group.x_rows, (last - first) * active, group.z, z_row_});
  }

  const std::size_t z_step = active * z_row_;
  Recurrence r = {};
  r.input_weights = packed.input.weights.floats();
  r.input_size = project_first ? 0 : packed.input.inputs;
  r.x = in.rows;
  r.recurrent_weights = packed.recurrent.weights.floats();
  r.recurrent_size = packed.recurrent.inputs;
  r.h_in_row = h_row_;
  r.h_out_row = shape_.projected ? c_row_ : h_row_;
  r.c = s.c;
  r.c_row = c_row_;
  r.y = shape_.projected ? nullptr : out.rows;
  r.units = shape_.hidden_size;
  r.first_panel = first_panel;
  r.last_panel = last_panel;
  r.rows = active;
  const std::ptrdiff_t sign = forward ? 1 : -1;
  r.x_step = sign * in.time_step;
  r.y_step = sign * out.time_step;
  r.start_row = project_first ? static_cast<std::ptrdiff_t>(z_row_) : 0;
  r.start_step = project_first ? sign * static_cast<std::ptrdiff_t>(z_step) : 0;

  // One member alone runs all steps in the kernel; several meet after each, a projection comes between.
  const std::size_t stride = group.size == 1 && !shape_.projected ? last - first : 1;
  for (std::size_t done = 0; done < last - first; done += stride) {
    const std::size_t t = forward ? first + done : last - 1 - done;
    const std::size_t parity = (origin_ + (forward ? t : longest_ - 1 - t)) % 2;
    r.steps = stride;
    r.last_panel_first = (origin_ + t) % 2 == 1;
    r.x_offset = in.at(t);
    r.y_offset = out.at(t);
    r.start = project_first ? group.z + (t - first) * z_step : packed.input.bias.floats();
    for (std::size_t i = 0; i < 2; ++i) {
      r.h_in[i] = s.h[(parity + i) % 2];
      r.h_out[i] = shape_.projected ? s.unprojected : s.h[(parity + i + 1) % 2];
    }
    table_.recur(r);
    group.barrier->wait(table_);
    if (shape_.projected) {
      project_hidden(packed, s.unprojected, s.h[(parity + 1) % 2], active, out, t, group);
      group.barrier->wait(table_);
    }
  }
}

// h = W_hr (o tanh(c)) for this member's panels, and the same into the output.
void Pass::project_hidden(const PackedDirection& packed, const float* hidden, float* h, std::size_t active, const View& out,
                          std::size_t t, const Group& group) {
  const PackedMatrix& matrix = packed.projection;
  const std::size_t first = group.share_of(matrix.panels, group.id), last = group.share_of(matrix.panels, group.id + 1);
  for (std::size_t from = 0; from < active; from += z_rows_) {
    const std::size_t count = std::min(z_rows_, active - from);
    for (std::size_t b = 0; b < count; ++b) group.x_rows[b] = hidden + (from + b) * c_row_;
    table_.project({matrix.weights.floats(), matrix.bias.floats(), matrix.inputs, first, last, group.x_rows, count,
                    h + from * h_row_, h_row_});
  }
  const std::size_t panel = 4 * table_.lanes;
  const std::size_t begin = first * panel, end = std::min(last * panel, shape_.output_size);
  if (begin >= end) return;
  for (std::size_t b = 0; b < active; ++b)
    std::memcpy(out.rows[b] + out.at(t) + begin, h + b * h_row_ + begin, (end - begin) * sizeof(float));
}

}  // namespace fusedlstm
