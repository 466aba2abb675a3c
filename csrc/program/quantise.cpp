// Whole numbers that stand for floats, exactly as ONNX has them.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "steps.hpp"

namespace fusedlstm {

namespace {

// Half to even.
double rounded(double a) { return std::nearbyint(a); }

std::int64_t saturated(double a, double low, double high) {
  return static_cast<std::int64_t>(a > low ? std::min(a, high) : low);  // what is not a number is the lowest
}

template <class T>
T read(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

void expect(bool fits) {
  if (!fits) throw std::invalid_argument("quantise: expected tensors of one shape, of the elements that it takes");
}

// y and three tensors of its shape, element by element.
template <class Y, class A, class B, class C>
class OfThree : public Step {
 public:
  explicit OfThree(const std::array<Tensor, 4>& tensors) : tensors_(tensors) {
    const std::size_t sizes[] = {sizeof(Y), sizeof(A), sizeof(B), sizeof(C)};
    for (std::size_t n = 0; n < 4; ++n)
      expect(tensors_[n].shape == tensors_[0].shape && size_of(tensors_[n].element) == sizes[n]);
    walk_ = Walk<4>(tensors_[0].shape, {&tensors_[0], &tensors_[1], &tensors_[2], &tensors_[3]},
                    {sizes[0], sizes[1], sizes[2], sizes[3]});
  }

 protected:
  template <class F>
  void each(const Memory& memory, F f) const {
    typename Walk<4>::Pointers start;
    for (std::size_t n = 0; n < 4; ++n) start[n] = tensors_[n].template at<char>(memory);
    walk_.each(start, [&](const auto& at, std::ptrdiff_t count, const auto& step) {
      for (std::ptrdiff_t i = 0; i < count; ++i) {
        const Y y = f(read<A>(at[1] + i * step[1]), read<B>(at[2] + i * step[2]), read<C>(at[3] + i * step[3]));
        std::memcpy(at[0] + i * step[0], &y, sizeof(Y));
      }
    });
  }

 private:
  std::array<Tensor, 4> tensors_;
  Walk<4> walk_;
};

using Whole = std::int64_t;

class Dequantise : public OfThree<float, Whole, Whole, float> {
 public:
  using OfThree::OfThree;
  void run(const Memory& memory, State*) const override {
    each(memory, [](Whole x, Whole zero, float scale) { return static_cast<float>(x - zero) * scale; });
  }
};

class Quantise : public OfThree<Whole, float, float, Whole> {
 public:
  Quantise(const std::array<Tensor, 4>& tensors, double low, double high) : OfThree(tensors), low_(low), high_(high) {}
  void run(const Memory& memory, State*) const override {
    each(memory, [this](float x, float scale, Whole zero) {
      return saturated(rounded(x / scale) + static_cast<double>(zero), low_, high_);
    });
  }

 private:
  double low_, high_;
};

class Requantise : public OfThree<Whole, Whole, float, float> {
 public:
  Requantise(const Tensor& y, const Requantised& from, double low, double high)
      : OfThree({y, from.sums, from.x_scale, from.w_scale}), scale_(from.scale), zero_(from.zero), low_(low), high_(high) {
    expect(scale_.element == Element::float32 && zero_.element == Element::int64 && scale_.size() == 1 && zero_.size() == 1);
  }
  void run(const Memory& memory, State*) const override {
    const double scale = *scale_.at<float>(memory), zero = static_cast<double>(*zero_.at<Whole>(memory));
    each(memory, [&](Whole sum, float a, float b) {
      const double factor = static_cast<double>(a) * static_cast<double>(b) / scale;
      return saturated(rounded(static_cast<double>(sum) * factor) + zero, low_, high_);
    });
  }

 private:
  Tensor scale_, zero_;
  double low_, high_;
};

// The scale and the zero point follow from the smallest and the largest element, 0 being among them.
class Dynamic : public Step {
 public:
  Dynamic(const Tensor& x, const Tensor& y, const Tensor& scale, const Tensor& zero)
      : x_(x), y_(y), scale_(scale), zero_(zero), walk_(y.shape, {&y_, &x_}, {sizeof(std::int64_t), sizeof(float)}) {
    expect(x.element == Element::float32 && y.element == Element::int64 && scale.element == Element::float32 &&
           zero.element == Element::int64 && x.shape == y.shape && scale.size() == 1 && zero.size() == 1);
  }

  void run(const Memory& memory, State*) const override {
    float low = 0.0f, high = 0.0f;
    const auto each = [&](auto one) {
      walk_.each({y_.at<char>(memory), x_.at<char>(memory)}, [&](const auto& at, std::ptrdiff_t count, const auto& step) {
        for (std::ptrdiff_t i = 0; i < count; ++i) one(read<float>(at[1] + i * step[1]), at[0] + i * step[0]);
      });
    };
    each([&](float x, char*) {
      low = std::min(low, x);
      high = std::max(high, x);
    });
    const float scale = (high - low) / 255.0f, divisor = scale == 0.0f ? 1.0f : scale;
    const std::int64_t zero = saturated(rounded(-low / divisor), 0.0, 255.0);
    *scale_.at<float>(memory) = scale;
    *zero_.at<std::int64_t>(memory) = zero;
    each([&](float x, char* y) {
      const std::int64_t made = saturated(rounded(x / divisor) + static_cast<double>(zero), 0.0, 255.0);
      std::memcpy(y, &made, sizeof(made));
    });
  }

 private:
  Tensor x_, y_, scale_, zero_;
  Walk<2> walk_;
};

}  // namespace

std::unique_ptr<Step> dequantise_step(const std::array<Tensor, 4>& tensors) { return std::make_unique<Dequantise>(tensors); }

std::unique_ptr<Step> quantise_step(const std::array<Tensor, 4>& tensors, double low, double high) {
  return std::make_unique<Quantise>(tensors, low, high);
}

std::unique_ptr<Step> requantise_step(const Tensor& y, const Requantised& from, double low, double high) {
  return std::make_unique<Requantise>(y, from, low, high);
}

std::unique_ptr<Step> dynamic_step(const Tensor& x, const Tensor& y, const Tensor& scale, const Tensor& zero) {
  return std::make_unique<Dynamic>(x, y, scale, zero);
}

}  // namespace fusedlstm
