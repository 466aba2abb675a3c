// Element by element: y = f(a, b, ...), by a kernel where there is one and elements lie beside each other.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "../kernels/dispatch.hpp"
#include "operations.hpp"
#include "steps.hpp"

namespace fusedlstm {

namespace {

constexpr std::size_t gathered_most = 64;  // elements that kernels meet at once where they lie apart

template <std::size_t N>
class Map : public Step {
 public:
  Map(const Operation& operation, const std::vector<Tensor>& inputs, const Tensor& y, std::vector<double> more)
      : operation_(operation),
        kernel_(kernels().map[static_cast<std::size_t>(operation.kernel)]),
        y_(y),
        inputs_(inputs),
        more_(std::move(more)) {
    std::array<const View*, N + 1> views{&y_};
    sizes_[0] = size_of(y.element);
    for (std::size_t n = 0; n < N; ++n) {
      views[n + 1] = &inputs_[n];
      sizes_[n + 1] = size_of(inputs_[n].element);
    }
    walk_ = Walk<N + 1>(y.shape, views, sizes_);
  }

  void run(const Memory& memory, State*) const override {
    Pointers start{y_.template at<char>(memory)};
    for (std::size_t n = 0; n < N; ++n) start[n + 1] = inputs_[n].template at<char>(memory);
    walk_.each(start, [&](const Pointers& at, std::ptrdiff_t count, const Strides& strides) {
      if (operation_.plain == nullptr) return by_kernel(at, static_cast<std::size_t>(count), strides);
      Line line = {};
      for (std::size_t n = 0; n <= N; ++n) {
        line.at[n] = at[n];
        line.step[n] = strides[n];
      }
      line.count = count;
      operation_.plain(line, more_.data());
    });
  }

 private:
  using Pointers = typename Walk<N + 1>::Pointers;
  using Strides = typename Walk<N + 1>::Strides;

  bool beside(std::size_t n, const Strides& strides) const { return strides[n] == static_cast<std::ptrdiff_t>(sizes_[n]); }

  // Elements beside each other, or one for all; what lies otherwise is gathered, and so is the first input where all are one
  // for all.
  void by_kernel(Pointers at, std::size_t count, const Strides& strides) const {
    bool gathers[N + 1] = {!beside(0, strides)}, any = gathers[0], all_repeated = true;
    MapLine line = {at[0], {}, {}, count};
    for (std::size_t n = 1; n <= N; ++n) all_repeated = all_repeated && strides[n] == 0;
    for (std::size_t n = 1; n <= N; ++n) {
      const bool first_of_choice = operation_.kernel == MapKernel::choose && n == 1;
      const bool repeated = strides[n] == 0 && !(n == 1 && (all_repeated || first_of_choice));
      gathers[n] = !repeated && !beside(n, strides);
      any = any || gathers[n];
      line.inputs[place(n)] = at[n];
      line.repeated[place(n)] = repeated;
    }
    if (!any) return kernel_(line);
    alignas(cache_line) char own[N + 1][gathered_most * sizeof(float)];
    for (std::size_t first = 0; first < count; first += gathered_most) {
      const std::size_t some = std::min(gathered_most, count - first);
      line.count = some;
      for (std::size_t n = 1; n <= N; ++n) {
        char* const from = at[n] + static_cast<std::ptrdiff_t>(first) * strides[n];
        if (gathers[n]) move(own[n], static_cast<std::ptrdiff_t>(sizes_[n]), from, strides[n], {some, sizes_[n]});
        if (!line.repeated[place(n)]) line.inputs[place(n)] = gathers[n] ? own[n] : from;
      }
      char* const to = at[0] + static_cast<std::ptrdiff_t>(first) * strides[0];
      line.y = gathers[0] ? own[0] : to;
      kernel_(line);
      if (gathers[0]) move(to, strides[0], own[0], static_cast<std::ptrdiff_t>(sizes_[0]), {some, sizes_[0]});
    }
  }
  std::size_t place(std::size_t n) const { return operation_.turned ? N - n : n - 1; }

  struct Amount {
    std::size_t count, size;
  };
  static void move(char* to, std::ptrdiff_t to_step, const char* from, std::ptrdiff_t from_step, const Amount& amount) {
    for (std::size_t i = 0; i < amount.count; ++i, to += to_step, from += from_step) {
      if (amount.size == sizeof(float))
        std::memcpy(to, from, sizeof(float));
      else
        *to = *from;
    }
  }

  Operation operation_;
  MapFunction kernel_;
  Tensor y_;
  std::vector<Tensor> inputs_;
  std::array<std::size_t, N + 1> sizes_{};
  std::vector<double> more_;
  Walk<N + 1> walk_;
};

// A function of activations.inl.hpp or functions.inl.hpp.
class Activate : public Step {
 public:
  Activate(const Activation& activation, const Tensor& x, const Tensor& y)
      : table_(kernels()), activation_(activation), x_(x), y_(y), walk_(y.shape, {&y_, &x_}, {4, 4}) {}

  void run(const Memory& memory, State*) const override {
    walk_.each({y_.at<char>(memory), x_.at<char>(memory)}, [&](const auto& at, std::ptrdiff_t count, const auto& strides) {
      const std::size_t size = static_cast<std::size_t>(count);
      if (strides[0] == 4 && strides[1] == 4)
        return table_.activate(activation_, reinterpret_cast<const float*>(at[1]), reinterpret_cast<float*>(at[0]), size);
      float own[gathered_most];
      for (std::size_t first = 0; first < size; first += gathered_most) {
        const std::size_t some = std::min(gathered_most, size - first);
        const auto moved = [&](std::size_t n, std::size_t i) {
          return reinterpret_cast<float*>(at[n] + static_cast<std::ptrdiff_t>(first + i) * strides[n]);
        };
        for (std::size_t i = 0; i < some; ++i) own[i] = *moved(1, i);
        table_.activate(activation_, own, own, some);
        for (std::size_t i = 0; i < some; ++i) *moved(0, i) = own[i];
      }
    });
  }

 private:
  const KernelTable& table_;
  Activation activation_;
  Tensor x_, y_;
  Walk<2> walk_;
};

}  // namespace

// How an operation's results are held.
static Element result_of(const std::string& operation, const std::vector<Tensor>& inputs) {
  static const char* const truths[] = {"Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "And",
                                       "Or",   "Xor",         "Not",     "IsNaN",          "IsInf", "ToTruth"};
  for (const char* one : truths)
    if (operation == one) return Element::boolean;
  if (operation == "ToFloat") return Element::float32;
  if (operation == "ToWhole") return Element::int64;
  return inputs[operation == "Where" && inputs.size() == 3 ? 1 : 0].element;
}

std::unique_ptr<Step> map_step(const std::string& operation, const std::vector<Tensor>& inputs, const Tensor& y,
                               const std::vector<double>& more) {
  const auto letter = [](const Tensor& of) {
    return of.element == Element::float32 ? 'f' : of.element == Element::int64 ? 'i' : 'b';
  };
  std::string name = operation + "(";
  for (const Tensor& one : inputs) {
    if (one.shape != y.shape) throw std::invalid_argument(operation + ": expected inputs of the output's shape");
    name += letter(one);
  }
  name += ")";
  if (inputs.empty() || inputs.size() > 3 || y.element != result_of(operation, inputs))
    throw std::invalid_argument(name + ": expected another element of the output");
  const bool narrows = operation == "Narrow";
  const std::size_t needed = narrows || operation == "IsInf" || operation == "Shrink" ? 2 : operation == "ThresholdedRelu";
  if (more.size() < needed || (narrows && !(more[0] >= 1 && more[0] <= 64)))
    throw std::invalid_argument(name + ": expected other parameters");
  const Operation found = operation_named(name);
  if (inputs.size() == 1) return std::make_unique<Map<1>>(found, inputs, y, more);
  if (inputs.size() == 2) return std::make_unique<Map<2>>(found, inputs, y, more);
  return std::make_unique<Map<3>>(found, inputs, y, more);
}

std::unique_ptr<Step> activation_step(const Activation& activation, const Tensor& x, const Tensor& y) {
  if (x.shape != y.shape || x.element != Element::float32 || y.element != Element::float32)
    throw std::invalid_argument("expected floats of one shape");
  return std::make_unique<Activate>(activation, x, y);
}

}  // namespace fusedlstm
