// What a direction projects: its inputs ahead of the steps, and hidden states.
#include <algorithm>
#include <cstring>

#include "direction.hpp"

namespace fusedlstm {

namespace {

// Weights that one step after the other finds in L1; there is nothing to be gained while they are read.
constexpr std::size_t near_weights = 8 * 1024;
// So many fit into a small L2 beside all else, and into a share of L3.
constexpr std::size_t close_weights = 160 * 1024, far_weights = 3 * 512 * 1024;

}  // namespace

// How many steps are projected together while the recurrent weights are read; 0: none. There must be something to wait for,
// and enough to do meanwhile; and both matrices must have room in a cache, or else one drives the other out. The more there
// is, the more rarely W should be read.
std::size_t DirectionPass::steps_ahead() const {
  const std::size_t own = 4 * c_row_ * packed_.recurrent.inputs, other = 4 * c_row_ * packed_.input.inputs;
  if (!plain() || own <= near_weights || 2 * other < own || own + other > far_weights) return 0;
  return rows_.kernels.ahead * (own + other <= close_weights ? 1 : 4);
}

// What is not projected while the recurrent weights are read: the first steps, and those that are too few at the end.
void DirectionPass::project_ends(const Piece& piece, const RowView& in, const Hand& hand) const {
  const std::size_t count = piece.last - piece.first, several = piece.group, rest = count - piece.reads;
  project_ahead(piece, backward_ ? Span{count - several, count} : Span{0, several}, in, hand);
  project_ahead(piece, backward_ ? Span{0, rest} : Span{piece.reads, count}, in, hand);
}

// This member's panels of matrix times the rows that hand.x_rows points to.
void DirectionPass::project(const PackedMatrix& matrix, std::size_t rows, const Dense& z, const Hand& hand) const {
  Projection a = {};
  a.weights = matrix.weights.chars();
  a.bias = matrix.bias.floats();
  a.input_size = matrix.inputs;
  a.first_panel = hand.share_of(matrix.panels, hand.member.id);
  a.last_panel = hand.share_of(matrix.panels, hand.member.id + 1);
  a.last_outputs = matrix.outputs_before(a.last_panel);
  a.x = hand.x_rows;
  a.rows = rows;
  a.z = z.data;
  a.z_row = z.row;
  a.rounded_x = {hand.rounded, rows_.rounded_bytes};
  (&matrix == &packed_.recurrent ? rows_.hidden : rows_.kernels).project(a);
}

// W x + b for some rows of all those that a piece has in its steps.
void DirectionPass::project_ahead(const Piece& piece, const Span& rows, const RowView& in, const Hand& hand) const {
  if (rows.first == rows.last) return;
  const float** row = hand.x_rows;
  std::size_t t = piece.first + rows.first / piece.active, b = rows.first % piece.active;
  for (std::size_t i = rows.first; i < rows.last; ++i) {
    *row++ = in.at(b, t);
    if (++b == piece.active) b = 0, ++t;
  }
  project(packed_.input, rows.last - rows.first, {hand.z + rows.first * z_row_, z_row_}, hand);
}

void DirectionPass::project_rows(const PackedMatrix& matrix, std::size_t rows, const Dense& from, const Dense& to,
                                 const Hand& hand) const {
  for (std::size_t first = 0; first < rows; first += rows_.most_ahead) {
    const std::size_t count = std::min(rows_.most_ahead, rows - first);
    for (std::size_t b = 0; b < count; ++b) hand.x_rows[b] = from.data + (first + b) * from.row;
    project(matrix, count, {to.data + first * to.row, to.row}, hand);
  }
}

// The part of h that this member projected, into the output.
void DirectionPass::copy_projected(const float* h, std::size_t active, const RowView& out, std::size_t t,
                                   const Hand& hand) const {
  const std::size_t panel = 4 * rows_.table.lanes, panels = packed_.projection.panels;
  const std::size_t begin = hand.share_of(panels, hand.member.id) * panel;
  const std::size_t end = std::min(hand.share_of(panels, hand.member.id + 1) * panel, shape_.output_size);
  if (begin >= end || out.rows == nullptr) return;
  for (std::size_t b = 0; b < active; ++b)
    std::memcpy(out.at(b, t) + begin, h + b * h_row_ + begin, (end - begin) * sizeof(float));
}

}  // namespace fusedlstm
