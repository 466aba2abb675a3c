// Matrix products and convolutions, on the panels and with the order of sums that the LSTM has.
//
// Every row of the result is a row of inputs times the weights. Where those inputs lie beside each other in x, the kernel
// reads them there; else (at an edge, with a dilation, with channels apart) they are gathered first. What comes before a
// kernel's rows of whole panels and the rows of y, activation included, is done block by block while it is in L1.
#include <algorithm>
#include <cstring>
#include <utility>

#include "../kernels/dispatch.hpp"
#include "steps.hpp"
#include "windows.hpp"

namespace fusedlstm {

namespace {

constexpr std::size_t block_bytes = std::size_t{192} << 10;  // of gathered rows and results
constexpr std::size_t fewest_rows = 12, most_rows = 480;
constexpr std::size_t most_places = std::size_t{1} << 28;  // of taps that are looked for

// Neighbouring taps that lie beside each other in x, or outside of it.
struct Run {
  std::ptrdiff_t from;  // in floats from its row's start, or `nothing`
  std::size_t count;    // of floats
};

// Where the inputs of each row lie: for each row a place in x, and the runs from there on. Rows between the edges share
// their runs.
struct Inputs {
  std::vector<std::ptrdiff_t> start;     // of each row, in floats from x's beginning
  std::vector<std::ptrdiff_t> y;         // of each row, in floats from y's beginning
  std::vector<Run> runs;                 // of the rows that are gathered
  std::vector<std::ptrdiff_t> gathered;  // for each row where its runs begin, or -1: the inputs lie beside each other
  std::size_t tap_count = 1;
  std::ptrdiff_t channels = 0, channel_step = 1;
};

// Few floats, for which memcpy's own choices would take longer.
void copy_few(const float* from, std::size_t count, float* to) {
  if (count < 4) {
    if (count > 0) to[0] = from[0];
    if (count > 1) to[1] = from[1];
    if (count > 2) to[2] = from[2];
    return;
  }
  if (count > 64) {
    std::memcpy(to, from, count * sizeof(float));
    return;
  }
  for (std::size_t k = 0; k + 4 < count; k += 4) std::memcpy(to + k, from + k, 4 * sizeof(float));
  std::memcpy(to + count - 4, from + count - 4, 4 * sizeof(float));
}

class Product : public Step {
 public:
  Product(std::shared_ptr<const PackedWeights> weights, const Tensor& x, const Tensor& y,
          const std::optional<Windowing>& windows, const std::optional<Activation>& activation)
      : weights_(std::move(weights)),
        table_(weights_->table),
        kernels_(table_.of[static_cast<std::size_t>(weights_->precision)]),
        activation_(activation),
        x_(x),
        y_(y),
        inputs_(weights_->matrix.inputs),
        outputs_(weights_->outputs),
        z_row_(weights_->matrix.panels * 4 * table_.lanes) {
    if (x.element != Element::float32 || y.element != Element::float32 || x.rank() < 1 || x.rank() != y.rank() ||
        y.shape.back() != static_cast<std::ptrdiff_t>(outputs_))
      throw std::invalid_argument("product: expected floats, and as many outputs as the weights have");
    y_step_ = y.shape.back() == 1 ? 1 : y.strides.back();
    rows_.channels = x.shape.back();
    rows_.channel_step = x.shape.back() == 1 ? 1 : x.strides.back();
    if (windows)
      for (const Sliding& one : windows->axes)  // never more than the inputs, so that no product is too large
        rows_.tap_count = static_cast<std::size_t>(one.kernel) > inputs_ / rows_.tap_count
                              ? inputs_ + 1
                              : rows_.tap_count * static_cast<std::size_t>(one.kernel);
    const std::size_t channels = static_cast<std::size_t>(rows_.channels);
    if (channels > inputs_ || rows_.tap_count > inputs_ || rows_.tap_count * channels != inputs_)
      throw std::invalid_argument("product: expected as many inputs as the weights have");
    for (std::vector<std::ptrdiff_t>* one : {&rows_.start, &rows_.y, &rows_.gathered}) one->reserve(y.size() / outputs_);
    if (windows)
      place_windows(*windows);
    else
      place_rows();
    direct_ = y_step_ == 1;
    for (std::size_t r = 1; direct_ && r < rows_.y.size(); ++r)
      direct_ = rows_.y[r] - rows_.y[r - 1] == rows_.y[1] - rows_.y[0] && rows_.y[1] >= rows_.y[0];
    const bool any_gathered =
        std::any_of(rows_.gathered.begin(), rows_.gathered.end(), [](std::ptrdiff_t at) { return at >= 0; });
    const std::size_t row_bytes = ((any_gathered ? inputs_ : 0) + (direct_ ? 0 : z_row_)) * sizeof(float);
    block_ = std::clamp(block_bytes / std::max<std::size_t>(1, row_bytes), fewest_rows, most_rows);
    block_ = std::min(block_, std::max<std::size_t>(1, rows_.start.size()));
    gather_floats_ = any_gathered ? round_up(inputs_, 16) : 0;
    rounded_ = rounded_row_bytes(weights_->precision, inputs_);
  }

  std::size_t scratch() const override {
    Cursor count;
    lay_out(count);
    return count.used();
  }

  void run(const Memory& memory, State*) const override {
    Cursor deal(memory.scratch);
    const Scratch s = lay_out(deal);
    const float* const x = x_.at<float>(memory);
    float* const y = y_.at<float>(memory);
    for (std::size_t first = 0; first < rows_.start.size(); first += block_) {
      const std::size_t count = std::min(block_, rows_.start.size() - first);
      for (std::size_t i = 0; i < count; ++i) {
        const std::ptrdiff_t at = rows_.gathered[first + i];
        const float* const from = x + rows_.start[first + i];
        s.rows[i] = at < 0 ? from : gather(from, rows_.runs.data() + at, s.gathered + i * gather_floats_);
      }
      Projection a = {};
      a.weights = weights_->matrix.weights.chars();
      a.bias = weights_->matrix.bias.floats();
      a.input_size = inputs_;
      a.last_panel = weights_->matrix.panels;
      a.last_outputs = weights_->matrix.last_outputs;
      a.x = s.rows;
      a.rows = count;
      a.z = direct_ ? y + rows_.y[first] : s.z;
      a.z_row = direct_ && rows_.y.size() > 1 ? static_cast<std::size_t>(rows_.y[1] - rows_.y[0]) : z_row_;
      a.rounded_x = {s.rounded, rounded_};
      kernels_.project(a);
      finish(a, first, count, y);
    }
  }

 private:
  struct Scratch {
    const float** rows;
    float *gathered, *z;
    unsigned char* rounded;
  };

  Scratch lay_out(Cursor& cursor) const {
    Scratch s = {};
    s.rows = cursor.take<const float*>(block_);
    s.gathered = cursor.take<float>(block_ * gather_floats_);
    s.z = cursor.take<float>(direct_ ? 0 : block_ * z_row_);
    s.rounded = cursor.take<unsigned char>(block_ * rounded_);
    return s;
  }

  const float* gather(const float* from, const Run* run, float* to) const {
    for (std::size_t done = 0; done < inputs_; done += run->count, ++run) {
      float* const at = to + done;
      if (run->from == nothing) {
        std::fill_n(at, run->count, 0.0f);
      } else if (rows_.channel_step == 1) {
        copy_few(from + run->from, run->count, at);
      } else {
        for (std::size_t c = 0; c < run->count; ++c)
          at[c] = from[run->from + static_cast<std::ptrdiff_t>(c) * rows_.channel_step];
      }
    }
    return to;
  }

  void finish(const Projection& a, std::size_t first, std::size_t count, float* y) const {
    if (direct_) {
      if (!activation_) return;
      if (a.z_row == outputs_) return table_.activate(*activation_, a.z, a.z, count * outputs_);
      for (std::size_t i = 0; i < count; ++i) table_.activate(*activation_, a.z + i * a.z_row, a.z + i * a.z_row, outputs_);
      return;
    }
    for (std::size_t i = 0; i < count; ++i) {
      float *const z = a.z + i * z_row_, *const to = y + rows_.y[first + i];
      if (y_step_ == 1) {
        if (activation_)
          table_.activate(*activation_, z, to, outputs_);
        else
          std::memcpy(to, z, outputs_ * sizeof(float));
        continue;
      }
      if (activation_) table_.activate(*activation_, z, z, outputs_);
      for (std::size_t k = 0; k < outputs_; ++k) to[static_cast<std::ptrdiff_t>(k) * y_step_] = z[k];
    }
  }

  // Every index of all axes but the last, in order: call run(offset in x, offset in y, index).
  template <class Place>
  void each_row(Place run) const {
    const std::size_t axes = y_.rank() - 1;
    std::vector<std::ptrdiff_t> index(axes, 0);
    if (y_.size() == 0) return;
    for (;;) {
      run(index);
      std::size_t axis = axes;
      for (;;) {
        if (axis == 0) return;
        --axis;
        if (++index[axis] < y_.shape[axis]) break;
        index[axis] = 0;
      }
    }
  }
  std::ptrdiff_t y_at(const std::vector<std::ptrdiff_t>& index) const {
    std::ptrdiff_t at = 0;
    for (std::size_t axis = 0; axis < index.size(); ++axis) at += index[axis] * y_.strides[axis];
    return at;
  }

  void place_rows() {
    const bool beside = rows_.channel_step == 1;
    each_row([&](const std::vector<std::ptrdiff_t>& index) {
      std::ptrdiff_t at = 0;
      for (std::size_t axis = 0; axis < index.size(); ++axis) {
        if (x_.shape[axis] != y_.shape[axis]) throw std::invalid_argument("product: expected x and y of one shape");
        at += index[axis] * x_.strides[axis];
      }
      rows_.start.push_back(at);
      rows_.y.push_back(y_at(index));
      rows_.gathered.push_back(beside ? -1 : 0);
    });
    if (!beside) rows_.runs.push_back({0, inputs_});
  }

  void place_windows(const Windowing& windows) {
    const std::size_t axes = windows.axes.size();
    if (x_.rank() != axes + 2 || x_.shape[0] != y_.shape[0])
      throw std::invalid_argument("windows: expected x and y (batch, spatial..., channels)");
    const WindowPlaces places(x_, {y_.shape.begin() + 1, y_.shape.end() - 1}, windows);
    std::vector<std::ptrdiff_t> taps(rows_.tap_count);
    WindowPlaces::Found found = {taps.data()};
    std::ptrdiff_t runs = 0;
    std::size_t looked = 0;
    each_row([&](const std::vector<std::ptrdiff_t>& index) {
      if (places.find(index, found)) {
        looked += taps.size();
        if (looked > most_places) throw std::invalid_argument("windows: expected fewer of them");
        runs = add_runs(taps);
      }
      rows_.start.push_back(found.from + (runs < 0 ? taps[0] : 0));
      rows_.y.push_back(y_at(index));
      rows_.gathered.push_back(runs);
    });
  }

  // Where the runs of these taps begin, or -1: there is one, of all of them.
  std::ptrdiff_t add_runs(const std::vector<std::ptrdiff_t>& taps) {
    const std::size_t first = rows_.runs.size(), channels = static_cast<std::size_t>(rows_.channels);
    std::ptrdiff_t next = nothing;
    for (const std::ptrdiff_t tap : taps) {
      const bool goes_on = rows_.runs.size() > first && tap == next && (tap == nothing || rows_.channel_step == 1);
      if (goes_on)
        rows_.runs.back().count += channels;
      else
        rows_.runs.push_back({tap, channels});
      next = tap == nothing ? nothing : tap + rows_.channels;
    }
    if (rows_.runs.size() > first + 1 || next == nothing || rows_.channel_step != 1)
      return static_cast<std::ptrdiff_t>(first);
    rows_.runs.pop_back();
    return -1;
  }

  std::shared_ptr<const PackedWeights> weights_;
  const KernelTable& table_;
  const Kernels& kernels_;
  std::optional<Activation> activation_;
  Tensor x_, y_;
  std::size_t inputs_, outputs_, z_row_;
  std::ptrdiff_t y_step_ = 1;
  Inputs rows_;
  bool direct_ = false;  // the kernel writes into y
  std::size_t block_ = 1, gather_floats_ = 0, rounded_ = 0;
};

}  // namespace

std::shared_ptr<const PackedWeights> pack_weights(const float* matrix, const float* bias, std::size_t outputs,
                                                  std::size_t inputs, Precision precision) {
  const KernelTable& table = kernels();
  return std::make_shared<const PackedWeights>(
      PackedWeights{table, precision, pack_rows({table, precision}, {matrix, bias, outputs, inputs}), outputs});
}

std::unique_ptr<Step> product_step(std::shared_ptr<const PackedWeights> weights, const Tensor& x, const Tensor& y,
                                   const std::optional<Windowing>& windows, const std::optional<Activation>& activation) {
  return std::make_unique<Product>(std::move(weights), x, y, windows, activation);
}

}  // namespace fusedlstm
