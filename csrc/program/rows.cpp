// Rows that become rows: softmax and its like, normalisations.
#include "rows.hpp"

#include <cmath>
#include <utility>

#include "../kernels/dispatch.hpp"

namespace fusedlstm {

namespace {

enum class Kind { softmax, log_softmax, hardmax, normalise };

class OfRows : public Step {
 public:
  OfRows(Kind kind, const Tensor& x, const Tensor& y, std::size_t along, const Normalising& how)
      : table_(kernels()),
        kind_(kind),
        how_(how),
        x_(x),
        y_(y),
        x_axes_(x, along),
        y_axes_(y, along),
        size_(x_axes_.count()) {
    if (x.shape != y.shape || x.element != Element::float32 || y.element != Element::float32)
      throw std::invalid_argument("rows: expected floats of one shape");
    const View x_kept = kept_of(x, along), y_kept = kept_of(y, along);
    for (const std::optional<Tensor>* one : {&how.gain, &how.bias})
      if (*one && ((*one)->element != Element::float32 || !(*one)->contiguous() || (*one)->size() != size_))
        throw std::invalid_argument("normalise: expected a number for each element of a row");
    for (const std::optional<Tensor>* one : {&how.mean, &how.inverse})
      if (*one && ((*one)->element != Element::float32 || (*one)->shape != x_kept.shape))
        throw std::invalid_argument("normalise: expected a number for each row");
    // Without statistics y's own strides stand in for theirs, and nothing is written there.
    const View mean = how.mean ? View(*how.mean) : y_kept, inverse = how.inverse ? View(*how.inverse) : y_kept;
    walk_ = Walk<4>(y_kept.shape, {&y_kept, &x_kept, &mean, &inverse}, {4, 4, 4, 4});
  }

  std::size_t scratch() const override { return x_axes_.gathered_floats() * sizeof(float); }

  void run(const Memory& memory, State*) const override {
    if (size_ == 0) return;
    char* const y = y_.at<char>(memory);
    char* const mean = how_.mean ? how_.mean->at<char>(memory) : y;
    char* const inverse = how_.inverse ? how_.inverse->at<char>(memory) : y;
    float statistics[2][columns_most];
    const Normalise how = {how_.gain ? how_.gain->at<float>(memory) : nullptr,
                           how_.bias ? how_.bias->at<float>(memory) : nullptr,
                           how_.epsilon,
                           how_.floor,
                           how_.centred,
                           how_.mean ? statistics[0] : nullptr,
                           how_.inverse ? statistics[1] : nullptr};
    float* const gathered = reinterpret_cast<float*>(memory.scratch);
    walk_.each({y, x_.at<char>(memory), mean, inverse}, [&](const auto& at, std::ptrdiff_t count, const auto& steps) {
      const std::size_t rows = static_cast<std::size_t>(count);
      const Way way = way_of(rows, steps[1] / 4, steps[0] / 4);
      const std::size_t block = way == Way::columns ? columns_most : way == Way::tiles ? tile_rows : 1;
      for (std::size_t first = 0; first < rows; first += block) {
        const std::size_t some = std::min(block, rows - first);
        const auto moved = [&](std::size_t n, std::size_t row) {
          return reinterpret_cast<float*>(at[n] + static_cast<std::ptrdiff_t>(row) * steps[n]);
        };
        const float* const from = moved(1, first);
        float* const to = moved(0, first);
        if (way == Way::rows)
          of_row(how, from, to);
        else if (way == Way::columns)
          of_columns(how, {from, to, x_axes_.step(), y_axes_.step(), size_, some});
        else
          of_gathered(how, {from, to, steps[1] / 4, steps[0] / 4, size_, some}, gathered);
        for (std::size_t i = 0; i < some; ++i) {
          if (how_.mean) *moved(2, first + i) = statistics[0][i];
          if (how_.inverse) *moved(3, first + i) = statistics[1][i];
        }
      }
    });
  }

 private:
  Way way_of(std::size_t rows, std::ptrdiff_t x_step, std::ptrdiff_t y_step) const {
    const Way in = x_axes_.way(rows, x_step), out = y_axes_.way(rows, y_step);
    if (in == out && (kind_ != Kind::hardmax || in == Way::rows)) return in;
    return kind_ == Kind::hardmax ? Way::gathered : x_axes_.gathered_way(rows);
  }

  // Rows that lie in any way, `x_step` and `y_step` apart.
  void of_gathered(const Normalise& how, const Columns& rows, float* gathered) const {
    const std::size_t pitch = rows.columns == 1 ? 1 : tile_rows;
    x_axes_.each_of(rows.columns, rows.x_step, pitch,
                    [&](std::ptrdiff_t from, std::size_t to) { gathered[to] = rows.x[from]; });
    if (rows.columns == 1)
      of_row(how, gathered, gathered);
    else
      of_columns(how, {gathered, gathered, tile_rows, tile_rows, size_, rows.columns});
    y_axes_.each_of(rows.columns, rows.y_step, pitch,
                    [&](std::ptrdiff_t to, std::size_t from) { rows.y[to] = gathered[from]; });
  }

  void of_row(const Normalise& how, const float* x, float* y) const {
    switch (kind_) {
      case Kind::softmax:
        return table_.softmax(x, y, size_);
      case Kind::normalise:
        return table_.normalise(how, x, y, size_);
      case Kind::log_softmax: {
        const float most = static_cast<float>(table_.reduce({Reduction::max, 0.0f}, x, size_));
        map(MapKernel::sub, y, {x, &most}, size_, true);
        const float sum = static_cast<float>(table_.reduce({Reduction::sum_exp, 0.0f}, y, size_));
        float log = 0.0f;
        map(MapKernel::log, &log, {&sum, nullptr}, 1, false);
        return map(MapKernel::sub, y, {y, &log}, size_, true);
      }
      case Kind::hardmax: {
        const float most = static_cast<float>(table_.reduce({Reduction::max, 0.0f}, x, size_));
        const float* const first = std::find_if(x, x + size_, [&](float a) { return a == most || a != a; });
        // There is none if somebody else changes x meanwhile.
        const std::ptrdiff_t place = std::min(first - x, static_cast<std::ptrdiff_t>(size_) - 1);
        std::fill_n(y, size_, 0.0f);
        y[place] = 1.0f;
        return;
      }
    }
  }

  void of_columns(const Normalise& how, const Columns& a) const {
    if (kind_ == Kind::softmax) return table_.softmax_columns(a);
    if (kind_ == Kind::normalise) return table_.normalise_columns(how, a);
    double totals[columns_most];
    float taken[columns_most];
    table_.reduce_columns(Reduction::max, a, totals);
    std::copy_n(totals, a.columns, taken);
    take(a, taken);
    const Columns made = {a.y, a.y, a.y_step, a.y_step, a.count, a.columns};
    table_.reduce_columns(Reduction::sum_exp, made, totals);
    std::copy_n(totals, a.columns, taken);
    map(MapKernel::log, taken, {taken, nullptr}, a.columns, false);
    take(made, taken);
  }
  // y = x - taken
  void take(const Columns& a, const float* taken) const {
    for (std::size_t k = 0; k < a.count; ++k) {
      const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(k);
      map(MapKernel::sub, a.y + row * a.y_step, {a.x + row * a.x_step, taken}, a.columns, false);
    }
  }
  void map(MapKernel kernel, float* y, std::pair<const float*, const float*> inputs, std::size_t count,
           bool repeated) const {
    table_.map[static_cast<std::size_t>(kernel)](
        {y, {inputs.first, inputs.second, nullptr}, {false, repeated, false}, count});
  }

  const KernelTable& table_;
  Kind kind_;
  Normalising how_;
  Tensor x_, y_;
  RowAxes x_axes_, y_axes_;
  std::size_t size_;
  Walk<4> walk_;
};

}  // namespace

std::unique_ptr<Step> softmax_step(const std::string& kind, const Tensor& x, const Tensor& y) {
  if (x.rank() < 1) throw std::invalid_argument("softmax: expected rows");
  const Kind found = kind == "Softmax" ? Kind::softmax : kind == "LogSoftmax" ? Kind::log_softmax : Kind::hardmax;
  return std::make_unique<OfRows>(found, x, y, 1, Normalising{});
}

std::unique_ptr<Step> normalise_step(const Tensor& x, const Tensor& y, std::size_t along, const Normalising& how) {
  return std::make_unique<OfRows>(Kind::normalise, x, y, along, how);
}

}  // namespace fusedlstm
