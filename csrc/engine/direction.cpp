#include "direction.hpp"

#include <algorithm>
#include <atomic>

namespace fusedlstm {

namespace {

// Below this many rows, and in a single step of any batch, the input is multiplied in the step itself: there is no reuse of
// W to gain. A thousand rows were 5 % faster that way.
constexpr std::size_t few_rows = 4;
// So many are multiplied ahead at once, while others are on their way.
constexpr std::size_t awaited_rows = 24;
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
      z_row_(4 * c_row_) {}

void DirectionPass::lay_out(Cursor& cursor) {
  for (float*& h : h_) h = cursor.take<float>(rows_.count() * h_row_);
  c_ = cursor.take<float>(rows_.count() * c_row_);
  unprojected_ = shape_.projected ? cursor.take<float>(rows_.count() * c_row_) : nullptr;
}

// Times [first, last), of which there is one or more, cut where rows end and where the pre-activations would outgrow the
// cache.
void DirectionPass::run(std::size_t first, std::size_t last, const Ends& ends, const Work& work) {
  const auto limit = [&](std::size_t active) {
    return last - first == 1 ? 1 : std::max<std::size_t>(1, rows_.most_ahead / active);  // a division counts in a step
  };
  if (!backward_) {
    std::size_t active = rows_.count(), t = first;
    do {
      while (active > 0 && length(active - 1) <= t) --active;
      const std::size_t end = std::min({last, length(active - 1), t + limit(active)});
      run_piece(piece_of(t, end, active), ends, work);
      t = end;
    } while (t < last && !work.crew.stopped());
  } else {
    std::size_t active = 0, t = last;
    do {
      while (active < rows_.count() && length(active) >= t) ++active;
      const std::size_t next = active < rows_.count() ? length(active) : 0;
      const std::size_t begin = std::max({first, next, t > limit(active) ? t - limit(active) : 0});
      run_piece(piece_of(begin, t, active), ends, work);
      t = begin;
    } while (t > first && !work.crew.stopped());
  }
}

DirectionPass::Piece DirectionPass::piece_of(std::size_t first, std::size_t last, std::size_t active) const {
  const std::size_t count = last - first;
  const bool worth = packed_.input.inputs > narrow_input && count > 1 && count * active >= few_rows;
  const bool projected = !plain() || worth;
  const std::size_t group = active == 1 && projected ? steps_ahead() : 0;
  return {first, last, active, projected, group, count >= 2 * group && group > 0 ? count / group * group : 0};
}

// As many steps at once as leave time to look who is there, and whether to stop.
void DirectionPass::run_piece(const Piece& piece, const Ends& ends, const Work& work) {
  const std::size_t count = piece.last - piece.first;
  if (rows_.longest == 1 && !work.crew.alone() && plain()) return run_single(piece, ends, work);
  const std::size_t rows = piece.projected ? count * piece.active : 0;
  std::size_t ahead = 0;
  for (; piece.reads == 0 && work.crew.awaited() && rows - ahead > awaited_rows; ahead += awaited_rows)
    work.crew.together(
        [&](Member& member) { project_ahead(piece, {ahead, ahead + awaited_rows}, ends.in, Hand(member, work.scratch)); });
  std::size_t done = 0;
  do {
    const Span steps = next_steps(piece, done, work.crew);
    work.crew.together([&](Member& member) {
      const Hand hand(member, work.scratch);
      if (done == 0 && piece.reads == 0) project_ahead(piece, {ahead, rows}, ends.in, hand);
      if (done == 0 && piece.reads > 0) project_ends(piece, ends.in, hand);
      if (plain())
        run_plain(piece, steps, ends, hand);
      else
        run_any(piece, steps, ends.out, hand);
    });
    done = steps.last;
  } while (done < count && !work.crew.stopped());
}

DirectionPass::Span DirectionPass::next_steps(const Piece& piece, std::size_t done, const Crew& crew) const {
  const std::size_t count = piece.last - piece.first;
  if (count == 1) return {0, 1};
  const std::size_t inputs = shape_.output_size + (piece.projected ? 0 : shape_.input_size);
  const double step = 4.0 * static_cast<double>(piece.active * shape_.hidden_size * inputs);
  const double some = std::max(1.0, crew.stretch() / step);
  if (some >= static_cast<double>(count - done)) return {done, count};
  // Steps that are projected together are so by the same members.
  const std::size_t several = piece.reads > 0 ? piece.group : 1;
  return {done, std::min(count, done + round_up(static_cast<std::size_t>(some), several))};
}

// Call run(step) for one step after the other, or `stride` steps at once; in between the members meet.
template <class Run>
void DirectionPass::each_step(const Piece& piece, const Span& steps, std::size_t stride, const Hand& hand, Run run) {
  for (std::size_t done = steps.first; done < steps.last; done += stride) {
    if (done > steps.first) hand.member.meet();
    const std::size_t t = backward_ ? piece.last - 1 - done : piece.first + done;
    run(Step{t, stride, (rows_.origin + (backward_ ? rows_.longest - 1 - t : t)) % 2});
  }
}

// One kernel a step, or for all steps where one member runs alone.
void DirectionPass::run_plain(const Piece& piece, const Span& steps, const Ends& ends, const Hand& hand) {
  Recurrence r = recurrence(piece, ends, hand);
  const std::size_t stride = hand.member.size == 1 && !shape_.projected ? steps.last - steps.first : 1;
  each_step(piece, steps, stride, hand, [&](const Step& step) {
    go_to(step, r, piece, hand, ends);
    rows_.kernels.recur(r);
    if (!shape_.projected) return;
    project_hidden(piece, step, hand);
    copy_projected(next_h(step), piece.active, ends.out, step.time, hand);
  });
}

// A single step of a call: whoever comes takes a few panels at a time, since the first ones are at work for some 50
// microseconds before the last one has woken up. Nothing is gained from keeping a share for a next step.
void DirectionPass::run_single(const Piece& piece, const Ends& ends, const Work& work) {
  const Step step = {piece.first, 1, rows_.origin % 2};
  const std::size_t panels = packed_.recurrent.panels, few = std::max<std::size_t>(1, panels / (8 * work.crew.most()));
  std::atomic<std::size_t> claimed{0};
  work.crew.side_by_side([&](Member& member) {
    const Hand hand(member, work.scratch);
    Recurrence r = recurrence(piece, ends, hand);
    go_to(step, r, piece, hand, ends);
    while ((r.first_panel = claimed.fetch_add(few, std::memory_order_relaxed)) < panels) {
      r.last_panel = std::min(panels, r.first_panel + few);
      r.last_outputs = packed_.recurrent.outputs_before(r.last_panel);
      rows_.kernels.recur(r);
    }
  });
  if (!shape_.projected) return;
  work.crew.together([&](Member& member) {
    const Hand hand(member, work.scratch);
    project_hidden(piece, step, hand);
    copy_projected(next_h(step), piece.active, ends.out, step.time, hand);
  });
}

// R h, then the update of the cells, then that of h; where a normalisation needs whole rows, members meet in between, and
// share the rows rather than the panels.
void DirectionPass::run_any(const Piece& piece, const Span& steps, const RowView& out, const Hand& hand) {
  CellUpdate cells = cell_update(piece, hand);
  HiddenUpdate hidden = hidden_update(piece, cells, out, hand);
  each_step(piece, steps, 1, hand, [&](const Step& step) {
    update_cells(cells, piece, step, hand);
    if (shape_.projected) {
      project_hidden(piece, step, hand);
      hand.member.meet();
    }
    hidden.h_before = h_[step.parity];
    hidden.h = next_h(step);
    hidden.y_offset = out.at(step.time);
    rows_.table.update_hidden(hidden);
  });
}

// h = W_hr (o tanh(c)), this member's panels
void DirectionPass::project_hidden(const Piece& piece, const Step& step, const Hand& hand) {
  hand.member.meet();
  project_rows(packed_.projection, piece.active, {unprojected_, c_row_}, {next_h(step), h_row_}, hand);
}

Recurrence DirectionPass::recurrence(const Piece& piece, const Ends& ends, const Hand& hand) const {
  const std::ptrdiff_t sign = backward_ ? -1 : 1;
  Recurrence r;  // all of it is set here or by go_to: zeros first would take as long as a tenth of a small step
  r.input_weights = packed_.input.weights.chars();
  r.input_size = piece.projected ? 0 : packed_.input.inputs;
  r.x = ends.in.rows;
  r.x_step = sign * ends.in.time_step;
  r.recurrent_weights = packed_.recurrent.weights.chars();
  r.recurrent_size = packed_.recurrent.inputs;
  r.rounded_x = {hand.rounded, rows_.rounded_bytes};
  r.rounded_h = {hand.rounded + rows_.most_ahead * rows_.rounded_bytes, rows_.rounded_bytes};
  r.start_row = piece.projected ? static_cast<std::ptrdiff_t>(z_row_) : 0;
  r.start_step = piece.projected ? sign * static_cast<std::ptrdiff_t>(piece.active * z_row_) : 0;
  r.ahead.weights = packed_.input.weights.chars();
  r.ahead.bias = packed_.input.bias.floats();
  r.ahead.inputs = piece.reads > 0 ? packed_.input.inputs : 0;
  r.ahead.group = piece.group;
  r.ahead.last = piece.reads;
  r.h_in_row = h_row_;
  r.h_out_row = shape_.projected ? c_row_ : h_row_;
  r.c = c_;
  r.c_row = c_row_;
  r.y = shape_.projected ? nullptr : ends.out.rows;
  r.y_step = sign * ends.out.time_step;
  r.units = shape_.hidden_size;
  r.first_panel = hand.share_of(packed_.recurrent.panels, hand.member.id);
  r.last_panel = hand.share_of(packed_.recurrent.panels, hand.member.id + 1);
  r.last_outputs = packed_.recurrent.outputs_before(r.last_panel);
  r.rows = piece.active;
  return r;
}

void DirectionPass::go_to(const Step& step, Recurrence& r, const Piece& piece, const Hand& hand, const Ends& ends) const {
  r.steps = step.count;
  r.x_offset = ends.in.at(step.time);
  r.y_offset = ends.out.at(step.time);
  r.last_panel_first = (rows_.origin + step.time) % 2 == 1;
  r.ahead.z = hand.z + (step.time - piece.first) * piece.active * z_row_;
  r.ahead.done = backward_ ? piece.last - 1 - step.time : step.time - piece.first;
  r.start = piece.projected ? hand.z + (step.time - piece.first) * piece.active * z_row_ : packed_.input.bias.floats();
  for (std::size_t i = 0; i < 2; ++i) {
    r.h_in[i] = h_[(step.parity + i) % 2];
    r.h_out[i] = shape_.projected ? unprojected_ : h_[(step.parity + i + 1) % 2];
  }
}

CellUpdate DirectionPass::cell_update(const Piece& piece, const Hand& hand) const {
  const PackedCell& cell = *packed_.cell;
  const std::size_t panels = packed_.recurrent.panels;
  const bool whole_rows = cell.needs_whole_rows();
  CellUpdate update = {};
  update.cell = &cell;
  update.from_x_row = update.from_h_row = z_row_;
  update.from_h = hand.from_h;
  update.c = c_;
  update.c_row = c_row_;
  update.m_row = shape_.projected ? c_row_ : h_row_;
  update.units = shape_.hidden_size;
  update.first_panel = whole_rows ? 0 : hand.share_of(panels, hand.member.id);
  update.last_panel = whole_rows ? panels : hand.share_of(panels, hand.member.id + 1);
  update.first_row = whole_rows ? piece.active * hand.member.id / hand.member.size : 0;
  update.last_row = whole_rows ? piece.active * (hand.member.id + 1) / hand.member.size : piece.active;
  return update;
}

void DirectionPass::update_cells(CellUpdate& update, const Piece& piece, const Step& step, const Hand& hand) const {
  project_rows(packed_.recurrent, piece.active, {h_[step.parity], h_row_}, {hand.from_h, z_row_}, hand);
  if (packed_.cell->needs_whole_rows()) hand.member.meet();
  update.from_x = hand.z + (step.time - piece.first) * piece.active * z_row_;
  update.m = shape_.projected ? unprojected_ : next_h(step);
  rows_.table.update_cell(update);
}

// Of the rows and units that this member updated, or of its share of what was projected since.
HiddenUpdate DirectionPass::hidden_update(const Piece& piece, const CellUpdate& cells, const RowView& out,
                                          const Hand& hand) const {
  HiddenUpdate hidden = {};
  hidden.cell = cells.cell;
  hidden.h_row = h_row_;
  hidden.y = out.rows;
  if (shape_.projected) {
    hidden.last_row = piece.active;
    hidden.first = share(shape_.output_size, hand.member.id, hand.member.size);
    hidden.last = share(shape_.output_size, hand.member.id + 1, hand.member.size);
  } else {
    hidden.first_row = cells.first_row;
    hidden.last_row = cells.last_row;
    hidden.first = cells.first_panel * rows_.table.lanes;
    hidden.last = std::min(cells.last_panel * rows_.table.lanes, shape_.output_size);
  }
  return hidden;
}

}  // namespace fusedlstm
