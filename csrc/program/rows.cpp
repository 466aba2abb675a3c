// Rows that become rows: softmax and its like, normalisations, the largest elements.
#include "rows.hpp"

#include <cmath>
#include <numeric>
#include <utility>

#include "../kernels/dispatch.hpp"

namespace fusedlstm {

namespace {

enum class Kind { softmax, log_softmax, hardmax, normalise };

class OfRows : public Step {
 public:
  OfRows(Kind kind, const Tensor& x, const Tensor& y, std::size_t along, const Normalising& how)
      : table_(kernels()), kind_(kind), how_(how), x_(x), y_(y), x_axes_(x, along), y_axes_(y, along), block_(x_axes_.count()) {
    if (x.shape != y.shape || x.element != Element::float32 || y.element != Element::float32)
      throw std::invalid_argument("rows: expected floats of one shape");
    const View x_kept = kept_of(x, along), y_kept = kept_of(y, along);
    for (const std::optional<Tensor>* one : {&how.gain, &how.bias})
      if (*one && ((*one)->element != Element::float32 || !(*one)->contiguous() || (*one)->size() != x_axes_.count()))
        throw std::invalid_argument("normalise: expected a number for each element of a row");
    for (const std::optional<Tensor>* one : {&how.mean, &how.inverse})
      if (*one && ((*one)->element != Element::float32 || (*one)->shape != x_kept.shape))
        throw std::invalid_argument("normalise: expected a number for each row");
    // Without statistics y's own strides stand in for theirs, and nothing is written there.
    const View mean = how.mean ? View(*how.mean) : y_kept, inverse = how.inverse ? View(*how.inverse) : y_kept;
    walk_ = Walk<4>(y_kept.shape, {&y_kept, &x_kept, &mean, &inverse}, {4, 4, 4, 4});
  }

  std::size_t scratch() const override {
    return (x_axes_.beside() && y_axes_.beside() ? 0 : block_.size() * sizeof(float));
  }

  void run(const Memory& memory, State*) const override {
    char* const y = y_.at<char>(memory);
    char* const mean = how_.mean ? how_.mean->at<char>(memory) : y;
    char* const inverse = how_.inverse ? how_.inverse->at<char>(memory) : y;
    const float* const gain = how_.gain ? how_.gain->at<float>(memory) : nullptr;
    const float* const bias = how_.bias ? how_.bias->at<float>(memory) : nullptr;
    float* const rows = reinterpret_cast<float*>(memory.scratch);
    walk_.each({y, x_.at<char>(memory), mean, inverse}, [&](const auto& at, std::ptrdiff_t count, const auto& steps) {
      const std::size_t lines = static_cast<std::size_t>(count);
      for (std::size_t first = 0; first < lines; first += block_.rows) {
        const std::size_t there = std::min(block_.rows, lines - first);
        const auto moved = [&](std::size_t n, std::size_t row) {
          return reinterpret_cast<float*>(at[n] + static_cast<std::ptrdiff_t>(row) * steps[n]);
        };
        const float* const x = moved(1, first);
        if (!x_axes_.beside())
          x_axes_.each_of(there, steps[1] / 4, block_.pitch, [&](std::ptrdiff_t from, std::size_t to) { rows[to] = x[from]; });
        for (std::size_t i = 0; i < there; ++i) {
          const float* const from = x_axes_.beside() ? moved(1, first + i) : rows + i * block_.pitch;
          float* const to = y_axes_.beside() ? moved(0, first + i) : rows + i * block_.pitch;
          float statistics[2];
          one_row({from, to, gain, bias, x_axes_.count(), how_.epsilon, how_.floor, how_.centred, statistics});
          if (how_.mean) *moved(2, first + i) = statistics[0];
          if (how_.inverse) *moved(3, first + i) = statistics[1];
        }
        float* const to = moved(0, first);
        if (!y_axes_.beside())
          y_axes_.each_of(there, steps[0] / 4, block_.pitch,
                          [&](std::ptrdiff_t place, std::size_t from) { to[place] = rows[from]; });
      }
    });
  }

 private:
  void one_row(const NormaliseRow& row) const {
    if (row.count == 0) return;
    switch (kind_) {
      case Kind::softmax:
        return table_.softmax(row.x, row.y, row.count);
      case Kind::log_softmax: {
        const float most = static_cast<float>(table_.reduce({Reduction::max, 0.0f}, row.x, row.count));
        const float sum = static_cast<float>(std::log(table_.reduce({Reduction::sum_exp, most}, row.x, row.count)));
        for (std::size_t k = 0; k < row.count; ++k) row.y[k] = (row.x[k] - most) - sum;
        return;
      }
      case Kind::hardmax: {
        const float most = static_cast<float>(table_.reduce({Reduction::max, 0.0f}, row.x, row.count));
        const float* const end = row.x + row.count;
        const float* const first = std::find_if(row.x, end, [&](float a) { return a == most || a != a; });
        const std::size_t place = static_cast<std::size_t>(first - row.x);
        std::fill_n(row.y, row.count, 0.0f);
        row.y[place] = 1.0f;
        return;
      }
      case Kind::normalise:
        return table_.normalise(row);
    }
  }

  const KernelTable& table_;
  Kind kind_;
  Normalising how_;
  Tensor x_, y_;
  RowAxes x_axes_, y_axes_;
  RowBlock block_;
  Walk<4> walk_;
};

// The first k of a row in order, and their places. Of equal elements the first comes first; NaN is the largest.
template <class T>
class Top : public Step {
 public:
  Top(const Tensor& x, const Tensor& values, const std::optional<Tensor>& places, bool largest)
      : x_(x), values_(values), places_(places ? *places : values), write_places_(places), largest_(largest) {
    const View kept = kept_of(x_, 1), first = kept_of(values_, 1), second = kept_of(places_, 1);
    walk_ = Walk<3>(kept.shape, {&first, &kept, &second}, {sizeof(T), sizeof(T), write_places_ ? 8 : sizeof(T)});
  }

  std::size_t scratch() const override { return static_cast<std::size_t>(x_.shape.back()) * sizeof(std::int64_t); }

  void run(const Memory& memory, State*) const override {
    std::int64_t* const order = reinterpret_cast<std::int64_t*>(memory.scratch);
    const std::ptrdiff_t size = x_.shape.back(), k = values_.shape.back();
    const std::ptrdiff_t step = x_.strides.back(), to = values_.strides.back(), place_to = places_.strides.back();
    walk_.each({values_.at<char>(memory), x_.at<char>(memory), places_.at<char>(memory)},
               [&](const auto& at, std::ptrdiff_t count, const auto& steps) {
                 for (std::ptrdiff_t i = 0; i < count; ++i) {
                   const T* const x = reinterpret_cast<const T*>(at[1] + i * steps[1]);
                   std::iota(order, order + size, std::int64_t{0});
                   std::partial_sort(order, order + k, order + size, [&](std::int64_t a, std::int64_t b) {
                     const T left = x[a * step], right = x[b * step];
                     const int ahead = compare(left, right);
                     return ahead != 0 ? ahead < 0 : a < b;
                   });
                   for (std::ptrdiff_t n = 0; n < k; ++n) {
                     reinterpret_cast<T*>(at[0] + i * steps[0])[n * to] = x[order[n] * step];
                     if (write_places_) reinterpret_cast<std::int64_t*>(at[2] + i * steps[2])[n * place_to] = order[n];
                   }
                 }
               });
  }

 private:
  int compare(T left, T right) const {
    const bool left_nan = left != left, right_nan = right != right;
    int order = left_nan || right_nan ? int{left_nan} - int{right_nan} : left < right ? -1 : right < left ? 1 : 0;
    return largest_ ? -order : order;
  }

  Tensor x_, values_, places_;
  bool write_places_, largest_;
  Walk<3> walk_;
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

std::unique_ptr<Step> top_step(const Tensor& x, const Tensor& values, const std::optional<Tensor>& places, bool largest) {
  const bool fits = x.rank() >= 1 && values.rank() == x.rank() && values.element == x.element &&
                    kept_of(x, 1).shape == kept_of(values, 1).shape && values.shape.back() <= x.shape.back() &&
                    (!places || (places->element == Element::int64 && places->shape == values.shape));
  if (!fits) throw std::invalid_argument("top: expected at most as many as there are");
  if (x.element == Element::float32) return std::make_unique<Top<float>>(x, values, places, largest);
  if (x.element == Element::int64) return std::make_unique<Top<std::int64_t>>(x, values, places, largest);
  return std::make_unique<Top<std::uint8_t>>(x, values, places, largest);
}

}  // namespace fusedlstm
