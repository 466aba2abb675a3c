// Reductions over what has come so far: at each step the bits of the same reduction over all of it. What is kept of each
// result is what a kernel has of a row that it is in the middle of: 16 partial sums, the total of the chunks before, and how
// many terms there were.
#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "../kernels/dispatch.hpp"
#include "reductions.hpp"
#include "rows.hpp"

namespace fusedlstm {

namespace {

using u64 = std::uint64_t;

constexpr std::size_t partial_sums = 16, sum_chunk = 1024;  // of the kernels; tests hold these against them

// How terms and sums are joined, what changes nothing, and which kernel joins partial sums in its order.
struct Add {
  static constexpr float neutral = 0.0f;
  static constexpr Reduction kernel = Reduction::sum;
  template <class Number>
  static Number join(Number a, Number b) {
    return a + b;
  }
};
struct Multiply {
  static constexpr float neutral = 1.0f;
  static constexpr Reduction kernel = Reduction::product;
  template <class Number>
  static Number join(Number a, Number b) {
    return a * b;
  }
};
struct Greater {
  static constexpr float neutral = -std::numeric_limits<float>::infinity();
  static constexpr Reduction kernel = Reduction::max;
  template <class Number>
  static Number join(Number a, Number b) {
    return a != a ? a : b != b || a < b ? b : a;
  }
};
struct Lesser {
  static constexpr float neutral = std::numeric_limits<float>::infinity();
  static constexpr Reduction kernel = Reduction::min;
  template <class Number>
  static Number join(Number a, Number b) {
    return a != a ? a : b != b || b < a ? b : a;
  }
};

// A copy between arrays that may be one.
template <class T>
T* moved(const Tensor& from, const Tensor& to, const Memory& memory) {
  T* const target = to.at<T>(memory);
  std::memmove(target, from.at<T>(memory), to.size() * sizeof(T));
  return target;
}

template <class How>
class Running : public Step {
 public:
  Running(const NamedReduction& how, const RunningArrays& arrays, bool single)
      : table_(kernels()),
        how_(how),
        single_(single),
        a_(arrays),
        results_(a_.y.size()),
        terms_(results_ == 0 ? 0 : a_.x.size() / results_),
        // The order of extremes makes no difference: one of them is enough.
        slots_(how.kind == Reduction::max || how.kind == Reduction::min ? 1 : partial_sums) {
    expect(a_.x, Element::float32, terms_);
    expect(a_.y, Element::float32, 1);
    for (const RunningSums* one : {&a_.before, &a_.after}) {
      expect(one->partial, Element::float32, slots_);
      expect(one->total, Element::int64, 1);
      expect(one->count, Element::int64, 1);
    }
  }

  void run(const Memory& memory, State*) const override {
    const Sums sums = {moved<float>(a_.before.partial, a_.after.partial, memory),
                       moved<u64>(a_.before.total, a_.after.total, memory),
                       moved<u64>(a_.before.count, a_.after.count, memory)};
    const float* const x = a_.x.at<float>(memory);
    float* const y = a_.y.at<float>(memory);
    std::size_t some = 0;  // results that have had equally many terms: streams may come together at any time
    for (std::size_t first = 0; first < results_; first += some) {
      const u64 count = sums.counts[first];
      for (some = 1; some < columns_most && first + some < results_ && sums.counts[first + some] == count;) ++some;
      add(sums, x, first, some);
      hand_out(sums, first, some, y);
      if (single_ && sums.counts[first] == 1) std::copy_n(x + first, some, y + first);
    }
  }

 private:
  struct Sums {
    float* partial;
    u64* totals;  // the bits of doubles
    u64* counts;
  };

  void expect(const Tensor& tensor, Element element, std::size_t each) const {
    if (tensor.element != element || !tensor.contiguous() || tensor.size() != each * results_)
      throw std::invalid_argument("running: expected contiguous arrays with as many elements for each result");
  }

  void add(const Sums& sums, const float* x, std::size_t first, std::size_t some) const {
    u64 count = sums.counts[first];
    double made[columns_most];
    for (std::size_t k = 0; k < terms_; ++k) {
      table_.reduce_columns(how_.kind, {x + k * results_ + first, nullptr, 0, 0, 1, some}, made);
      float* const to = sums.partial + count % slots_ * results_ + first;
      for (std::size_t i = 0; i < some; ++i) to[i] = How::join(to[i], static_cast<float>(made[i]));
      if (++count % sum_chunk != 0) continue;
      totals(sums, first, some, made);
      std::memcpy(sums.totals + first, made, some * sizeof(double));
      for (std::size_t slot = 0; slot < slots_; ++slot)
        std::fill_n(sums.partial + slot * results_ + first, some, How::neutral);
    }
    std::fill_n(sums.counts + first, some, count);
  }

  // With the chunk that is not full.
  void totals(const Sums& sums, std::size_t first, std::size_t some, double* made) const {
    const auto step = static_cast<std::ptrdiff_t>(results_);
    table_.reduce_columns(How::kernel, {sums.partial + first, nullptr, step, 0, slots_, some}, made);
    for (std::size_t i = 0; i < some; ++i) {
      double total;
      std::memcpy(&total, sums.totals + first + i, sizeof total);
      made[i] = How::join(total, made[i]);
    }
  }

  void hand_out(const Sums& sums, std::size_t first, std::size_t some, float* y) const {
    double made[columns_most];
    totals(sums, first, some, made);
    const auto count = static_cast<double>(sums.counts[first]);
    // Zeros have no sign, as where Reduce adds its shift.
    for (std::size_t i = 0; i < some; ++i) y[first + i] = static_cast<float>(how_.finish(made[i], count) + 0.0);
  }

  const KernelTable& table_;
  const NamedReduction& how_;
  bool single_;
  RunningArrays a_;
  std::size_t results_, terms_, slots_;
};

}  // namespace

std::unique_ptr<Step> running_step(const std::string& name, const RunningArrays& arrays, bool single) {
  const NamedReduction& how = reduction_named(name);
  switch (how.kind) {
    case Reduction::sum:
    case Reduction::sum_abs:
    case Reduction::sum_squares:
      return std::make_unique<Running<Add>>(how, arrays, single);
    case Reduction::product:
      return std::make_unique<Running<Multiply>>(how, arrays, single);
    case Reduction::max:
      return std::make_unique<Running<Greater>>(how, arrays, single);
    case Reduction::min:
      return std::make_unique<Running<Lesser>>(how, arrays, single);
    case Reduction::sum_exp:
      break;
  }
  throw std::invalid_argument("running: there is no " + name);
}

}  // namespace fusedlstm
