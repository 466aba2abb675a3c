// What goes along one axis, line by line: running sums, and the largest elements.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <type_traits>

#include "steps.hpp"

namespace fusedlstm {

namespace {

// A tensor without one axis, of one place.
View without(const Tensor& tensor, std::size_t axis) {
  View view = tensor;
  view.shape[axis] = 1;
  return view;
}

void expect(bool fits, const char* what) {
  if (!fits) throw std::invalid_argument(what);
}

template <class T>
class Scanned : public Step {
 public:
  Scanned(const Tensor& x, const Tensor& y, const Scan& scan, const std::optional<ScanTotals>& totals)
      : x_(x), y_(y), scan_(scan), totals_(totals) {
    const View from = without(x, scan.axis), to = without(y, scan.axis),
               none = {0, 0, to.shape, std::vector<std::ptrdiff_t>(to.rank())};
    const View before = totals ? View(totals->before) : none, after = totals ? View(totals->after) : none;
    walk_ = Walk<4>(to.shape, {&to, &from, &before, &after}, {sizeof(T), sizeof(T), sizeof(Total), sizeof(Total)});
  }

  void run(const Memory& memory, State*) const override {
    const std::ptrdiff_t count = y_.shape[scan_.axis], size = sizeof(T);
    std::ptrdiff_t from_step = x_.strides[scan_.axis] * size, to_step = y_.strides[scan_.axis] * size;
    const std::ptrdiff_t last = scan_.reverse ? count - 1 : 0;
    char *to = y_.at<char>(memory) + last * to_step, *from = x_.at<char>(memory) + last * from_step;
    if (scan_.reverse) from_step = -from_step, to_step = -to_step;
    if (count == 0 && !totals_) return;
    char *const before = totals_ ? totals_->before.template at<char>(memory) : nullptr,
                *const after = totals_ ? totals_->after.template at<char>(memory) : nullptr;
    walk_.each({to, from, before, after}, [&](const auto& at, std::ptrdiff_t lines, const auto& strides) {
      for (std::ptrdiff_t i = 0; i < lines; ++i) {
        Total total = scan_.product ? 1 : 0;
        if (totals_) std::memcpy(&total, at[2] + i * strides[2], sizeof total);
        total = line(at[1] + i * strides[1], at[0] + i * strides[0], total, {from_step, to_step, count});
        if (totals_) std::memcpy(at[3] + i * strides[3], &total, sizeof total);
      }
    });
  }

 private:
  struct Steps {
    std::ptrdiff_t from, to, count;
  };
  // Floats in double, rounded once; whole numbers wrap around.
  using Total = std::conditional_t<std::is_same_v<T, float>, double, std::uint64_t>;

  Total line(const char* from, char* to, Total total, const Steps& steps) const {
    for (std::ptrdiff_t i = 0; i < steps.count; ++i) {
      T value;
      std::memcpy(&value, from + i * steps.from, sizeof(T));
      const Total before = total;
      total = scan_.product ? total * static_cast<Total>(value) : total + static_cast<Total>(value);
      const T made = static_cast<T>(scan_.exclusive ? before : total);
      std::memcpy(to + i * steps.to, &made, sizeof(T));
    }
    return total;
  }

  Tensor x_, y_;
  Scan scan_;
  std::optional<ScanTotals> totals_;
  Walk<4> walk_;
};

template <class T>
class Tops : public Step {
 public:
  Tops(const Tensor& x, const Top& top) : x_(x), top_(top), count_(x.shape[top.axis]), most_(top.values.shape[top.axis]) {
    const View from = without(x, top.axis), values = without(top.values, top.axis), indices = without(top.indices, top.axis);
    walk_ = Walk<3>(from.shape, {&values, &from, &indices}, {sizeof(T), sizeof(T), sizeof(std::int64_t)});
  }

  std::size_t scratch() const override {
    Cursor cursor;
    lay_out(cursor);
    return cursor.used();
  }

  void run(const Memory& memory, State*) const override {
    Cursor cursor(memory.scratch);
    const Scratch s = lay_out(cursor);
    walk_.each({top_.values.at<char>(memory), x_.at<char>(memory), top_.indices.at<char>(memory)},
               [&](const auto& at, std::ptrdiff_t lines, const auto& strides) {
                 for (std::ptrdiff_t i = 0; i < lines; ++i)
                   line(s, at[1] + i * strides[1], reinterpret_cast<T*>(at[0] + i * strides[0]),
                        reinterpret_cast<std::int64_t*>(at[2] + i * strides[2]));
               });
  }

 private:
  struct Scratch {
    T* values;
    std::int64_t* order;
  };
  Scratch lay_out(Cursor& cursor) const {
    T* const values = cursor.take<T>(static_cast<std::size_t>(count_));
    return {values, cursor.take<std::int64_t>(static_cast<std::size_t>(count_))};
  }

  void line(const Scratch& s, const char* from, T* values, std::int64_t* indices) const {
    for (std::ptrdiff_t i = 0; i < count_; ++i)
      std::memcpy(s.values + i, from + i * x_.strides[top_.axis] * static_cast<std::ptrdiff_t>(sizeof(T)), sizeof(T));
    std::iota(s.order, s.order + count_, std::int64_t{0});
    // NaN is larger than any number, as in NumPy.
    const auto less = [](T a, T b) { return a < b || (b != b && a == a); };
    const auto before = [&](std::int64_t i, std::int64_t j) {
      const T a = top_.largest ? s.values[j] : s.values[i], b = top_.largest ? s.values[i] : s.values[j];
      return less(a, b) || (!less(b, a) && i < j);
    };
    // Masks of rows that are padded at their ends and lengths that are sorted lie in order already.
    if (!std::is_sorted(s.order, s.order + count_, before))
      std::partial_sort(s.order, s.order + most_, s.order + count_, before);
    for (std::ptrdiff_t i = 0; i < most_; ++i) {
      values[i * top_.values.strides[top_.axis]] = s.values[s.order[i]];
      indices[i * top_.indices.strides[top_.axis]] = s.order[i];
    }
  }

  Tensor x_;
  Top top_;
  std::ptrdiff_t count_, most_;
  Walk<3> walk_;
};

}  // namespace

std::unique_ptr<Step> scan_step(const Tensor& x, const Tensor& y, const Scan& scan,
                                const std::optional<ScanTotals>& totals) {
  expect(x.shape == y.shape && x.element == y.element && scan.axis < x.rank(), "scan: expected tensors of one kind");
  expect(x.element != Element::boolean, "scan: expected numbers");
  if (totals)
    for (const Tensor* one : {&totals->before, &totals->after})
      expect(one->element == Element::int64 && one->shape == without(x, scan.axis).shape,
             "scan: expected one total of each line");
  if (x.element == Element::float32) return std::make_unique<Scanned<float>>(x, y, scan, totals);
  return std::make_unique<Scanned<std::int64_t>>(x, y, scan, totals);
}

std::unique_ptr<Step> top_step(const Tensor& x, const Top& top) {
  expect(top.axis < x.rank() && top.values.shape == top.indices.shape && top.values.rank() == x.rank() &&
             top.values.element == x.element && top.indices.element == Element::int64,
         "top: expected values and indices of one shape");
  for (std::size_t axis = 0; axis < x.rank(); ++axis)
    expect(axis == top.axis ? top.values.shape[axis] <= x.shape[axis] : top.values.shape[axis] == x.shape[axis],
           "top: expected a part of x");
  expect(x.element != Element::boolean, "top: expected numbers");
  if (x.element == Element::float32) return std::make_unique<Tops<float>>(x, top);
  return std::make_unique<Tops<std::int64_t>>(x, top);
}

}  // namespace fusedlstm
