// Sequences turned by their lengths, and triangles of matrices.
#include <cstring>
#include <utility>

#include "steps.hpp"

namespace fusedlstm {

namespace {

// x without its first `count` axes.
View without(const View& x, std::size_t count) {
  View rest = x;
  rest.shape.erase(rest.shape.begin(), rest.shape.begin() + static_cast<std::ptrdiff_t>(count));
  rest.strides.erase(rest.strides.begin(), rest.strides.begin() + static_cast<std::ptrdiff_t>(count));
  return rest;
}

void expect_one_kind(const Tensor& x, const Tensor& y) {
  if (x.element != y.element || x.shape != y.shape || x.rank() < 2)
    throw std::invalid_argument("expected tensors of one kind and two or more axes");
}

// x and y are (batch, time, ...): the first `lengths` steps of a row turned around, the rest as they are.
class Turn : public Step {
 public:
  Turn(const Tensor& x, const Tensor& y, const Tensor& lengths) : x_(x), y_(y), lengths_(lengths) {
    if (lengths.element != Element::int64 || lengths.rank() != 1 || lengths.shape[0] != x.shape[0])
      throw std::invalid_argument("turn: expected a length for each row");
    size_ = static_cast<std::ptrdiff_t>(size_of(x.element));
    const View to = without(y, 2), from = without(x, 2);
    walk_ = Walk<2>(to.shape, {&to, &from}, {size_of(y.element), size_of(x.element)});
  }

  void run(const Memory& memory, State*) const override {
    const std::int64_t* const lengths = lengths_.at<std::int64_t>(memory);
    for (std::ptrdiff_t row = 0; row < x_.shape[0]; ++row) {
      const std::ptrdiff_t length = std::clamp<std::ptrdiff_t>(lengths[row * lengths_.strides[0]], 0, x_.shape[1]);
      for (std::ptrdiff_t t = 0; t < x_.shape[1]; ++t) {
        const std::ptrdiff_t from = t < length ? length - 1 - t : t;
        char* const to = y_.at<char>(memory) + (row * y_.strides[0] + t * y_.strides[1]) * size_;
        char* const source = x_.at<char>(memory) + (row * x_.strides[0] + from * x_.strides[1]) * size_;
        walk_.each({to, source}, [&](const auto& at, std::ptrdiff_t count, const auto& steps) {
          const std::size_t size = static_cast<std::size_t>(size_);
          if (steps[0] == size_ && steps[1] == size_)
            std::memcpy(at[0], at[1], static_cast<std::size_t>(count) * size);
          else
            for (std::ptrdiff_t i = 0; i < count; ++i) std::memcpy(at[0] + i * steps[0], at[1] + i * steps[1], size);
        });
      }
    }
  }

 private:
  Tensor x_, y_, lengths_;
  std::ptrdiff_t size_;
  Walk<2> walk_;
};

// The upper or lower triangle of matrices, from a diagonal on; zeros elsewhere.
class Triangle : public Step {
 public:
  Triangle(const Tensor& x, const Tensor& y, const std::optional<Tensor>& diagonal, bool upper)
      : x_(x), y_(y), diagonal_(diagonal), upper_(upper) {
    if (diagonal && (diagonal->element != Element::int64 || diagonal->size() != 1))
      throw std::invalid_argument("triangle: expected one diagonal");
    size_ = static_cast<std::ptrdiff_t>(size_of(x.element));
    View to = y, from = x;
    for (View* one : {&to, &from}) {
      one->shape.resize(x.rank() - 2);
      one->strides.resize(x.rank() - 2);
    }
    walk_ = Walk<2>(to.shape, {&to, &from}, {size_of(y.element), size_of(x.element)});
  }

  void run(const Memory& memory, State*) const override {
    const std::ptrdiff_t rows = x_.shape[x_.rank() - 2], columns = x_.shape.back();
    const std::ptrdiff_t limit = rows + columns;
    const std::ptrdiff_t k = diagonal_ ? std::clamp<std::ptrdiff_t>(*diagonal_->at<std::int64_t>(memory), -limit, limit) : 0;
    walk_.each({y_.at<char>(memory), x_.at<char>(memory)}, [&](const auto& at, std::ptrdiff_t count, const auto& steps) {
      for (std::ptrdiff_t i = 0; i < count; ++i)
        for (std::ptrdiff_t r = 0; r < rows; ++r)
          for (std::ptrdiff_t c = 0; c < columns; ++c) {
            char* const to = at[0] + i * steps[0] + (r * y_.strides[y_.rank() - 2] + c * y_.strides.back()) * size_;
            const char* const from = at[1] + i * steps[1] + (r * x_.strides[x_.rank() - 2] + c * x_.strides.back()) * size_;
            if (upper_ ? c - r >= k : c - r <= k)
              std::memcpy(to, from, static_cast<std::size_t>(size_));
            else
              std::memset(to, 0, static_cast<std::size_t>(size_));
          }
    });
  }

 private:
  Tensor x_, y_;
  std::optional<Tensor> diagonal_;
  bool upper_;
  std::ptrdiff_t size_;
  Walk<2> walk_;
};

}  // namespace

std::unique_ptr<Step> turn_step(const Tensor& x, const Tensor& y, const Tensor& lengths) {
  expect_one_kind(x, y);
  return std::make_unique<Turn>(x, y, lengths);
}

std::unique_ptr<Step> triangle_step(const Tensor& x, const Tensor& y, const std::optional<Tensor>& diagonal, bool upper) {
  expect_one_kind(x, y);
  return std::make_unique<Triangle>(x, y, diagonal, upper);
}

}  // namespace fusedlstm
