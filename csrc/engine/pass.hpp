// Some rows of one call, run by the members of a team that meet at barriers.
//
// Rows are sorted by length, longest first, so that the rows still running at any time are the first ones. Each member
// owns a range of panels for the whole call (its slice of the weights stays in its core's cache) and all members go
// through the same steps; when a bidirectional layer has members enough, each direction gets its own group.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "lstm.hpp"
#include "team.hpp"

namespace fusedlstm {

class Pass {
 public:
  // rows: the call's rows that this pass runs, sorted by length, longest first. A lasting pass goes on with the state that
  // it has, for one call after the other; its memory is laid out for call.time steps or more.
  Pass(const Lstm& lstm, const KernelTable& table, const Call& call, std::vector<std::size_t> rows, std::size_t members,
       bool lasting = false);

  ~Pass();

  void prepare();                // one thread: initial states, zeros past the lengths
  void run(std::size_t member);  // every member
  void finish();                 // one thread: final states

  // Of a lasting pass of one member, forward only: run call.time steps and keep the state.
  void go_on();
  void reset(const float* h_0, const float* c_0);  // as in Call
  // The state of row b, layer by layer h then c.
  void store_row(std::size_t b, float* state) const;
  void load_row(std::size_t b, const float* state);  // null: the LSTM's own, or zeros

 private:
  // The hidden state is double-buffered: a step reads one and writes the other. c is updated in place.
  struct State {
    float* h[2];
    float* c;
    float* unprojected;  // o tanh(c), when a projection follows
  };

  // Floats from row to row, of one layer.
  struct Rows {
    std::size_t h, c, z;
  };

  // A sequence as the kernels see it: row b at time t starts at rows[b] + t * time_step + offset.
  struct View {
    float* const* rows;
    std::ptrdiff_t time_step, offset;
    std::ptrdiff_t at(std::size_t t) const { return static_cast<std::ptrdiff_t>(t) * time_step + offset; }
  };

  // Who works on one direction: member `id` of `size`, meeting at `barrier`; z, from_h and x_rows are scratch.
  struct Group {
    std::size_t id, size;
    Barrier* barrier;
    float* z;
    float* from_h;  // R h of every row, where a cell is not the plain one
    const float** x_rows;
    unsigned char* rounded;
    // Where a member's share of the panels starts; that of `size` is the end.
    std::size_t share_of(std::size_t panels, std::size_t member) const {
      return member == 0 ? 0 : member == size ? panels : panels * member / size;
    }
  };

  void lay_out(Cursor& cursor);
  void bind();
  void store_row(std::size_t b, float* state, std::size_t steps) const;  // after so many steps
  void gather();                                                         // rows from the call's slots
  void scatter();                                                        // and back
  void run_direction(std::size_t layer, std::size_t direction, std::size_t first, std::size_t last, const View& in,
                     const View& out, const Group& group);
  void claim_panels(Recurrence& step, std::size_t panels, std::atomic<std::size_t>& claimed, const Group& group);
  void run_steps(std::size_t layer, std::size_t direction, std::size_t first, std::size_t last, std::size_t active,
                 bool project_first, const View& in, const View& out, const Group& group);
  // The same for any cell; pre-activations are always computed ahead.
  void run_cell_steps(std::size_t layer, std::size_t direction, std::size_t first, std::size_t last, std::size_t active,
                      const View& out, const Group& group);
  void project_ahead(const PackedMatrix& input, std::size_t z_row, std::size_t first, std::size_t last, std::size_t active,
                     const View& in, const Group& group);
  void project(const PackedMatrix& matrix, std::size_t first, std::size_t last, std::size_t rows, float* z,
               std::size_t z_row, const Group& group) const;
  void project_hidden(std::size_t layer, std::size_t direction, float* h, std::size_t active, const Group& group);
  void copy_projected(std::size_t layer, const float* h, std::size_t active, const View& out, std::size_t t,
                      const Group& group);
  // Merges directions and adds the layer's input, where the model does.
  bool joins(std::size_t layer) const;
  void join(std::size_t layer, std::size_t first, std::size_t last, const View& in, const View& out, std::size_t member);
  View between(std::size_t layer, std::size_t first_time) const;
  View second(std::size_t layer, std::size_t first_time) const;
  bool backward(std::size_t direction) const { return direction == 1 || shape_.reverse; }
  State& state(std::size_t layer, std::size_t direction) { return states_[layer * shape_.num_directions + direction]; }
  std::size_t length(std::size_t row) const;

  const Lstm& lstm_;
  const KernelTable& table_;
  const Kernels& kernels_;  // of the weights' precision
  const Call& call_;
  const Shape& shape_;
  std::vector<std::size_t> rows_;  // into the call's batch
  std::size_t members_, groups_;
  bool lasting_;
  std::size_t longest_ = 0;
  std::size_t origin_ = 0;    // steps before this call
  std::size_t block_;         // time steps that stacked layers pass on at once
  std::size_t z_rows_;        // rows of pre-activations computed at once
  std::vector<Rows> row_of_;  // by layer
  Barrier all_, of_group_[2];
  std::vector<std::atomic<std::size_t>> claimed_;  // panels of a single step that members have taken, by state

  Buffer memory_;
  std::vector<State> states_;
  float** x_rows_ = nullptr;
  float** y_rows_ = nullptr;
  float* between_[2] = {nullptr, nullptr};  // sequences between layers, (time, row, width)
  std::vector<float**> between_rows_;       // one a layer but the last
  float* second_ = nullptr;                 // the second direction's outputs, to be merged
  float** second_rows_ = nullptr;
  std::vector<float*> z_, from_h_;           // one a group
  std::vector<const float**> scratch_rows_;  // one a member
  std::vector<unsigned char*> rounded_;      // one a member: z_rows_ rows of x, then of h, as whole numbers
  std::size_t rounded_row_;                  // bytes of one; 0 where none are
};

}  // namespace fusedlstm
