// Element by element: y = f(a, b, ...), by a kernel where there is one and elements lie beside each other.
#include <array>
#include <utility>

#include "../kernels/dispatch.hpp"
#include "operations.hpp"
#include "steps.hpp"

namespace fusedlstm {

namespace {

template <std::size_t N>
class Map : public Step {
 public:
  Map(const Operation& operation, const std::vector<Tensor>& inputs, const Tensor& y, std::vector<double> more)
      : operation_(operation),
        kernel_(operation.kernel ? kernels().map[static_cast<std::size_t>(*operation.kernel)] : nullptr),
        y_(y),
        inputs_(inputs),
        more_(std::move(more)) {
    std::array<const View*, N + 1> views{&y_};
    std::array<std::size_t, N + 1> sizes{size_of(y.element)};
    for (std::size_t n = 0; n < N; ++n) {
      views[n + 1] = &inputs_[n];
      sizes[n + 1] = size_of(inputs_[n].element);
      input_size_[n] = static_cast<std::ptrdiff_t>(sizes[n + 1]);
    }
    walk_ = Walk<N + 1>(y.shape, views, sizes);
  }

  void run(const Memory& memory, State*) const override {
    typename Walk<N + 1>::Pointers start{y_.template at<char>(memory)};
    for (std::size_t n = 0; n < N; ++n) start[n + 1] = inputs_[n].template at<char>(memory);
    walk_.each(start, [&](const auto& at, std::ptrdiff_t count, const auto& strides) {
      if (kernel_ != nullptr && by_kernel(at, count, strides)) return;
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
  // Whether elements lie beside each other, or one is for all; not where all inputs are.
  template <class Pointers, class Strides>
  bool by_kernel(const Pointers& at, std::ptrdiff_t count, const Strides& strides) const {
    if (strides[0] != static_cast<std::ptrdiff_t>(size_of(y_.element))) return false;
    MapLine line = {at[0], {}, {}, static_cast<std::size_t>(count)};
    bool all_repeated = true;
    for (std::size_t n = 0; n < N; ++n) {
      const std::size_t to = operation_.turned ? N - 1 - n : n;
      line.inputs[to] = at[n + 1];
      line.repeated[to] = strides[n + 1] == 0;
      all_repeated = all_repeated && line.repeated[to];
      if (!line.repeated[to] && strides[n + 1] != input_size_[n]) return false;
    }
    if (all_repeated || (operation_.kernel == MapKernel::choose && line.repeated[0])) return false;
    kernel_(line);
    return true;
  }

  Operation operation_;
  MapFunction kernel_;
  Tensor y_;
  std::vector<Tensor> inputs_;
  std::array<std::ptrdiff_t, N> input_size_{};
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
      if (strides[0] == 4 && strides[1] == 4) {
        table_.activate(activation_, reinterpret_cast<const float*>(at[1]), reinterpret_cast<float*>(at[0]),
                        static_cast<std::size_t>(count));
        return;
      }
      for (std::ptrdiff_t i = 0; i < count; ++i)
        table_.activate(activation_, reinterpret_cast<const float*>(at[1] + i * strides[1]),
                        reinterpret_cast<float*>(at[0] + i * strides[0]), 1);
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
