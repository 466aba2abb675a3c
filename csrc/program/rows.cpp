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
        block_(x_axes_.count()) {
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

  std::size_t scratch() const override { return (x_axes_.beside() && y_axes_.beside() ? 0 : block_.size() * sizeof(float)); }

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
          x_axes_.each_of(there, steps[1] / 4, block_.pitch,
                          [&](std::ptrdiff_t from, std::size_t to) { rows[to] = x[from]; });
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
