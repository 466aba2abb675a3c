// Elements put elsewhere by a table for each axis: pads, tiles, the nearest of a resized axis; and axes resampled by
// weights.
#include <cstring>
#include <utility>

#include "../kernels/dispatch.hpp"
#include "windows.hpp"

namespace fusedlstm {

namespace {

class Remap : public Step {
 public:
  // places: of each axis of y, where in x its elements come from, or -1: from `fill`.
  Remap(const Tensor& x, const Tensor& y, const std::vector<std::vector<std::ptrdiff_t>>& places,
        const std::optional<Tensor>& fill)
      : x_(x), y_(y), fill_(fill), rank_(y.rank()) {
    if (x.element != y.element || x.rank() != rank_ || rank_ > most_axes || places.size() != rank_ ||
        (fill && (fill->element != x.element || fill->size() != 1)))
      throw std::invalid_argument("remap: expected tensors of one kind and rank");
    for (std::size_t axis = 0; axis < rank_; ++axis) order_.push_back(axis);
    std::stable_sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) {
      return std::abs(y.strides[a]) > std::abs(y.strides[b]) && y.shape[a] > 1 && y.shape[b] > 1;
    });
    for (std::size_t n = 0; n < rank_; ++n) {
      const std::size_t axis = order_[n];
      std::vector<std::ptrdiff_t> offsets;
      if (places[axis].size() != static_cast<std::size_t>(y.shape[axis]))
        throw std::invalid_argument("remap: expected a place for each element of an axis");
      for (const std::ptrdiff_t at : places[axis]) {
        if (at >= x.shape[axis]) throw std::invalid_argument("remap: expected places within the tensor");
        offsets.push_back(at < 0 ? nothing : at * x.strides[axis]);
      }
      sizes_[n] = y.shape[axis];
      steps_[n] = y.strides[axis];
      offsets_.push_back(std::move(offsets));
    }
    if (rank_ > 0) find_runs();
  }

  void run(const Memory& memory, State*) const override {
    if (y_.element == Element::float32)
      run_as<float>(memory);
    else if (y_.element == Element::int64)
      run_as<std::int64_t>(memory);
    else
      run_as<std::uint8_t>(memory);
  }

 private:
  static constexpr std::size_t short_run = 4;

  // Neighbours along the innermost axis that come from equally spaced places, or all from `fill`.
  struct Run {
    std::ptrdiff_t first, count, from, step;
  };

  void find_runs() {
    const std::vector<std::ptrdiff_t>& from = offsets_.back();
    for (std::size_t i = 0; i < from.size();) {
      std::size_t end = i + 1;
      std::ptrdiff_t step = 0;
      if (from[i] != nothing && end < from.size() && from[end] != nothing) step = from[end] - from[i];
      while (end < from.size() &&
             (from[i] == nothing ? from[end] == nothing : from[end] != nothing && from[end] - from[end - 1] == step))
        ++end;
      runs_.push_back({static_cast<std::ptrdiff_t>(i), static_cast<std::ptrdiff_t>(end - i), from[i], step});
      i = end;
    }
    const bool filled = std::find(from.begin(), from.end(), nothing) != from.end();
    if (!filled && runs_.size() * short_run > from.size()) runs_.clear();  // then one by one
  }

  template <class T>
  void run_as(const Memory& memory) const {
    const T* const x = x_.at<T>(memory);
    T* const y = y_.at<T>(memory);
    const T fill = fill_ ? *fill_->at<T>(memory) : T{};
    if (rank_ == 0) {
      *y = *x;
      return;
    }
    const std::size_t inner = rank_ - 1;
    each_index(sizes_.data(), inner, [&](const auto& index) {
      std::ptrdiff_t from = 0, to = 0;
      bool inside = true;
      for (std::size_t n = 0; n < inner; ++n) {
        const std::ptrdiff_t one = offsets_[n][static_cast<std::size_t>(index[n])];
        inside = inside && one != nothing;
        from += inside ? one : 0;
        to += index[n] * steps_[n];
      }
      const std::ptrdiff_t step = steps_[inner];
      if (!inside) return spread(y + to, step, sizes_[inner], fill);
      if (runs_.empty()) {
        for (std::ptrdiff_t i = 0; i < sizes_[inner]; ++i)
          y[to + i * step] = x[from + offsets_[inner][static_cast<std::size_t>(i)]];
        return;
      }
      for (const Run& run : runs_) {
        T* const at = y + to + run.first * step;
        if (run.from == nothing)
          spread(at, step, run.count, fill);
        else if (step == 1 && run.step == 1)
          std::memcpy(at, x + from + run.from, static_cast<std::size_t>(run.count) * sizeof(T));
        else
          for (std::ptrdiff_t i = 0; i < run.count; ++i) at[i * step] = x[from + run.from + i * run.step];
      }
    });
  }
  template <class T>
  static void spread(T* at, std::ptrdiff_t step, std::ptrdiff_t count, T value) {
    for (std::ptrdiff_t i = 0; i < count; ++i) at[i * step] = value;
  }

  Tensor x_, y_;
  std::optional<Tensor> fill_;
  std::size_t rank_;
  std::vector<std::size_t> order_;  // axes of y from the largest stride to the smallest
  std::array<std::ptrdiff_t, most_axes> sizes_{}, steps_{};
  std::vector<std::vector<std::ptrdiff_t>> offsets_;
  std::vector<Run> runs_;
};

// y = W x along one axis, W sparse: taps of each output, added in order.
class Resample : public Step {
 public:
  Resample(const Tensor& x, const Tensor& y, std::size_t axis, Taps taps)
      : table_(kernels()), x_(x), y_(y), axis_(axis), taps_(std::move(taps)), rank_(y.rank()) {
    bool fits = x.element == Element::float32 && y.element == Element::float32 && x.rank() == rank_ && rank_ <= most_axes &&
                axis < rank_ && taps_.count > 0 && taps_.places.size() == taps_.weights.size() &&
                taps_.places.size() == taps_.count * static_cast<std::size_t>(y.shape[axis]);
    for (std::size_t other = 0; fits && other < rank_; ++other) fits = other == axis || x.shape[other] == y.shape[other];
    for (const std::ptrdiff_t at : taps_.places) fits = fits && at >= 0 && at < x.shape[axis];
    if (!fits) throw std::invalid_argument("resample: expected taps within the axis, and one shape but for it");
    // Along the axis itself the kernel finds the elements, along another one they lie beside each other.
    line_ = axis;
    for (std::size_t other = 0; other < rank_; ++other)
      if (other != axis && x.strides[other] == 1 && y.strides[other] == 1 && y.shape[other] >= long_enough) line_ = other;
    if (line_ == axis) {
      const std::size_t outputs = static_cast<std::size_t>(y.shape[axis]);
      Taps turned = taps_;
      for (std::size_t o = 0; o < outputs; ++o)
        for (std::size_t t = 0; t < taps_.count; ++t) {
          turned.places[t * outputs + o] = taps_.places[o * taps_.count + t] * x.strides[axis];
          turned.weights[t * outputs + o] = taps_.weights[o * taps_.count + t];
        }
      taps_ = std::move(turned);
    }
  }

  std::size_t scratch() const override {
    return line_ == axis_ ? static_cast<std::size_t>(y_.shape[axis_]) * sizeof(float) : 0;
  }

  void run(const Memory& memory, State*) const override {
    const float* const x = x_.at<float>(memory);
    float* const y = y_.at<float>(memory);
    std::array<std::ptrdiff_t, most_axes> sizes{};
    for (std::size_t axis = 0; axis < rank_; ++axis) sizes[axis] = axis == line_ ? 1 : y_.shape[axis];
    if (y_.shape[line_] == 0) return;
    each_index(sizes.data(), rank_, [&](const auto& index) {
      std::ptrdiff_t from = 0, to = 0;
      for (std::size_t axis = 0; axis < rank_; ++axis) {
        from += axis == axis_ ? 0 : index[axis] * x_.strides[axis];
        to += index[axis] * y_.strides[axis];
      }
      if (line_ == axis_)
        along_axis(x + from, y + to, reinterpret_cast<float*>(memory.scratch));
      else
        across_axis(x + from, y + to, static_cast<std::size_t>(index[axis_]) * taps_.count);
    });
  }

 private:
  static constexpr std::ptrdiff_t long_enough = 8;

  void along_axis(const float* x, float* y, float* own) const {
    const std::ptrdiff_t step = y_.strides[axis_], count = y_.shape[axis_];
    float* const to = step == 1 ? y : own;
    table_.resample_line({x, taps_.places.data(), taps_.weights.data(), taps_.count, to, static_cast<std::size_t>(count)});
    for (std::ptrdiff_t i = 0; step != 1 && i < count; ++i) y[i * step] = own[i];
  }

  void across_axis(const float* x, float* y, std::size_t first) const {
    const std::size_t count = static_cast<std::size_t>(y_.shape[line_]);
    const auto seen_by = [&](std::size_t tap) { return x + taps_.places[tap] * x_.strides[axis_]; };
    table_.map[static_cast<std::size_t>(MapKernel::mul)](
        {y, {seen_by(first), &taps_.weights[first], nullptr}, {false, true, false}, count});
    for (std::size_t tap = first + 1; tap < first + taps_.count; ++tap)
      table_.map[static_cast<std::size_t>(MapKernel::multiply_add)](
          {y, {seen_by(tap), &taps_.weights[tap], y}, {false, true, false}, count});
  }

  const KernelTable& table_;
  Tensor x_, y_;
  std::size_t axis_;
  Taps taps_;
  std::size_t rank_, line_ = 0;
};

}  // namespace

std::unique_ptr<Step> pad_step(const Tensor& x, const Tensor& y, const std::vector<std::ptrdiff_t>& before, Edge edge,
                               const std::optional<Tensor>& fill) {
  std::vector<std::vector<std::ptrdiff_t>> places(y.rank());
  if (before.size() != y.rank() || x.rank() != y.rank()) throw std::invalid_argument("pad: expected a pad for each axis");
  for (std::size_t axis = 0; axis < y.rank(); ++axis)
    for (std::ptrdiff_t o = 0; o < y.shape[axis]; ++o)
      places[axis].push_back(place_by_edge(o - before[axis], x.shape[axis], edge));
  return std::make_unique<Remap>(x, y, places, fill);
}

std::unique_ptr<Step> pick_step(const Tensor& x, const Tensor& y, const std::vector<std::vector<std::ptrdiff_t>>& places) {
  return std::make_unique<Remap>(x, y, places, std::nullopt);
}

std::unique_ptr<Step> resample_step(const Tensor& x, const Tensor& y, std::size_t axis, Taps taps) {
  return std::make_unique<Resample>(x, y, axis, std::move(taps));
}

}  // namespace fusedlstm
