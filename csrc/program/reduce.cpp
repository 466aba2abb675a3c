// Rows that become one number each: reductions, and the places of extremes.
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "../kernels/dispatch.hpp"
#include "reductions.hpp"
#include "rows.hpp"

namespace fusedlstm {

namespace {

using i64 = std::int64_t;
using u8 = std::uint8_t;

const NamedReduction reductions[] = {
    {"Sum", Reduction::sum, [](double a, double) { return a; }},
    {"Mean", Reduction::sum, [](double a, double count) { return a / count; }},
    {"Max", Reduction::max, [](double a, double) { return a; }},
    {"Min", Reduction::min, [](double a, double) { return a; }},
    {"Prod", Reduction::product, [](double a, double) { return a; }},
    {"L1", Reduction::sum_abs, [](double a, double) { return a; }},
    {"L2", Reduction::sum_squares, [](double a, double) { return std::sqrt(a); }},
    {"SumSquare", Reduction::sum_squares, [](double a, double) { return a; }},
    {"LogSum", Reduction::sum, [](double a, double) { return std::log(a); }},
    {"LogSumExp", Reduction::sum_exp, [](double a, double) { return std::log(a); }},
};
void expect_rows(const Tensor& x, const Tensor& y, std::size_t along) {
  const View kept = kept_of(x, along);
  if (kept.shape != y.shape) throw std::invalid_argument("reduce: expected as many results as rows");
}

class Reduce : public Step {
 public:
  Reduce(const NamedReduction& how, const Tensor& x, const Tensor& y, std::size_t along)
      : table_(kernels()), how_(how), x_(x), y_(y), axes_(x, along) {
    const View kept = kept_of(x, along);
    walk_ = Walk<2>(y.shape, {&y_, &kept}, {4, 4});
  }

  std::size_t scratch() const override { return axes_.gathered_floats() * sizeof(float); }

  void run(const Memory& memory, State*) const override {
    float* const gathered = reinterpret_cast<float*>(memory.scratch);
    walk_.each({y_.at<char>(memory), x_.at<char>(memory)}, [&](const auto& at, std::ptrdiff_t count, const auto& steps) {
      const Line line = {reinterpret_cast<const float*>(at[1]), reinterpret_cast<float*>(at[0]), steps[1] / 4, steps[0] / 4};
      const std::size_t rows = static_cast<std::size_t>(count);
      Way way = axes_.way(rows, line.x_step);
      if (way == Way::columns && how_.kind == Reduction::sum_exp) way = axes_.gathered_way(rows);
      const std::size_t block = way == Way::columns ? columns_most : way == Way::tiles ? tile_rows : 1;
      for (std::size_t first = 0; first < rows; first += block) {
        const std::size_t some = std::min(block, rows - first);
        if (way == Way::rows)
          line.put(first, of_row(line.row(first)));
        else if (way == Way::columns)
          of_columns(line, first, {line.row(first), nullptr, axes_.step(), 0, axes_.count(), some}, nullptr);
        else
          of_gathered(line, first, some, gathered);
      }
    });
  }

 private:
  struct Line {
    const float* x;
    float* y;
    std::ptrdiff_t x_step, y_step;

    const float* row(std::size_t i) const { return x + static_cast<std::ptrdiff_t>(i) * x_step; }
    void put(std::size_t i, double value) const { y[static_cast<std::ptrdiff_t>(i) * y_step] = static_cast<float>(value); }
  };

  double finished(double value) const { return how_.finish(value, static_cast<double>(axes_.count())); }
  // What is taken from every element before the exponential: the largest, unless it is infinite.
  static double shift_of(double most) { return std::isinf(most) ? 0.0 : most; }

  double of_row(const float* row) const {
    double shift = 0.0;
    if (how_.kind == Reduction::sum_exp) {
      const double most = table_.reduce({Reduction::max, 0.0f}, row, axes_.count());
      shift = shift_of(most);
      if (most > shift) return most;
    }
    return finished(table_.reduce({how_.kind, static_cast<float>(shift)}, row, axes_.count())) + shift;
  }

  // own: the columns' memory where it may be written to.
  void of_columns(const Line& line, std::size_t first, const Columns& columns, float* own) const {
    double sums[columns_most], shifts[columns_most] = {};
    if (how_.kind == Reduction::sum_exp) {
      table_.reduce_columns(Reduction::max, columns, sums);
      for (std::size_t i = 0; i < columns.columns; ++i) {
        shifts[i] = sums[i] > 0.0 && std::isinf(sums[i]) ? sums[i] : shift_of(sums[i]);
        const float shift = static_cast<float>(shift_of(sums[i]));
        for (std::size_t k = 0; k < columns.count; ++k) own[k * tile_rows + i] -= shift;
      }
    }
    table_.reduce_columns(how_.kind, columns, sums);
    for (std::size_t i = 0; i < columns.columns; ++i)
      line.put(first + i, std::isinf(shifts[i]) ? shifts[i] : finished(sums[i]) + shifts[i]);
  }

  void of_gathered(const Line& line, std::size_t first, std::size_t rows, float* gathered) const {
    const float* const x = line.row(first);
    const std::size_t pitch = rows == 1 ? 1 : tile_rows;
    axes_.each_of(rows, line.x_step, pitch, [&](std::ptrdiff_t from, std::size_t to) { gathered[to] = x[from]; });
    if (rows == 1) return line.put(first, of_row(gathered));
    of_columns(line, first, {gathered, nullptr, tile_rows, 0, axes_.count(), rows}, gathered);
  }

  const KernelTable& table_;
  const NamedReduction& how_;
  Tensor x_, y_;
  RowAxes axes_;
  Walk<2> walk_;
};

// One row of whole numbers or truth values. Sums wrap around, as in NumPy.
template <class T>
i64 whole_row(const std::string& name, const T* x, const RowAxes& axes) {
  const bool extreme = name == "Max" || name == "Min", sign = name == "Min";
  std::uint64_t total = name == "Prod" ? 1 : 0;
  i64 most =
      sign ? (sizeof(T) == 1 ? 1 : std::numeric_limits<i64>::max()) : (sizeof(T) == 1 ? 0 : std::numeric_limits<i64>::min());
  double sum = 0.0, shift = 0.0;
  const bool exponential = name == "LogSumExp";
  const auto each = [&](auto run) {
    axes.each([&](std::ptrdiff_t offset, std::size_t, std::ptrdiff_t count, std::ptrdiff_t step) {
      for (std::ptrdiff_t k = 0; k < count; ++k) run(static_cast<i64>(x[offset + k * step]));
    });
  };
  if (exponential) {
    i64 largest = std::numeric_limits<i64>::min();
    each([&](i64 a) { largest = std::max(largest, a); });
    shift = static_cast<double>(largest);
  }
  each([&](i64 a) {
    const auto bits = static_cast<std::uint64_t>(a);
    if (extreme)
      most = sign ? std::min(most, a) : std::max(most, a);
    else if (name == "Prod")
      total *= bits;
    else if (name == "L1")
      total += a < 0 ? 0 - bits : bits;
    else if (name == "SumSquare" || name == "L2")
      total += bits * bits;
    else
      total += bits;
    sum += exponential ? std::exp(static_cast<double>(a) - shift) : 0.0;
  });
  const double whole = static_cast<double>(static_cast<i64>(total));
  const auto cut = [](double a) {
    return a > -9.2e18 && a < 9.2e18 ? static_cast<i64>(a) : std::numeric_limits<i64>::min();
  };
  if (extreme) return most;
  if (name == "Mean") return cut(whole / static_cast<double>(axes.count()));
  if (name == "L2") return cut(std::sqrt(whole));
  if (name == "LogSum") return cut(std::log(whole));
  if (exponential) return cut(std::log(sum) + shift);
  return static_cast<i64>(total);
}

// The place of a row's first (or last) largest (or smallest) element; NaN counts as both.
template <class T>
i64 place_in_row(const T* x, const RowAxes& axes, bool largest, bool last) {
  i64 best = 0;
  axes.each([&](std::ptrdiff_t offset, std::size_t, std::ptrdiff_t count, std::ptrdiff_t step) {
    T most = x[offset];
    for (std::ptrdiff_t k = 1; k < count; ++k) {
      const T a = x[offset + k * step];
      const bool ahead = a != a ? most == most || last : most == most && (largest ? most < a : a < most);
      if (ahead || (last && a == most)) {
        most = a;
        best = k;
      }
    }
  });
  return best;
}

// The same by a kernel, where elements lie beside each other.
i64 place_in_row_beside(const KernelTable& table, const float* x, const RowAxes& axes, bool largest, bool last) {
  if (!axes.beside()) return place_in_row(x, axes, largest, last);
  const auto size = static_cast<std::ptrdiff_t>(axes.count());
  const auto most = static_cast<float>(table.reduce({largest ? Reduction::max : Reduction::min, 0.0f}, x, axes.count()));
  const auto is = [&](float a) { return a == most || a != a; };
  if (last && most != most) return place_in_row(x, axes, largest, last);
  const float* const end = x + size;
  if (!last) return std::find_if(x, end, is) - x;
  return std::find_if(std::make_reverse_iterator(end), std::make_reverse_iterator(x), is).base() - x - 1;
}

// What makes one number of a row, in plain C++.
template <class T, class Y, class Of>
class RowByRow : public Step {
 public:
  RowByRow(const Tensor& x, const Tensor& y, std::size_t along, Of of) : x_(x), y_(y), axes_(x, along), of_(std::move(of)) {
    const View kept = kept_of(x, along);
    walk_ = Walk<2>(y.shape, {&y_, &kept}, {sizeof(Y), sizeof(T)});
  }

  void run(const Memory& memory, State*) const override {
    walk_.each({y_.at<char>(memory), x_.at<char>(memory)}, [&](const auto& at, std::ptrdiff_t count, const auto& steps) {
      for (std::ptrdiff_t i = 0; i < count; ++i)
        *reinterpret_cast<Y*>(at[0] + i * steps[0]) =
            static_cast<Y>(of_(reinterpret_cast<const T*>(at[1] + i * steps[1]), axes_));
    });
  }

 private:
  Tensor x_, y_;
  RowAxes axes_;
  Of of_;
  Walk<2> walk_;
};
template <class T, class Y, class Of>
std::unique_ptr<Step> row_by_row(const Tensor& x, const Tensor& y, std::size_t along, Of of) {
  return std::make_unique<RowByRow<T, Y, Of>>(x, y, along, std::move(of));
}

}  // namespace

const NamedReduction& reduction_named(const std::string& name) {
  for (const NamedReduction& one : reductions)
    if (name == one.name) return one;
  throw std::invalid_argument("reduce: there is no " + name);
}

std::unique_ptr<Step> reduce_step(const std::string& name, const Tensor& x, const Tensor& y, std::size_t along) {
  expect_rows(x, y, along);
  const NamedReduction& how = reduction_named(name);
  if (x.element != y.element) throw std::invalid_argument("reduce: expected results of the rows' kind");
  if (x.element == Element::float32) return std::make_unique<Reduce>(how, x, y, along);
  if (x.element == Element::int64)
    return row_by_row<i64, i64>(x, y, along,
                                [name](const i64* row, const RowAxes& axes) { return whole_row(name, row, axes); });
  if (how.kind != Reduction::max && how.kind != Reduction::min)
    throw std::invalid_argument("reduce: expected numbers, found truth values");
  return row_by_row<u8, u8>(x, y, along, [name](const u8* row, const RowAxes& axes) { return whole_row(name, row, axes); });
}

std::unique_ptr<Step> arg_step(const Tensor& x, const Tensor& y, bool largest, bool last) {
  expect_rows(x, y, 1);
  if (y.element != Element::int64 || x.shape.back() < 1) throw std::invalid_argument("arg: expected places in rows");
  if (x.element == Element::float32)
    return row_by_row<float, i64>(x, y, 1, [largest, last, &table = kernels()](const float* row, const RowAxes& axes) {
      return place_in_row_beside(table, row, axes, largest, last);
    });
  if (x.element == Element::int64)
    return row_by_row<i64, i64>(x, y, 1,
                                [=](const i64* row, const RowAxes& axes) { return place_in_row(row, axes, largest, last); });
  return row_by_row<u8, i64>(x, y, 1,
                             [=](const u8* row, const RowAxes& axes) { return place_in_row(row, axes, largest, last); });
}

}  // namespace fusedlstm
