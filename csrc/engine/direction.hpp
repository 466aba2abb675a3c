// One direction of one layer of an LSTM while a pass lasts: its state, and the loop over time.
#pragma once
#include <cstddef>
#include <vector>

#include "crew.hpp"
#include "packing.hpp"

namespace fusedlstm {

// A sequence as the kernels see it: row b at time t starts at rows[b] + t * time_step + offset.
struct RowView {
  float* const* rows;
  std::ptrdiff_t time_step, offset;
  std::ptrdiff_t at(std::size_t t) const { return static_cast<std::ptrdiff_t>(t) * time_step + offset; }
  float* at(std::size_t b, std::size_t t) const { return rows[b] + at(t); }
};

// What a direction reads and what it writes.
struct Ends {
  const RowView &in, &out;
};

// What the directions of a pass have in common. Rows are sorted by length, longest first, so that the rows still running at
// any time are the first ones.
struct Rows {
  const KernelTable& table;
  const Kernels& kernels;            // of the weights' precision
  const Kernels& hidden;             // for products of h alone
  std::vector<std::size_t> lengths;  // in this call
  std::size_t longest = 0;
  std::size_t origin = 0;         // steps before this call
  std::size_t most_ahead = 0;     // rows of pre-activations that are computed at once
  std::size_t rounded_bytes = 0;  // of a row of x or h that is rounded; 0 where none are
  std::size_t count() const { return lengths.size(); }
};

// Memory for one direction while it runs.
struct Scratch {
  // A member's own.
  struct Own {
    const float** x_rows;
    unsigned char* rounded;  // most_ahead rows of x, then of h
  };
  float* z;       // pre-activations, computed ahead
  float* from_h;  // R h of every row, where a cell is not the plain one
  std::vector<Own> of_members;
};

// Who works on one direction.
struct Work {
  Crew& crew;
  Scratch& scratch;
};

// One of them, and its memory.
struct Hand {
  Member& member;
  float *z, *from_h;
  const float** x_rows;
  unsigned char* rounded;

  Hand(Member& one, const Scratch& scratch)
      : member(one),
        z(scratch.z),
        from_h(scratch.from_h),
        x_rows(scratch.of_members[one.id].x_rows),
        rounded(scratch.of_members[one.id].rounded) {}
  // Where the share of some panels starts that member `id` has; that of `size` is the end.
  std::size_t share_of(std::size_t panels, std::size_t id) const {
    return id == 0 ? 0 : id == member.size ? panels : panels * id / member.size;  // a division counts in a step
  }
};

class DirectionPass {
 public:
  DirectionPass(const PackedDirection& packed, const LayerShape& shape, bool backward, const Rows& rows);

  void lay_out(Cursor& cursor);
  void run(std::size_t first, std::size_t last, const Ends& ends, const Work& work);

  // The state of row b: h (output_size) and c (hidden_size). What is null comes from the model, or is zero.
  void load(std::size_t b, const float* h, const float* c);
  void store(std::size_t b, float* h, float* c) const;
  void start();  // before a call: zeros past the last unit

  const LayerShape& shape() const { return shape_; }
  bool plain() const { return packed_.cell == nullptr; }
  std::size_t z_row() const { return z_row_; }

 private:
  // Times [first, last), throughout which the first `active` rows run; projected: W x + b is computed ahead; reads: of so
  // many steps while the recurrent weights are read, group by group.
  struct Piece {
    std::size_t first, last, active;
    bool projected;
    std::size_t group, reads;
  };
  // Some steps of a piece, counted in the order in which they run; or some rows of all its steps.
  struct Span {
    std::size_t first, last;
  };
  struct Step {
    std::size_t time, count;  // count: steps that the kernel runs in one go
    std::size_t parity;       // which h is read
  };

  // Floats with a stride from row to row.
  struct Dense {
    float* data;
    std::size_t row;
  };

  Piece piece_of(std::size_t first, std::size_t last, std::size_t active) const;
  void run_piece(const Piece& piece, const Ends& ends, const Work& work);
  Span next_steps(const Piece& piece, std::size_t done, const Crew& crew) const;
  template <class Run>
  void each_step(const Piece& piece, const Span& steps, std::size_t stride, const Hand& hand, Run run);
  void run_plain(const Piece& piece, const Span& steps, const Ends& ends, const Hand& hand);
  void run_any(const Piece& piece, const Span& steps, const RowView& out, const Hand& hand);
  void run_single(const Piece& piece, const Ends& ends, const Work& work);
  Recurrence recurrence(const Piece& piece, const Ends& ends, const Hand& hand) const;
  CellUpdate cell_update(const Piece& piece, const Hand& hand) const;
  HiddenUpdate hidden_update(const Piece& piece, const CellUpdate& cells, const RowView& out, const Hand& hand) const;
  void go_to(const Step& step, Recurrence& r, const Piece& piece, const Hand& hand, const Ends& ends) const;
  void update_cells(CellUpdate& update, const Piece& piece, const Step& step, const Hand& hand) const;

  void project(const PackedMatrix& matrix, std::size_t rows, const Dense& z, const Hand& hand) const;
  void project_ahead(const Piece& piece, const Span& rows, const RowView& in, const Hand& hand) const;
  std::size_t steps_ahead() const;
  void project_ends(const Piece& piece, const RowView& in, const Hand& hand) const;
  void project_hidden(const Piece& piece, const Step& step, const Hand& hand);
  void project_rows(const PackedMatrix& matrix, std::size_t rows, const Dense& from, const Dense& to,
                    const Hand& hand) const;
  void copy_projected(const float* h, std::size_t active, const RowView& out, std::size_t t, const Hand& hand) const;
  float* next_h(const Step& step) const { return h_[(step.parity + 1) % 2]; }
  std::size_t length(std::size_t b) const { return rows_.lengths[b]; }

  const PackedDirection& packed_;
  const LayerShape& shape_;
  const Rows& rows_;
  const bool backward_;
  const std::size_t h_row_, c_row_, z_row_;  // floats from row to row

  // The hidden state is double-buffered: a step reads one and writes the other. c is updated in place.
  float* h_[2] = {nullptr, nullptr};
  float* c_ = nullptr;
  float* unprojected_ = nullptr;  // o tanh(c), when a projection follows
};

}  // namespace fusedlstm
