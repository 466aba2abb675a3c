#include "pass.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "precision.hpp"

namespace fusedlstm {

namespace {

// Pre-activations computed ahead take this much at most: more did not make anything faster.
constexpr std::size_t ahead_bytes = std::size_t{1} << 20;
constexpr std::size_t most_rows_ahead = 512;
// Below this many rows, and in a single step of any batch, the input is multiplied in the step itself: there is no reuse of
// W to gain. A thousand rows were 5 % faster that way.
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
      kernels_(table.of[static_cast<std::size_t>(lstm.shape().precision)]),
      call_(call),
      shape_(lstm.shape()),
      rows_(std::move(rows)),
      members_(members),
      lasting_(lasting) {
  groups_ = members_ >= 2 ? shape_.num_directions : 1;
  for (std::size_t b = 0; b < rows_.size(); ++b) longest_ = std::max(longest_, length(b));
  std::size_t widest = 0;
  for (const LayerShape& layer : shape_.layers) {
    const std::size_t c = round_up(layer.hidden_size, table_.lanes);
    row_of_.push_back({layer.projected ? round_up(layer.output_size, 4 * table_.lanes) : c, c, 4 * c});
    widest = std::max(widest, 4 * c);
  }
  z_rows_ = std::clamp<std::size_t>(ahead_bytes / (widest * sizeof(float)), 24, most_rows_ahead);
  z_rows_ = std::min(std::max(z_rows_, rows_.size()), std::max<std::size_t>(1, longest_ * rows_.size()));
  const bool pipelined = shape_.num_directions == 1 && shape_.layers.size() > 1;
  block_ = pipelined ? std::max<std::size_t>(1, z_rows_ / std::max<std::size_t>(1, rows_.size()))
                     : std::max<std::size_t>(1, longest_);
  claimed_ = std::vector<std::atomic<std::size_t>>(lstm_.shape().layers.size() * shape_.num_directions);
  rounded_row_ = rounded_row_bytes(shape_.precision, lstm.most_inputs());
  all_.expect(members_);
  for (std::size_t g = 0; g < groups_; ++g) of_group_[g].expect((members_ + groups_ - 1 - g) / groups_);

  Cursor count;
  lay_out(count);
  memory_ = lasting_ ? Buffer(count.used()) : take(count.used());
  Cursor deal(memory_.floats());
  lay_out(deal);
  for (std::size_t layer = 0; layer < shape_.layers.size(); ++layer)
    for (std::size_t b = 0; b < rows_.size(); ++b) {
      if (layer < between_rows_.size()) between_rows_[layer][b] = between_[layer % 2] + b * shape_.width(layer);
      if (second_ != nullptr) second_rows_[layer * rows_.size() + b] = second_ + b * shape_.layers[layer].output_size;
    }
}

void Pass::lay_out(Cursor& cursor) {
  const std::size_t rows = rows_.size(), layers = shape_.layers.size();
  states_.resize(layers * shape_.num_directions);
  std::size_t z_row = 0, h_row = 0, width = 0;
  bool all_plain = true;
  for (std::size_t s = 0; s < states_.size(); ++s) {
    const std::size_t layer = s / shape_.num_directions;
    for (float*& h : states_[s].h) h = cursor.take<float>(rows * row_of_[layer].h);
    states_[s].c = cursor.take<float>(rows * row_of_[layer].c);
    states_[s].unprojected = shape_.layers[layer].projected ? cursor.take<float>(rows * row_of_[layer].c) : nullptr;
    z_row = std::max(z_row, row_of_[layer].z);
    h_row = std::max(h_row, shape_.layers[layer].output_size);
    width = std::max(width, shape_.width(layer));
    all_plain = all_plain && lstm_.direction(layer, s % shape_.num_directions).cell == nullptr;
  }
  x_rows_ = cursor.take<float*>(rows);
  y_rows_ = cursor.take<float*>(rows);
  between_rows_.resize(layers - 1);
  for (float**& between : between_rows_) between = cursor.take<float*>(rows);
  for (std::size_t i = 0; i < std::min<std::size_t>(2, layers - 1); ++i)
    between_[i] = cursor.take<float>(block_ * rows * width);
  if (shape_.merge != Merge::concat) {
    second_ = cursor.take<float>(block_ * rows * h_row);
    second_rows_ = cursor.take<float*>(rows * layers);
  }
  z_.resize(groups_);
  for (float*& z : z_) z = cursor.take<float>(z_rows_ * z_row);
  from_h_.resize(groups_);
  for (float*& from_h : from_h_) from_h = all_plain ? nullptr : cursor.take<float>(rows * z_row);
  scratch_rows_.resize(members_);
  for (const float**& scratch : scratch_rows_) scratch = cursor.take<const float*>(z_rows_);
  rounded_.resize(members_);
  for (unsigned char*& rounded : rounded_) rounded = cursor.take<unsigned char>(2 * z_rows_ * rounded_row_);
}

std::size_t Pass::length(std::size_t row) const {
  return call_.lengths == nullptr ? call_.time : static_cast<std::size_t>(call_.lengths[rows_[row]]);
}

// The sequence that layer `layer` writes and the next one reads, for a block that starts at first_time.
Pass::View Pass::between(std::size_t layer, std::size_t first_time) const {
  const std::ptrdiff_t step = static_cast<std::ptrdiff_t>(rows_.size() * shape_.width(layer));
  return {between_rows_[layer], step, -static_cast<std::ptrdiff_t>(first_time) * step};
}

// Where the second direction of a layer writes, if its outputs are merged into the first one's.
Pass::View Pass::second(std::size_t layer, std::size_t first_time) const {
  const std::ptrdiff_t step = static_cast<std::ptrdiff_t>(rows_.size() * shape_.layers[layer].output_size);
  return {second_rows_ + layer * rows_.size(), step, -static_cast<std::ptrdiff_t>(first_time) * step};
}

void Pass::run(std::size_t member) {
  if (rows_.empty()) return;
  const unsigned long long before = table_.enter_flush_to_zero();
  const std::size_t group_index = groups_ == 1 ? 0 : member % 2;
  const Group group = {groups_ == 1 ? member : member / 2,
                       of_group_[group_index].members(),
                       &of_group_[group_index],
                       z_[group_index],
                       from_h_[group_index],
                       scratch_rows_[member],
                       rounded_[member]};
  for (std::size_t done = 0; done < longest_; done += block_) {
    const std::size_t steps = std::min(block_, longest_ - done);
    const std::size_t first = shape_.reverse ? longest_ - done - steps : done, last = first + steps;
    for (std::size_t layer = 0; layer < shape_.layers.size(); ++layer) {
      const View in = layer == 0 ? View{x_rows_, call_.x_time, 0} : between(layer - 1, first);
      const View out = layer + 1 == shape_.layers.size() ? View{y_rows_, call_.y_time, 0} : between(layer, first);
      for (std::size_t direction = 0; direction < shape_.num_directions; ++direction) {
        if (groups_ == 2 && direction != group_index) continue;
        View part = out;
        if (shape_.merge == Merge::concat)
          part.offset += static_cast<std::ptrdiff_t>(direction * shape_.layers[layer].output_size);
        else if (direction == 1)
          part = second(layer, first);
        run_direction(layer, direction, first, last, in, part, group);
      }
      all_.wait(table_, member);
      if (joins(layer)) {
        join(layer, first, last, in, out, member);
        all_.wait(table_, member);
      }
    }
  }
  table_.leave_flush_to_zero(before);
}

// Times [first, last) of one direction, cut where rows end and where the pre-activations would outgrow the cache.
void Pass::run_direction(std::size_t layer, std::size_t direction, std::size_t first, std::size_t last, const View& in,
                         const View& out, const Group& group) {
  const PackedDirection& packed = lstm_.direction(layer, direction);
  const bool plain = packed.cell == nullptr, wide = packed.input.inputs > narrow_input;
  const auto piece = [&](std::size_t from, std::size_t to, std::size_t active) {
    const bool project_first = !plain || (wide && to - from > 1 && (to - from) * active >= few_rows);
    if (project_first) project_ahead(packed.input, row_of_[layer].z, from, to, active, in, group);
    if (plain)
      run_steps(layer, direction, from, to, active, project_first, in, out, group);
    else
      run_cell_steps(layer, direction, from, to, active, out, group);
  };
  const auto limit = [&](std::size_t active) {
    return last - first == 1 ? 1 : std::max<std::size_t>(1, z_rows_ / active);  // a division counts in a single step
  };
  std::size_t active = backward(direction) ? 0 : rows_.size();
  if (!backward(direction)) {
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
  const Rows& row = row_of_[layer];
  const bool projected = shape_.layers[layer].projected, forward = !backward(direction);
  const std::size_t panels = packed.recurrent.panels;
  const std::size_t z_step = active * row.z;
  Recurrence r = {};
  r.input_weights = packed.input.weights.chars();
  r.input_size = project_first ? 0 : packed.input.inputs;
  r.x = in.rows;
  r.recurrent_weights = packed.recurrent.weights.chars();
  r.recurrent_size = packed.recurrent.inputs;
  r.rounded_x = {group.rounded, rounded_row_};
  r.rounded_h = {group.rounded + z_rows_ * rounded_row_, rounded_row_};
  r.h_in_row = row.h;
  r.h_out_row = projected ? row.c : row.h;
  r.c = s.c;
  r.c_row = row.c;
  r.y = projected ? nullptr : out.rows;
  r.units = shape_.layers[layer].hidden_size;
  r.first_panel = group.share_of(panels, group.id);
  r.last_panel = group.share_of(panels, group.id + 1);
  r.rows = active;
  const std::ptrdiff_t sign = forward ? 1 : -1;
  r.x_step = sign * in.time_step;
  r.y_step = sign * out.time_step;
  r.start_row = project_first ? static_cast<std::ptrdiff_t>(row.z) : 0;
  r.start_step = project_first ? sign * static_cast<std::ptrdiff_t>(z_step) : 0;

  // One member alone runs all steps in the kernel; several meet after each, a projection comes between.
  const std::size_t stride = group.size == 1 && !projected ? last - first : 1;
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
      r.h_out[i] = projected ? s.unprojected : s.h[(parity + i + 1) % 2];
    }
    if (longest_ == 1 && group.size > 1)
      claim_panels(r, panels, claimed_[layer * shape_.num_directions + direction], group);
    else
      kernels_.recur(r);
    group.barrier->wait(table_, group.id);
    if (projected) {
      project_hidden(layer, direction, s.h[(parity + 1) % 2], active, group);
      copy_projected(layer, s.h[(parity + 1) % 2], active, out, t, group);
      group.barrier->wait(table_, group.id);
    }
  }
}

// A single step of a call: members take a few panels at a time, since the first ones are at work for some 50 microseconds
// before the last one has woken up. Nothing is gained from keeping a share for a next step, and nothing was projected
// ahead, which would be each member's own.
void Pass::claim_panels(Recurrence& step, std::size_t panels, std::atomic<std::size_t>& claimed, const Group& group) {
  const std::size_t few = std::max<std::size_t>(1, panels / (8 * group.size));
  for (;;) {
    step.first_panel = std::min(panels, claimed.fetch_add(few, std::memory_order_relaxed));
    if (step.first_panel == panels) return;
    step.last_panel = std::min(panels, step.first_panel + few);
    kernels_.recur(step);
  }
}

}  // namespace fusedlstm
