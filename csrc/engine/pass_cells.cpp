// The parts of a pass that only variants need: steps of any cell, merged directions, residual connections.
#include <algorithm>

#include "pass.hpp"

namespace fusedlstm {

namespace {

// Floats of member `id` of `size`, in whole cache lines.
std::size_t share(std::size_t count, std::size_t id, std::size_t size) {
  constexpr std::size_t line = cache_line / sizeof(float);
  return std::min(count, (count + line - 1) / line * id / size * line);
}

void merge(Merge how, float* y, const float* other, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (how == Merge::mul)
      y[i] *= other[i];
    else
      y[i] += other[i];
    if (how == Merge::ave) y[i] *= 0.5f;
  }
}

}  // namespace

// Each member computes R h and the update for its panels, so that one meeting a step is enough. Where a normalisation needs
// whole rows, they meet before it, and each takes its share of the rows.
void Pass::run_cell_steps(std::size_t layer, std::size_t direction, std::size_t first, std::size_t last, std::size_t active,
                          const View& out, const Group& group) {
  const PackedDirection& packed = lstm_.direction(layer, direction);
  const CellOptions& options = packed.cell->options;
  const LayerShape& shape = shape_.layers[layer];
  const State& s = state(layer, direction);
  const Rows& row = row_of_[layer];
  const std::size_t panels = packed.recurrent.panels;
  const std::size_t first_panel = group.share_of(panels, group.id), last_panel = group.share_of(panels, group.id + 1);

  CellUpdate update = {};
  update.options = &options;
  update.from_x_row = update.from_h_row = row.z;
  update.from_h = group.from_h;
  update.c = s.c;
  update.c_row = row.c;
  update.m_row = shape.projected ? row.c : row.h;
  update.units = shape.hidden_size;
  update.first_panel = options.whole_rows() ? 0 : first_panel;
  update.last_panel = options.whole_rows() ? panels : last_panel;
  update.first_row = options.whole_rows() ? active * group.id / group.size : 0;
  update.last_row = options.whole_rows() ? active * (group.id + 1) / group.size : active;

  HiddenUpdate hidden = {};
  hidden.options = &options;
  hidden.h_row = row.h;
  hidden.y = out.rows;
  hidden.first_row = shape.projected ? 0 : update.first_row;
  hidden.last_row = shape.projected ? active : update.last_row;
  hidden.first = shape.projected ? share(shape.output_size, group.id, group.size) : update.first_panel * table_.lanes;
  hidden.last = shape.projected ? share(shape.output_size, group.id + 1, group.size)
                                : std::min(update.last_panel * table_.lanes, shape.output_size);

  for (std::size_t done = 0; done < last - first; ++done) {
    const std::size_t t = backward(direction) ? last - 1 - done : first + done;
    const std::size_t parity = (origin_ + (backward(direction) ? longest_ - 1 - t : t)) % 2;
    float* const h = s.h[(parity + 1) % 2];
    for (std::size_t from = 0; from < active; from += z_rows_) {
      const std::size_t count = std::min(z_rows_, active - from);
      for (std::size_t b = 0; b < count; ++b) group.x_rows[b] = s.h[parity] + (from + b) * row.h;
      project(packed.recurrent, first_panel, last_panel, count, group.from_h + from * row.z, row.z, group);
    }
    if (options.whole_rows()) group.barrier->wait(table_, group.id);
    update.from_x = group.z + (t - first) * active * row.z;
    update.m = shape.projected ? s.unprojected : h;
    table_.update_cell(update);
    if (shape.projected) {
      group.barrier->wait(table_, group.id);
      project_hidden(layer, direction, h, active, group);
      group.barrier->wait(table_, group.id);
    }
    hidden.h_before = s.h[parity];
    hidden.h = h;
    hidden.y_offset = out.at(t);
    table_.update_hidden(hidden);
    group.barrier->wait(table_, group.id);
  }
}

bool Pass::joins(std::size_t layer) const { return shape_.merge != Merge::concat || shape_.layers[layer].residual; }

void Pass::join(std::size_t layer, std::size_t first, std::size_t last, const View& in, const View& out,
                std::size_t member) {
  const std::size_t width = shape_.width(layer);
  for (std::size_t b = member; b < rows_.size(); b += members_)
    for (std::size_t t = first; t < std::min(last, length(b)); ++t) {
      float* y = out.rows[b] + out.at(t);
      if (shape_.merge != Merge::concat) {
        const View other = second(layer, first);
        merge(shape_.merge, y, other.rows[b] + other.at(t), width);
      }
      if (!shape_.layers[layer].residual) continue;
      const float* x = in.rows[b] + in.at(t);
      for (std::size_t i = 0; i < width; ++i) y[i] += x[i];
    }
}

}  // namespace fusedlstm
