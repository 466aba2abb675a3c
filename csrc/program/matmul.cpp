// Products of two tensors that are both computed: the right one is packed into panels when the step runs, and the rest is
// the kernel, and the order of sums, that constant weights have.
#include <algorithm>
#include <cstring>

#include "../kernels/dispatch.hpp"
#include "steps.hpp"

namespace fusedlstm {

namespace {

constexpr std::size_t block_bytes = std::size_t{192} << 10;  // of gathered rows and results
constexpr std::size_t fewest_rows = 12, most_rows = 480;

// Axes before the last two, and of a matrix what its sizes and strides are.
View batches(const Tensor& tensor) {
  View view = tensor;
  view.shape.resize(tensor.rank() - 2);
  view.strides.resize(tensor.rank() - 2);
  return view;
}
std::ptrdiff_t size_at(const Tensor& tensor, std::size_t from_end) { return tensor.shape[tensor.rank() - from_end]; }
std::ptrdiff_t stride_at(const Tensor& tensor, std::size_t from_end) { return tensor.strides[tensor.rank() - from_end]; }

struct Sizes {
  std::ptrdiff_t rows, inputs, outputs;
};

Sizes sizes_of(const Factors& f) {
  const auto fail = [] { throw std::invalid_argument("product: expected matrices that fit together"); };
  const std::size_t rank = f.y.rank();
  if (rank < 2 || f.x.rank() != rank || f.w.rank() != rank || f.x.element != f.y.element || f.w.element != f.y.element)
    fail();
  for (std::size_t axis = 0; axis + 2 < rank; ++axis)
    if (f.x.shape[axis] != f.y.shape[axis] || f.w.shape[axis] != f.y.shape[axis]) fail();
  const Sizes sizes = {size_at(f.y, 2), size_at(f.x, 1), size_at(f.y, 1)};
  if (size_at(f.x, 2) != sizes.rows || size_at(f.w, 2) != sizes.inputs || size_at(f.w, 1) != sizes.outputs) fail();
  return sizes;
}

class FloatProduct : public Step {
 public:
  explicit FloatProduct(const Factors& f) : table_(kernels()), f_(f), sizes_(sizes_of(f)), width_(4 * table_.lanes) {
    const View x = batches(f.x), w = batches(f.w), y = batches(f.y);
    walk_ = Walk<3>(y.shape, {&y, &x, &w}, {sizeof(float), sizeof(float), sizeof(float)});
    inputs_ = static_cast<std::size_t>(sizes_.inputs);
    panels_ = round_up(static_cast<std::size_t>(sizes_.outputs), width_) / width_;
    const bool one = sizes_.inputs == 1;
    gathers_ = !one && stride_at(f.x, 1) != 1;
    packs_ = sizes_.outputs != static_cast<std::ptrdiff_t>(width_) || stride_at(f.w, 1) != 1 ||
             (!one && stride_at(f.w, 2) != sizes_.outputs);
    direct_ = (sizes_.outputs == 1 || stride_at(f.y, 1) == 1) && stride_at(f.y, 2) > 0;
    const std::size_t row = ((gathers_ ? inputs_ : 0) + (direct_ ? 0 : panels_ * width_)) * sizeof(float);
    block_ = std::clamp(block_bytes / std::max<std::size_t>(1, row), fewest_rows, most_rows);
    block_ = std::min(block_, std::max<std::size_t>(1, static_cast<std::size_t>(sizes_.rows)));
    zeros_ = Buffer(std::max<std::size_t>(1, panels_ * width_) * sizeof(float));
    std::memset(zeros_.chars(), 0, zeros_.bytes());
  }

  std::size_t scratch() const override {
    Cursor count;
    lay_out(count);
    return count.used();
  }

  void run(const Memory& memory, State*) const override {
    Cursor deal(memory.scratch);
    const Scratch s = lay_out(deal);
    const char* packed = nullptr;  // a right side that serves several batches is packed once
    walk_.each({f_.y.at<char>(memory), f_.x.at<char>(memory), f_.w.at<char>(memory)},
               [&](const auto& at, std::ptrdiff_t count, const auto& strides) {
                 for (std::ptrdiff_t i = 0; i < count; ++i) {
                   const char* const w = at[2] + i * strides[2];
                   if (packs_ && w != packed) pack(reinterpret_cast<const float*>(w), s.weights);
                   packed = w;
                   multiply(s, reinterpret_cast<const float*>(at[1] + i * strides[1]),
                            packs_ ? s.weights : reinterpret_cast<const float*>(w),
                            reinterpret_cast<float*>(at[0] + i * strides[0]));
                 }
               });
  }

 private:
  struct Scratch {
    float *weights, *gathered, *z;
    const float** rows;
  };

  Scratch lay_out(Cursor& cursor) const {
    Scratch s = {};
    s.weights = cursor.take<float>(packs_ ? panels_ * width_ * inputs_ : 0);
    s.gathered = cursor.take<float>(gathers_ ? block_ * inputs_ : 0);
    s.z = cursor.take<float>(direct_ ? 0 : block_ * panels_ * width_);
    s.rows = cursor.take<const float*>(block_);
    return s;
  }

  // As pack_rows.
  void pack(const float* w, float* to) const {
    const std::ptrdiff_t k_step = stride_at(f_.w, 2), n_step = stride_at(f_.w, 1);
    const std::size_t outputs = static_cast<std::size_t>(sizes_.outputs);
    for (std::size_t panel = 0; panel < panels_; ++panel, to += inputs_ * width_) {
      const std::size_t first = panel * width_, count = std::min(width_, outputs - first);
      const std::size_t width = round_up(count, table_.lanes);
      const float* const from = w + static_cast<std::ptrdiff_t>(first) * n_step;
      if (count < width)
        for (std::size_t k = 0; k < inputs_; ++k) std::fill(to + k * width + count, to + (k + 1) * width, 0.0f);
      if (n_step == 1) {
        for (std::size_t k = 0; k < inputs_; ++k)
          std::memcpy(to + k * width, from + static_cast<std::ptrdiff_t>(k) * k_step, count * sizeof(float));
        continue;
      }
      for (std::size_t n = 0; n < count; ++n)
        for (std::size_t k = 0; k < inputs_; ++k)
          to[k * width + n] = from[static_cast<std::ptrdiff_t>(n) * n_step + static_cast<std::ptrdiff_t>(k) * k_step];
    }
  }

  void multiply(const Scratch& s, const float* x, const float* weights, float* y) const {
    const std::ptrdiff_t x_row = stride_at(f_.x, 2), k_step = stride_at(f_.x, 1), y_row = stride_at(f_.y, 2);
    const std::size_t rows = static_cast<std::size_t>(sizes_.rows);
    Projection a = {};
    a.weights = weights;
    a.bias = zeros_.floats();
    a.input_size = inputs_;
    a.last_panel = panels_;
    a.last_outputs = static_cast<std::size_t>(sizes_.outputs) % width_;
    a.x = s.rows;
    for (std::size_t first = 0; first < rows; first += block_) {
      a.rows = std::min(block_, rows - first);
      for (std::size_t i = 0; i < a.rows; ++i) {
        const float* const from = x + static_cast<std::ptrdiff_t>(first + i) * x_row;
        s.rows[i] = from;
        if (!gathers_) continue;
        float* const to = s.gathered + i * inputs_;
        for (std::size_t k = 0; k < inputs_; ++k) to[k] = from[static_cast<std::ptrdiff_t>(k) * k_step];
        s.rows[i] = to;
      }
      float* const out = y + static_cast<std::ptrdiff_t>(first) * y_row;
      a.z = direct_ ? out : s.z;
      a.z_row = direct_ ? static_cast<std::size_t>(y_row) : panels_ * width_;
      table_.of[static_cast<std::size_t>(Precision::float32)].project(a);
      if (!direct_)
        for (std::size_t i = 0; i < a.rows; ++i) put(a.z + i * a.z_row, out + static_cast<std::ptrdiff_t>(i) * y_row);
    }
  }

  void put(const float* from, float* to) const {
    const std::ptrdiff_t step = stride_at(f_.y, 1);
    if (step == 1)
      std::memcpy(to, from, static_cast<std::size_t>(sizes_.outputs) * sizeof(float));
    else
      for (std::ptrdiff_t n = 0; n < sizes_.outputs; ++n) to[n * step] = from[n];
  }

  const KernelTable& table_;
  Factors f_;
  Sizes sizes_;
  std::size_t width_, inputs_ = 0, panels_ = 0, block_ = 1;
  bool gathers_ = false, packs_ = true, direct_ = false;
  Buffer zeros_;
  Walk<3> walk_;
};

// Whole numbers wrap around.
class WholeProduct : public Step {
 public:
  explicit WholeProduct(const Factors& f) : f_(f), sizes_(sizes_of(f)) {
    const View x = batches(f.x), w = batches(f.w), y = batches(f.y);
    walk_ = Walk<3>(y.shape, {&y, &x, &w}, {sizeof(Number), sizeof(Number), sizeof(Number)});
  }

  void run(const Memory& memory, State*) const override {
    walk_.each({f_.y.at<char>(memory), f_.x.at<char>(memory), f_.w.at<char>(memory)},
               [&](const auto& at, std::ptrdiff_t count, const auto& strides) {
                 for (std::ptrdiff_t i = 0; i < count; ++i)
                   multiply(reinterpret_cast<const Number*>(at[1] + i * strides[1]),
                            reinterpret_cast<const Number*>(at[2] + i * strides[2]),
                            reinterpret_cast<Number*>(at[0] + i * strides[0]));
               });
  }

 private:
  using Number = std::uint64_t;

  void multiply(const Number* x, const Number* w, Number* y) const {
    const std::ptrdiff_t y_step = stride_at(f_.y, 1), w_step = stride_at(f_.w, 1);
    for (std::ptrdiff_t m = 0; m < sizes_.rows; ++m) {
      Number* const to = y + m * stride_at(f_.y, 2);
      for (std::ptrdiff_t n = 0; n < sizes_.outputs; ++n) to[n * y_step] = 0;
      for (std::ptrdiff_t k = 0; k < sizes_.inputs; ++k) {
        const Number a = x[m * stride_at(f_.x, 2) + k * stride_at(f_.x, 1)];
        const Number* const from = w + k * stride_at(f_.w, 2);
        for (std::ptrdiff_t n = 0; n < sizes_.outputs; ++n) to[n * y_step] += a * from[n * w_step];
      }
    }
  }

  Factors f_;
  Sizes sizes_;
  Walk<3> walk_;
};

}  // namespace

std::unique_ptr<Step> matmul_step(const Factors& factors) {
  if (factors.y.element == Element::float32) return std::make_unique<FloatProduct>(factors);
  if (factors.y.element == Element::int64) return std::make_unique<WholeProduct>(factors);
  throw std::invalid_argument("product: expected numbers");
}

}  // namespace fusedlstm
