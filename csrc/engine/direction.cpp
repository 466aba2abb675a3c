#include "direction.hpp"

#include <algorithm>
#include <cstring>

namespace fusedlstm {

namespace {

// Below this many rows, and in a single step of any batch, the input is multiplied in the step itself: there is no reuse of
// W to gain. A thousand rows were 5 % faster that way.
constexpr std::size_t few_rows = 4;
// Inputs this narrow cost less in the step than their pre-activations cost to store and load.
constexpr std::size_t narrow_input = 4;

// Floats of member `id` of `size`, in whole cache lines.
std::size_t share(std::size_t count, std::size_t id, std::size_t size) {
  constexpr std::size_t line = cache_line / sizeof(float);
  return std::min(count, (count + line - 1) / line * id / size * line);
}

}  // namespace

DirectionPass::DirectionPass(const PackedDirection& packed, const LayerShape& shape, bool backward, const Rows& rows)
    : packed_(packed),
      shape_(shape),
      rows_(rows),
      backward_(backward),
      h_row_(round_up(shape.output_size, (shape.projected ? 4 : 1) * rows.table.lanes)),
      c_row_(round_up(shape.hidden_size, rows.table.lanes)),
      z_row_(4 * c_row_),
      claimed_panels_(0) {}

void DirectionPass::lay_out(Cursor& cursor) {
  for (float*& h : h_) h = cursor.take<float>(rows_.count() * h_row_);
  c_ = cursor.take<float>(rows_.count() * c_row_);
  unprojected_ = shape_.projected ? cursor.take<float>(rows_.count() * c_row_) : nullptr;
}

// Times [first, last), cut where rows end and where the pre-activations would outgrow the cache.
void DirectionPass::run(std::size_t first, std::size_t last, const RowView& in, const RowView& out, const Group& group) {
  const auto limit = [&](std::size_t active) {
    return last - first == 1 ? 1 : std::max<std::size_t>(1, rows_.most_ahead / active);  // a division counts in a step
  };
  if (!backward_) {
    std::size_t active = rows_.count();
    for (std::size_t t = first; t < last;) {
      while (active > 0 && length(active - 1) <= t) --active;
      const std::size_t end = std::min({last, length(active - 1), t + limit(active)});
      run_piece({t, end, active, false}, in, out, group);
      t = end;
    }
  } else {
    std::size_t active = 0;
    for (std::size_t t = last; t > first;) {
      while (active < rows_.count() && length(active) >= t) ++active;
      const std::size_t next = active < rows_.count() ? length(active) : 0;
      const std::size_t begin = std::max({first, next, t > limit(active) ? t - limit(active) : 0});
      run_piece({begin, t, active, false}, in, out, group);
      t = begin;
    }
  }
}

void DirectionPass::run_piece(const Piece& piece, const RowView& in, const RowView& out, const Group& group) {
  const std::size_t steps = piece.last - piece.first;
  const bool worth = packed_.input.inputs > narrow_input && steps > 1 && steps * piece.active >= few_rows;
  const Piece ready = {piece.first, piece.last, piece.active, !plain() || worth};
  if (ready.projected) project_ahead(ready, in, group);
  if (plain())
    run_plain(ready, in, out, group);
  else
    run_any(ready, out, group);
}

// Call run(step) for one step after the other, or `stride` steps at once; then the members meet.
template <class Run>
void DirectionPass::each_step(const Piece& piece, std::size_t stride, const Group& group, Run run) {
  for (std::size_t done = 0; done < piece.last - piece.first; done += stride) {
    const std::size_t t = backward_ ? piece.last - 1 - done : piece.first + done;
    run(Step{t, stride, (rows_.origin + (backward_ ? rows_.longest - 1 - t : t)) % 2});
    group.barrier->wait(rows_.table, group.id);
  }
}

// One kernel a step, or for all steps where one member runs alone.
void DirectionPass::run_plain(const Piece& piece, const RowView& in, const RowView& out, const Group& group) {
  Recurrence r = recurrence(piece, in, out, group);
  const std::size_t stride = group.size == 1 && !shape_.projected ? piece.last - piece.first : 1;
  each_step(piece, stride, group, [&](const Step& step) {
    r.x_offset = in.at(step.time);
    r.y_offset = out.at(step.time);
    recur(r, piece, step, group);
    if (!shape_.projected) return;
    project_hidden(piece, step, group);
    copy_projected(next_h(step), piece.active, out, step.time, group);
  });
}

// R h, then the update of the cells, then that of h; where a normalisation needs whole rows, members meet in between, and
// share the rows rather than the panels.
void DirectionPass::run_any(const Piece& piece, const RowView& out, const Group& group) {
  CellUpdate cells = cell_update(piece, group);
  HiddenUpdate hidden = hidden_update(piece, cells, out, group);
  each_step(piece, 1, group, [&](const Step& step) {
    update_cells(cells, piece, step, group);
    if (shape_.projected) {
      project_hidden(piece, step, group);
      group.barrier->wait(rows_.table, group.id);
    }
    hidden.h_before = h_[step.parity];
    hidden.h = next_h(step);
    hidden.y_offset = out.at(step.time);
    rows_.table.update_hidden(hidden);
  });
}

// h = W_hr (o tanh(c)), this member's panels
void DirectionPass::project_hidden(const Piece& piece, const Step& step, const Group& group) {
  group.barrier->wait(rows_.table, group.id);
  project_rows(packed_.projection, piece.active, {unprojected_, c_row_}, {next_h(step), h_row_}, group);
}

Recurrence DirectionPass::recurrence(const Piece& piece, const RowView& in, const RowView& out, const Group& group) const {
  const std::ptrdiff_t sign = backward_ ? -1 : 1;
  Recurrence r = {};
  r.input_weights = packed_.input.weights.chars();
  r.input_size = piece.projected ? 0 : packed_.input.inputs;
  r.x = in.rows;
  r.x_step = sign * in.time_step;
  r.recurrent_weights = packed_.recurrent.weights.chars();
  r.recurrent_size = packed_.recurrent.inputs;
  r.rounded_x = {group.rounded, rows_.rounded_bytes};
  r.rounded_h = {group.rounded + rows_.most_ahead * rows_.rounded_bytes, rows_.rounded_bytes};
  r.start_row = piece.projected ? static_cast<std::ptrdiff_t>(z_row_) : 0;
  r.start_step = piece.projected ? sign * static_cast<std::ptrdiff_t>(piece.active * z_row_) : 0;
  r.h_in_row = h_row_;
  r.h_out_row = shape_.projected ? c_row_ : h_row_;
  r.c = c_;
  r.c_row = c_row_;
  r.y = shape_.projected ? nullptr : out.rows;
  r.y_step = sign * out.time_step;
  r.units = shape_.hidden_size;
  r.first_panel = group.share_of(packed_.recurrent.panels, group.id);
  r.last_panel = group.share_of(packed_.recurrent.panels, group.id + 1);
  r.last_outputs = packed_.recurrent.outputs_before(r.last_panel);
  r.rows = piece.active;
  return r;
}

void DirectionPass::recur(Recurrence& r, const Piece& piece, const Step& step, const Group& group) {
  r.steps = step.count;
  r.last_panel_first = (rows_.origin + step.time) % 2 == 1;
  r.start = piece.projected ? group.z + (step.time - piece.first) * piece.active * z_row_ : packed_.input.bias.floats();
  for (std::size_t i = 0; i < 2; ++i) {
    r.h_in[i] = h_[(step.parity + i) % 2];
    r.h_out[i] = shape_.projected ? unprojected_ : h_[(step.parity + i + 1) % 2];
  }
  if (rows_.longest == 1 && group.size > 1)
    claim_panels(r, group);
  else
    rows_.kernels.recur(r);
}

// A single step of a call: members take a few panels at a time, since the first ones are at work for some 50 microseconds
// before the last one has woken up. Nothing is gained from keeping a share for a next step, and nothing was projected
// ahead, which would be each member's own.
void DirectionPass::claim_panels(Recurrence& step, const Group& group) {
  const std::size_t panels = packed_.recurrent.panels, few = std::max<std::size_t>(1, panels / (8 * group.size));
  for (;;) {
    step.first_panel = std::min(panels, claimed_panels_.fetch_add(few, std::memory_order_relaxed));
    if (step.first_panel == panels) return;
    step.last_panel = std::min(panels, step.first_panel + few);
    step.last_outputs = packed_.recurrent.outputs_before(step.last_panel);
    rows_.kernels.recur(step);
  }
}

CellUpdate DirectionPass::cell_update(const Piece& piece, const Group& group) const {
  const PackedCell& cell = *packed_.cell;
  const std::size_t panels = packed_.recurrent.panels;
  const bool whole_rows = cell.needs_whole_rows();
  CellUpdate update = {};
  update.cell = &cell;
  update.from_x_row = update.from_h_row = z_row_;
  update.from_h = group.from_h;
  update.c = c_;
  update.c_row = c_row_;
  update.m_row = shape_.projected ? c_row_ : h_row_;
  update.units = shape_.hidden_size;
  update.first_panel = whole_rows ? 0 : group.share_of(panels, group.id);
  update.last_panel = whole_rows ? panels : group.share_of(panels, group.id + 1);
  update.first_row = whole_rows ? piece.active * group.id / group.size : 0;
  update.last_row = whole_rows ? piece.active * (group.id + 1) / group.size : piece.active;
  return update;
}

void DirectionPass::update_cells(CellUpdate& update, const Piece& piece, const Step& step, const Group& group) const {
  project_rows(packed_.recurrent, piece.active, {h_[step.parity], h_row_}, {group.from_h, z_row_}, group);
  if (packed_.cell->needs_whole_rows()) group.barrier->wait(rows_.table, group.id);
  update.from_x = group.z + (step.time - piece.first) * piece.active * z_row_;
  update.m = shape_.projected ? unprojected_ : next_h(step);
  rows_.table.update_cell(update);
}

// Of the rows and units that this member updated, or of its share of what was projected since.
HiddenUpdate DirectionPass::hidden_update(const Piece& piece, const CellUpdate& cells, const RowView& out,
                                          const Group& group) const {
  HiddenUpdate hidden = {};
  hidden.cell = cells.cell;
  hidden.h_row = h_row_;
  hidden.y = out.rows;
  if (shape_.projected) {
    hidden.last_row = piece.active;
    hidden.first = share(shape_.output_size, group.id, group.size);
    hidden.last = share(shape_.output_size, group.id + 1, group.size);
  } else {
    hidden.first_row = cells.first_row;
    hidden.last_row = cells.last_row;
    hidden.first = cells.first_panel * rows_.table.lanes;
    hidden.last = std::min(cells.last_panel * rows_.table.lanes, shape_.output_size);
  }
  return hidden;
}

// This member's panels of matrix times the rows that group.x_rows points to.
void DirectionPass::project(const PackedMatrix& matrix, std::size_t rows, const Dense& z, const Group& group) const {
  Projection a = {};
  a.weights = matrix.weights.chars();
  a.bias = matrix.bias.floats();
  a.input_size = matrix.inputs;
  a.first_panel = group.share_of(matrix.panels, group.id);
  a.last_panel = group.share_of(matrix.panels, group.id + 1);
  a.last_outputs = matrix.outputs_before(a.last_panel);
  a.x = group.x_rows;
  a.rows = rows;
  a.z = z.data;
  a.z_row = z.row;
  a.rounded_x = {group.rounded, rows_.rounded_bytes};
  rows_.kernels.project(a);
}

// W x + b for all of a piece's steps.
void DirectionPass::project_ahead(const Piece& piece, const RowView& in, const Group& group) const {
  const float** row = group.x_rows;
  for (std::size_t t = piece.first; t < piece.last; ++t)
    for (std::size_t b = 0; b < piece.active; ++b) *row++ = in.at(b, t);
  project(packed_.input, static_cast<std::size_t>(row - group.x_rows), {group.z, z_row_}, group);
}

void DirectionPass::project_rows(const PackedMatrix& matrix, std::size_t rows, const Dense& from, const Dense& to,
                                 const Group& group) const {
  for (std::size_t first = 0; first < rows; first += rows_.most_ahead) {
    const std::size_t count = std::min(rows_.most_ahead, rows - first);
    for (std::size_t b = 0; b < count; ++b) group.x_rows[b] = from.data + (first + b) * from.row;
    project(matrix, count, {to.data + first * to.row, to.row}, group);
  }
}

// The part of h that this member projected, into the output.
void DirectionPass::copy_projected(const float* h, std::size_t active, const RowView& out, std::size_t t,
                                   const Group& group) const {
  const std::size_t panel = 4 * rows_.table.lanes, panels = packed_.projection.panels;
  const std::size_t begin = group.share_of(panels, group.id) * panel;
  const std::size_t end = std::min(group.share_of(panels, group.id + 1) * panel, shape_.output_size);
  if (begin >= end || out.rows == nullptr) return;
  for (std::size_t b = 0; b < active; ++b)
    std::memcpy(out.at(b, t) + begin, h + b * h_row_ + begin, (end - begin) * sizeof(float));
}

void DirectionPass::start() {
  claimed_panels_.store(0, std::memory_order_relaxed);
  // A unit past the last is multiplied by nothing, but must not be a signalling pattern.
  for (std::size_t b = 0; b < rows_.count(); ++b) {
    for (float* h : h_) std::fill(h + b * h_row_ + shape_.output_size, h + (b + 1) * h_row_, 0.0f);
    std::fill(c_ + b * c_row_ + shape_.hidden_size, c_ + (b + 1) * c_row_, 0.0f);
  }
}

void DirectionPass::load(std::size_t b, const float* h, const float* c) {
  const auto fill = [](float* to, const float* from, const Buffer& own, std::size_t count) {
    if (from == nullptr) from = own.floats();
    if (from == nullptr)
      std::fill_n(to, count, 0.0f);
    else
      std::copy_n(from, count, to);
  };
  for (std::size_t i = 0; i < 2; ++i)  // a backward row joins at its own end, whichever buffer is then read
    if (backward_ || i == rows_.origin % 2) fill(h_[i] + b * h_row_, h, packed_.h_0, shape_.output_size);
  fill(c_ + b * c_row_, c, packed_.c_0, shape_.hidden_size);
}

void DirectionPass::store(std::size_t b, float* h, float* c) const {
  // Buffers swap at every step: forward a row stops at its length, backward all rows stop together.
  const std::size_t steps = rows_.origin + (backward_ ? rows_.longest : length(b));
  std::copy_n(h_[steps % 2] + b * h_row_, shape_.output_size, h);
  std::copy_n(c_ + b * c_row_, shape_.hidden_size, c);
}

}  // namespace fusedlstm
