// Pooling: the largest, the average or a norm of what windows see. Taps are added one after the other, along the axis on
// which elements lie beside each other.
#include <cmath>
#include <limits>
#include <utility>

#include "../kernels/dispatch.hpp"
#include "windows.hpp"

namespace fusedlstm {

namespace {

constexpr std::ptrdiff_t long_enough = 8;                      // for a line of elements beside each other
constexpr std::ptrdiff_t most_taps = std::ptrdiff_t{1} << 20;  // of windows whose places are kept

// How windows meet one axis of the input.
struct AxisWindows {
  Sliding slide;
  std::ptrdiff_t length, outputs;

  // Taps of output o that meet the input, and so much before and after it: [first, second).
  std::pair<std::ptrdiff_t, std::ptrdiff_t> taps(std::ptrdiff_t o, std::ptrdiff_t before = 0,
                                                 std::ptrdiff_t after = 0) const {
    const std::ptrdiff_t start = o * slide.stride - slide.before;
    return {std::clamp<std::ptrdiff_t>(up(-before - start, slide.dilation), 0, slide.kernel),
            std::clamp<std::ptrdiff_t>(up(length + after - start, slide.dilation), 0, slide.kernel)};
  }
  // Outputs whose tap `tap` meets the input: [first, second).
  std::pair<std::ptrdiff_t, std::ptrdiff_t> met_by(std::ptrdiff_t tap) const {
    const std::ptrdiff_t start = tap * slide.dilation - slide.before;
    return {std::clamp<std::ptrdiff_t>(up(-start, slide.stride), 0, outputs),
            std::clamp<std::ptrdiff_t>(up(length - start, slide.stride), 0, outputs)};
  }
  std::ptrdiff_t place(std::ptrdiff_t o, std::ptrdiff_t tap) const {
    return o * slide.stride + tap * slide.dilation - slide.before;
  }

 private:
  static std::ptrdiff_t up(std::ptrdiff_t a, std::ptrdiff_t b) { return a <= 0 ? -(-a / b) : (a + b - 1) / b; }
};

class Pool : public Step {
 public:
  Pool(const Pooling& how, const Tensor& x, const Tensor& y) : how_(how), x_(x), y_(y), rank_(x.rank()) {
    if (rank_ != how.axes.size() + 2 || y.rank() != rank_ || rank_ > most_axes || x.element != y.element ||
        x.shape[0] != y.shape[0] || x.shape.back() != y.shape.back() || how.counted.size() != how.axes.size())
      throw std::invalid_argument("pool: expected x and y (batch, spatial..., channels)");
    for (std::size_t axis = 0; axis < rank_; ++axis) {
      // What is no space is an axis whose windows are of one element.
      const bool spatial = axis > 0 && axis + 1 < rank_;
      axes_.push_back({spatial ? how.axes[axis - 1] : Sliding{1, 1, 1, 0, 1}, x.shape[axis], y.shape[axis]});
      if (spatial) count_windows(axes_.back(), how.counted[axis - 1]);
    }
    choose_line();
  }

 protected:
  // Along the axis `line_`, for every index of the others: run(index, y's place, count of positions).
  template <class Run>
  void each_line(Run run) const {
    std::array<std::ptrdiff_t, most_axes> sizes{};
    for (std::size_t axis = 0; axis < rank_; ++axis) sizes[axis] = axis == line_ ? 1 : y_.shape[axis];
    each_index(sizes.data(), rank_, [&](const auto& index) {
      std::ptrdiff_t at = 0;
      for (std::size_t axis = 0; axis < rank_; ++axis) at += index[axis] * y_.strides[axis];
      run(index, at);
    });
  }

  // Every tap of the windows at `index` that meets the input: run(place in x, first position, last position).
  template <class Index, class Run>
  void each_tap(const Index& index, Run run) const {
    std::array<std::ptrdiff_t, most_axes> first{}, sizes{};
    for (std::size_t axis = 0; axis < rank_; ++axis) {
      const auto range = axis == line_ ? std::pair<std::ptrdiff_t, std::ptrdiff_t>{0, axes_[axis].slide.kernel}
                                       : axes_[axis].taps(index[axis]);
      first[axis] = range.first;
      sizes[axis] = std::max<std::ptrdiff_t>(0, range.second - range.first);
    }
    each_index(sizes.data(), rank_, [&](const auto& tap) {
      const auto positions = axes_[line_].met_by(first[line_] + tap[line_]);
      if (positions.first >= positions.second) return;
      std::ptrdiff_t from = 0;
      for (std::size_t axis = 0; axis < rank_; ++axis) {
        const std::ptrdiff_t o = axis == line_ ? positions.first : index[axis];
        from += axes_[axis].place(o, first[axis] + tap[axis]) * x_.strides[axis];
      }
      run(from, positions.first, positions.second);
    });
  }

  // By how many an average is divided at a position.
  template <class Index>
  double counted(const Index& index, std::ptrdiff_t on_line) const {
    double product = 1.0;
    for (std::size_t axis = 1; axis + 1 < rank_; ++axis)
      product *= counts_[axis - 1][static_cast<std::size_t>(axis == line_ ? on_line : index[axis])];
    return product;
  }

  Pooling how_;
  Tensor x_, y_;
  std::size_t rank_, line_ = 0;
  std::vector<AxisWindows> axes_;
  std::vector<std::vector<double>> counts_;

 private:
  void count_windows(const AxisWindows& axis, std::pair<std::ptrdiff_t, std::ptrdiff_t> around) {
    std::vector<double> counts;
    for (std::ptrdiff_t o = 0; o < axis.outputs; ++o) {
      const auto taps = axis.taps(o, around.first, around.second);
      counts.push_back(static_cast<double>(std::max<std::ptrdiff_t>(0, taps.second - taps.first)));
    }
    counts_.push_back(std::move(counts));
  }

  void choose_line() {
    const auto beside = [&](std::size_t axis) {
      return x_.strides[axis] * axes_[axis].slide.stride == 1 && y_.strides[axis] == 1 && y_.shape[axis] >= long_enough;
    };
    line_ = rank_ - 1;
    for (std::size_t axis = 0; axis < rank_; ++axis) {
      if (beside(rank_ - 1)) return;
      if (beside(axis) || y_.shape[axis] > y_.shape[line_]) line_ = axis;
      if (beside(axis)) return;
    }
  }
};

template <class T>
T larger(T a, T b) {
  return a != a ? a : b != b ? b : a < b ? b : a;
}

class FloatPool : public Pool {
 public:
  FloatPool(const Pooling& how, const Tensor& x, const Tensor& y) : Pool(how, x, y), table_(kernels()) {
    by_channels_ = how_.kind != Pooled::norm && line_ + 1 == rank_ && x.strides[line_] == 1 && y.strides[line_] == 1;
    const std::vector<std::ptrdiff_t> outputs(y.shape.begin() + 1, y.shape.end() - 1);
    by_channels_ = by_channels_ && WindowPlaces::within(most_taps, outputs, how_.axes);
    if (by_channels_) places_ = WindowPlaces(x, outputs, {how_.axes, Edge::zeros});
  }

  std::size_t scratch() const override { return 2 * places_.count() * sizeof(std::ptrdiff_t); }

  void run(const Memory& memory, State*) const override {
    const float* const x = x_.at<float>(memory);
    float* const y = y_.at<float>(memory);
    if (by_channels_) return of_channels(x, y, reinterpret_cast<std::ptrdiff_t*>(memory.scratch));
    const std::ptrdiff_t x_step = x_.strides[line_] * axes_[line_].slide.stride, y_step = y_.strides[line_];
    const std::ptrdiff_t positions = y_.shape[line_];
    const bool most = how_.kind == Pooled::largest;
    each_line([&](const auto& index, std::ptrdiff_t at) {
      float* const to = y + at;
      for (std::ptrdiff_t i = 0; i < positions; ++i) to[i * y_step] = start();
      each_tap(index, [&](std::ptrdiff_t from, std::ptrdiff_t first, std::ptrdiff_t last) {
        float* const sums = to + first * y_step;
        const float* const terms = x + from;
        const std::ptrdiff_t count = last - first;
        if (x_step == 1 && y_step == 1 && how_.kind != Pooled::norm) {
          table_.map[static_cast<std::size_t>(most ? MapKernel::max : MapKernel::add)](
              {sums, {sums, terms, nullptr}, {false, false, false}, static_cast<std::size_t>(count)});
          return;
        }
        for (std::ptrdiff_t i = 0; i < count; ++i) {
          float& sum = sums[i * y_step];
          const float term = terms[i * x_step];
          sum = most ? larger(sum, term) + 0.0f : sum + (how_.kind == Pooled::norm ? power(term) : term);
        }
      });
      for (std::ptrdiff_t i = 0; !most && i < positions; ++i) {
        float& sum = to[i * y_step];
        sum = how_.kind == Pooled::norm ? root(sum) : sum / static_cast<float>(counted(index, i));
      }
    });
  }

 private:
  float start() const { return how_.kind == Pooled::largest ? -std::numeric_limits<float>::infinity() : 0.0f; }

  // All channels of a position at once.
  void of_channels(const float* x, float* y, std::ptrdiff_t* offsets) const {
    const std::size_t channels = static_cast<std::size_t>(y_.shape.back());
    WindowPlaces::Found found = {offsets};
    std::ptrdiff_t* const met = offsets + places_.count();
    std::size_t count = 0;
    each_line([&](const auto& index, std::ptrdiff_t at) {
      if (places_.find(index, found)) {
        const auto outside = [](std::ptrdiff_t offset) { return offset == nothing; };
        count = static_cast<std::size_t>(std::remove_copy_if(offsets, offsets + places_.count(), met, outside) - met);
      }
      const float divisor = how_.kind == Pooled::largest ? 0.0f : static_cast<float>(counted(index, 0));
      if (count > 0)
        table_.channel_pool({x + found.from, met, count, y + at, channels, divisor});
      else
        std::fill_n(y + at, channels, start() / divisor);
    });
  }

  float power(float a) const {
    if (how_.p == 2.0) return a * a;
    return how_.p == 1.0 ? std::fabs(a) : static_cast<float>(std::pow(std::fabs(static_cast<double>(a)), how_.p));
  }
  float root(float a) const {
    if (how_.p == 2.0) return std::sqrt(a);
    return how_.p == 1.0 ? a : static_cast<float>(std::pow(static_cast<double>(a), 1.0 / how_.p));
  }

  const KernelTable& table_;
  bool by_channels_ = false;
  WindowPlaces places_;
};

// The largest of each window, in any type, and where it lies in x as ONNX counts: in order (batch, channels, spatial...).
template <class T>
class LargestPool : public Pool {
 public:
  LargestPool(const Pooling& how, const Tensor& x, const Tensor& y, const std::optional<Tensor>& places, bool column_major)
      : Pool(how, x, y), places_(places) {
    if (places && (places->element != Element::int64 || places->shape != y.shape))
      throw std::invalid_argument("pool: expected a place for each result");
    std::ptrdiff_t step = 1;
    steps_.assign(rank_, 0);
    for (std::size_t k = 1; k + 1 < rank_; ++k) {
      const std::size_t axis = column_major ? k : rank_ - 1 - k;
      steps_[axis] = step;
      step *= x.shape[axis];
    }
    steps_[rank_ - 1] = step;
    steps_[0] = step * x.shape[rank_ - 1];
    line_ = 0;
  }

  void run(const Memory& memory, State*) const override {
    const T* const x = x_.at<T>(memory);
    T* const y = y_.at<T>(memory);
    std::int64_t* const places = places_ ? places_->template at<std::int64_t>(memory) : nullptr;
    each_index(y_.shape.data(), rank_, [&](const auto& index) {
      std::array<std::ptrdiff_t, most_axes> first{}, sizes{};
      for (std::size_t axis = 0; axis < rank_; ++axis) {
        const auto range = axes_[axis].taps(index[axis]);
        first[axis] = range.first;
        sizes[axis] = std::max<std::ptrdiff_t>(0, range.second - range.first);
      }
      T most = std::is_same<T, float>::value ? -std::numeric_limits<T>::infinity() : static_cast<T>(how_.least);
      std::ptrdiff_t best = -1;
      each_index(sizes.data(), rank_, [&](const auto& tap) {
        std::ptrdiff_t from = 0, place = 0;
        for (std::size_t axis = 0; axis < rank_; ++axis) {
          const std::ptrdiff_t at = axes_[axis].place(index[axis], first[axis] + tap[axis]);
          from += at * x_.strides[axis];
          place += at * steps_[axis];
        }
        if (best >= 0 && !(most < x[from]) && !(x[from] != x[from] && most == most)) return;
        most = x[from];
        best = place;
      });
      std::ptrdiff_t at = 0, place_at = 0;
      for (std::size_t axis = 0; axis < rank_; ++axis) {
        at += index[axis] * y_.strides[axis];
        place_at += places_ ? index[axis] * places_->strides[axis] : 0;
      }
      y[at] = most;
      if (places != nullptr) places[place_at] = best;
    });
  }

 private:
  std::optional<Tensor> places_;
  std::vector<std::ptrdiff_t> steps_;
};

}  // namespace

std::unique_ptr<Step> pool_step(const Pooling& how, const Tensor& x, const Tensor& y) {
  if (x.element != Element::float32) throw std::invalid_argument("pool: expected floats");
  return std::make_unique<FloatPool>(how, x, y);
}

std::unique_ptr<Step> largest_step(const Pooling& how, const Tensor& x, const Tensor& y, const std::optional<Tensor>& places,
                                   bool column_major) {
  if (x.element == Element::float32) return std::make_unique<LargestPool<float>>(how, x, y, places, column_major);
  if (x.element == Element::int64) return std::make_unique<LargestPool<std::int64_t>>(how, x, y, places, column_major);
  throw std::invalid_argument("pool: expected numbers");
}

}  // namespace fusedlstm
