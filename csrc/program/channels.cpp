// Convolutions whose outputs each see few channels: depthwise ones and small groups. x is (batch, spatial..., k, outputs),
// what each output sees laid beside each other for all of them, so that a vector is one of outputs.
#include <utility>

#include "../kernels/dispatch.hpp"
#include "windows.hpp"

namespace fusedlstm {

namespace {

class Channels : public Step {
 public:
  Channels(std::shared_ptr<const ChannelWeights> weights, const Tensor& x, const Tensor& y, const Windowing& windows,
           const std::optional<Activation>& activation)
      : table_(kernels()), weights_(std::move(weights)), x_(x), y_(y), activation_(activation), axes_(windows.axes.size()) {
    const std::ptrdiff_t outputs = static_cast<std::ptrdiff_t>(weights_->outputs);
    if (x.rank() != axes_ + 3 || y.rank() != axes_ + 2 || x.rank() > most_axes || x.element != Element::float32 ||
        y.element != Element::float32 || x.shape[0] != y.shape[0] || x.shape.back() != outputs ||
        y.shape.back() != outputs || (outputs > 1 && x.strides.back() != 1))
      throw std::invalid_argument("channels: expected x (batch, spatial..., k, outputs) and y (batch, spatial..., outputs)");
    std::size_t taps = 1;
    for (std::size_t axis = 0; axis < axes_; ++axis) {
      const Sliding& slide = windows.axes[axis];
      taps *= static_cast<std::size_t>(slide.kernel);
      std::vector<std::ptrdiff_t> offsets;
      for (std::ptrdiff_t o = 0; o < y.shape[axis + 1]; ++o)
        for (std::ptrdiff_t tap = 0; tap < slide.kernel; ++tap) {
          const std::ptrdiff_t place = seen(slide, o, tap, x.shape[axis + 1], windows.edge);
          offsets.push_back(place < 0 ? nothing : place * x.strides[axis + 1]);
        }
      inner_.push_back(whole_windows(slide, offsets));
      kernel_[axis] = slide.kernel;
      offsets_.push_back(std::move(offsets));
    }
    beside_ = static_cast<std::size_t>(x.shape[axes_ + 1]);
    if (taps * beside_ != weights_->count) throw std::invalid_argument("channels: expected as many inputs as weights");
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
    const bool direct = y_.strides.back() == 1 || weights_->outputs == 1;
    bool known = false;  // the offsets of inner windows, which begin with the first tap
    each_index(y_.shape.data(), axes_ + 1, [&](const auto& index) {
      std::ptrdiff_t from = index[0] * x_.strides[0], to = index[0] * y_.strides[0];
      for (std::size_t axis = 0; axis < axes_; ++axis) to += index[axis + 1] * y_.strides[axis + 1];
      const bool inner = inside(index);
      if (!inner || !known) find(index, s.offsets);
      if (inner) {
        if (!known)
          for (std::size_t k = weights_->count; k-- > 0;) s.offsets[k] -= s.offsets[0];
        for (std::size_t axis = 0; axis < axes_; ++axis)
          from += offsets_[axis][static_cast<std::size_t>(index[axis + 1] * kernel_[axis])];
      }
      known = inner;
      float* const z = direct ? y + to : s.z;
      table_.channel_products(
          {x + from, s.offsets, weights_->matrix.floats(), weights_->bias.floats(), z, weights_->count, weights_->outputs});
      if (activation_) table_.activate(*activation_, z, z, weights_->outputs);
      if (!direct)
        for (std::size_t c = 0; c < weights_->outputs; ++c)
          y[to + static_cast<std::ptrdiff_t>(c) * y_.strides.back()] = z[c];
    });
  }

 private:
  struct Scratch {
    std::ptrdiff_t* offsets;
    float* z;
  };
  Scratch lay_out(Cursor& cursor) const {
    return {cursor.take<std::ptrdiff_t>(weights_->count), cursor.take<float>(weights_->outputs)};
  }

  // Of which outputs all taps lie as those of the first of them do.
  struct Inner {
    std::ptrdiff_t first, last;
  };
  static Inner whole_windows(const Sliding& slide, const std::vector<std::ptrdiff_t>& offsets) {
    const auto alike = [&](std::ptrdiff_t one, std::ptrdiff_t other) {
      const std::ptrdiff_t* const a = offsets.data() + one * slide.kernel;
      const std::ptrdiff_t* const b = offsets.data() + other * slide.kernel;
      for (std::ptrdiff_t tap = 0; tap < slide.kernel; ++tap)
        if (a[tap] == nothing || b[tap] == nothing || a[tap] - a[0] != b[tap] - b[0]) return false;
      return true;
    };
    const std::ptrdiff_t outputs = static_cast<std::ptrdiff_t>(offsets.size()) / slide.kernel, middle = outputs / 2;
    if (outputs == 0 || !alike(middle, middle)) return {0, 0};
    Inner found = {middle, middle + 1};
    while (found.first > 0 && alike(middle, found.first - 1)) --found.first;
    while (found.last < outputs && alike(middle, found.last)) ++found.last;
    return found;
  }
  template <class Index>
  bool inside(const Index& index) const {
    bool found = true;
    for (std::size_t axis = 0; axis < axes_; ++axis)
      found = found && index[axis + 1] >= inner_[axis].first && index[axis + 1] < inner_[axis].last;
    return found;
  }

  // Where each tap and channel of a position lies.
  template <class Index>
  void find(const Index& index, std::ptrdiff_t* found) const {
    const std::ptrdiff_t step = x_.strides[axes_ + 1];
    each_index(kernel_.data(), axes_, [&](const auto& tap) {
      std::ptrdiff_t at = 0;
      bool inside = true;
      for (std::size_t axis = 0; axis < axes_; ++axis) {
        const std::ptrdiff_t one = offsets_[axis][static_cast<std::size_t>(index[axis + 1] * kernel_[axis] + tap[axis])];
        inside = inside && one != nothing;
        at += inside ? one : 0;
      }
      for (std::size_t k = 0; k < beside_; ++k) *found++ = inside ? at + static_cast<std::ptrdiff_t>(k) * step : nothing;
    });
  }

  const KernelTable& table_;
  std::shared_ptr<const ChannelWeights> weights_;
  Tensor x_, y_;
  std::optional<Activation> activation_;
  std::size_t axes_, beside_ = 1;
  std::array<std::ptrdiff_t, most_axes> kernel_{};
  std::vector<std::vector<std::ptrdiff_t>> offsets_;  // of each axis: by output and tap
  std::vector<Inner> inner_;
};

// What a transposed convolution puts together: each input's taps are added to the outputs that they meet, inputs in order.
class Overlap : public Step {
 public:
  Overlap(const Tensor& x, const Tensor& y, const std::optional<Tensor>& bias, std::vector<Sliding> axes)
      : table_(kernels()), x_(x), y_(y), bias_(bias), axes_(std::move(axes)), space_(axes_.size()) {
    outputs_ = y.rank() < 1 ? 0 : y.shape.back();
    std::ptrdiff_t taps = 1;
    for (const Sliding& one : axes_) taps *= one.kernel;
    const bool fits = space_ >= 1 && x.rank() == space_ + 2 && y.rank() == space_ + 2 && x.rank() < most_axes / 2 &&
                      x.element == Element::float32 && y.element == Element::float32 && x.shape[0] == y.shape[0] &&
                      x.shape.back() == taps * outputs_ && (x.strides.back() == 1 || x.shape.back() == 1) &&
                      (y.strides.back() == 1 || outputs_ == 1);
    if (!fits || (bias && (bias->element != Element::float32 || !bias->contiguous() ||
                           bias->size() != static_cast<std::size_t>(outputs_))))
      throw std::invalid_argument(
          "overlap: expected x (batch, spatial..., taps outputs) and y (batch, spatial..., outputs)");
    dense_ = axes_.back().dilation == 1 && (y.strides[space_] == outputs_ || y.shape[space_] == 1);
  }

  void run(const Memory& memory, State*) const override {
    const float* const x = x_.at<float>(memory);
    float* const y = y_.at<float>(memory);
    start(y, bias_ ? bias_->at<float>(memory) : nullptr);
    std::array<std::ptrdiff_t, most_axes> sizes{};  // batch, spatial..., taps of all axes but the last
    for (std::size_t axis = 0; axis <= space_; ++axis) sizes[axis] = x_.shape[axis];
    for (std::size_t axis = 0; axis + 1 < space_; ++axis) sizes[space_ + 1 + axis] = axes_[axis].kernel;
    each_index(sizes.data(), 2 * space_, [&](const auto& index) {
      std::ptrdiff_t from = index[0] * x_.strides[0], to = index[0] * y_.strides[0], tap = 0;
      for (std::size_t axis = 0; axis < space_; ++axis) from += index[axis + 1] * x_.strides[axis + 1];
      for (std::size_t axis = 0; axis + 1 < space_; ++axis) {
        const Sliding& slide = axes_[axis];
        const std::ptrdiff_t own = index[space_ + 1 + axis];
        const std::ptrdiff_t at = index[axis + 1] * slide.stride + own * slide.dilation - slide.before;
        if (at < 0 || at >= y_.shape[axis + 1]) return;
        tap = tap * slide.kernel + own;
        to += at * y_.strides[axis + 1];
      }
      const Sliding& last = axes_.back();
      add_taps(x + from + tap * last.kernel * outputs_, y + to, index[space_] * last.stride - last.before);
    });
  }

 private:
  void start(float* y, const float* bias) const {
    each_index(y_.shape.data(), space_ + 1, [&](const auto& index) {
      float* to = y;
      for (std::size_t axis = 0; axis <= space_; ++axis) to += index[axis] * y_.strides[axis];
      for (std::ptrdiff_t c = 0; c < outputs_; ++c) to[c] = bias == nullptr ? 0.0f : bias[c];
    });
  }

  // All taps of the last axis, the first of them at output `start`.
  void add_taps(const float* x, float* y, std::ptrdiff_t start) const {
    const Sliding& slide = axes_.back();
    const std::ptrdiff_t length = y_.shape[space_], step = y_.strides[space_];
    if (dense_) {
      const std::ptrdiff_t first = std::max<std::ptrdiff_t>(0, -start), last = std::min(slide.kernel, length - start);
      if (first < last) add(x + first * outputs_, y + (start + first) * step, (last - first) * outputs_);
      return;
    }
    for (std::ptrdiff_t tap = 0; tap < slide.kernel; ++tap) {
      const std::ptrdiff_t at = start + tap * slide.dilation;
      if (at >= 0 && at < length) add(x + tap * outputs_, y + at * step, outputs_);
    }
  }
  void add(const float* x, float* y, std::ptrdiff_t count) const {
    table_.map[static_cast<std::size_t>(MapKernel::add)](
        {y, {y, x, nullptr}, {false, false, false}, static_cast<std::size_t>(count)});
  }

  const KernelTable& table_;
  Tensor x_, y_;
  std::optional<Tensor> bias_;
  std::vector<Sliding> axes_;
  std::size_t space_;
  std::ptrdiff_t outputs_ = 0;
  bool dense_ = false;
};

}  // namespace

std::unique_ptr<Step> channels_step(std::shared_ptr<const ChannelWeights> weights, const Tensor& x, const Tensor& y,
                                    const Windowing& windows, const std::optional<Activation>& activation) {
  return std::make_unique<Channels>(std::move(weights), x, y, windows, activation);
}

std::unique_ptr<Step> overlap_step(const Tensor& x, const Tensor& y, const std::optional<Tensor>& bias,
                                   std::vector<Sliding> axes) {
  return std::make_unique<Overlap>(x, y, bias, std::move(axes));
}

}  // namespace fusedlstm
