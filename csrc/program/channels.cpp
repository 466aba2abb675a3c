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
    places_ = WindowPlaces(x, {y.shape.begin() + 1, y.shape.end() - 1}, windows);
    beside_ = static_cast<std::size_t>(x.shape[axes_ + 1]);
    if (places_.count() * beside_ != weights_->count)
      throw std::invalid_argument("channels: expected as many inputs as weights");
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
    WindowPlaces::Found found = {s.taps};
    each_index(y_.shape.data(), axes_ + 1, [&](const auto& index) {
      std::ptrdiff_t to = 0;
      for (std::size_t axis = 0; axis <= axes_; ++axis) to += index[axis] * y_.strides[axis];
      if (places_.find(index, found)) spread(s);
      float* const z = direct ? y + to : s.z;
      table_.channel_products({x + found.from, s.offsets, weights_->matrix.floats(), weights_->bias.floats(), z,
                               weights_->count, weights_->outputs});
      if (activation_) table_.activate(*activation_, z, z, weights_->outputs);
      if (!direct)
        for (std::size_t c = 0; c < weights_->outputs; ++c)
          y[to + static_cast<std::ptrdiff_t>(c) * y_.strides.back()] = z[c];
    });
  }

 private:
  struct Scratch {
    std::ptrdiff_t *taps, *offsets;
    float* z;
  };
  Scratch lay_out(Cursor& cursor) const {
    return {cursor.take<std::ptrdiff_t>(places_.count()), cursor.take<std::ptrdiff_t>(weights_->count),
            cursor.take<float>(weights_->outputs)};
  }
  // Each tap's channels.
  void spread(const Scratch& s) const {
    for (std::size_t tap = 0; tap < places_.count(); ++tap)
      for (std::size_t k = 0; k < beside_; ++k)
        s.offsets[tap * beside_ + k] =
            s.taps[tap] == nothing ? nothing : s.taps[tap] + static_cast<std::ptrdiff_t>(k) * x_.strides[axes_ + 1];
  }

  const KernelTable& table_;
  std::shared_ptr<const ChannelWeights> weights_;
  Tensor x_, y_;
  std::optional<Activation> activation_;
  std::size_t axes_, beside_ = 1;
  WindowPlaces places_;
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
