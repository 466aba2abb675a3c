// Steps of programs: each family on random shapes, its tensors laid out at random in memory.
#include "steps.hpp"

#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "../../csrc/kernels/dispatch.hpp"
#include "../../csrc/program/steps.hpp"
#include "random.hpp"

namespace fusedlstm {

namespace {

using Sizes = std::vector<std::ptrdiff_t>;
using Tensors = std::vector<Tensor>;
constexpr Activation relu = {Function::relu, 1.0f, 1.0f}, tanh_itself = {Function::tanh, 1.0f, 1.0f};

// The tensors of one step, and a run of it.
class Trial {
 public:
  explicit Trial(Random& random) : random_(random), arrays_(random) {}

  std::ptrdiff_t size(std::size_t most) { return static_cast<std::ptrdiff_t>(random_.from_to(1, most)); }
  Random& random() { return random_; }
  Arrays& arrays() { return arrays_; }

  // `kept`: axes at the end that lie as they are; the others in any order.
  Tensor result(const Sizes& shape, Element element = Element::float32, std::size_t kept = 0) {
    Tensor tensor;
    tensor.base = 1 + memory_.size();
    tensor.shape = shape;
    tensor.strides.resize(shape.size());
    tensor.element = element;
    std::vector<std::size_t> axes(shape.size());
    std::iota(axes.begin(), axes.end(), std::size_t{0});
    for (std::size_t left = axes.size() - kept; left > 1; --left)
      std::swap(axes[left - 1], axes[random_.from_to(0, left - 1)]);
    std::ptrdiff_t step = 1;
    for (std::size_t n = axes.size(); n-- > 0; step *= shape[axes[n]]) tensor.strides[axes[n]] = step;
    memory_.push_back(std::vector<std::int64_t>((tensor.size() * size_of(element) + 7) / 8));
    return tensor;
  }
  Tensor floats(const Sizes& shape, float limit, std::size_t kept = 0) {
    const Tensor tensor = result(shape, Element::float32, kept);
    float* const at = reinterpret_cast<float*>(memory_.back().data());
    for (std::size_t i = 0; i < tensor.size(); ++i) at[i] = random_.within(limit);
    return tensor;
  }
  Tensor positive(const Sizes& shape) {
    const Tensor tensor = floats(shape, 1.0f);
    float* const at = reinterpret_cast<float*>(memory_.back().data());
    for (std::size_t i = 0; i < tensor.size(); ++i) at[i] = 1.5f + at[i];
    return tensor;
  }
  Tensor wholes(const Sizes& shape, std::ptrdiff_t low, std::ptrdiff_t high, std::size_t kept = 0) {
    const Tensor tensor = result(shape, Element::int64, kept);
    for (std::int64_t& one : memory_.back()) one = low + static_cast<std::ptrdiff_t>(random_.from_to(0, high - low));
    return tensor;
  }
  Tensor truths(const Sizes& shape) {
    const Tensor tensor = result(shape, Element::boolean);
    unsigned char* const at = reinterpret_cast<unsigned char*>(memory_.back().data());
    for (std::size_t i = 0; i < tensor.size(); ++i) at[i] = static_cast<unsigned char>(random_.from_to(0, 1));
    return tensor;
  }

  // A step of tensors, which are made in the order in which they stand; all of them are hashed afterwards.
  template <class Make>
  void run(const Tensors& tensors, Make make) {
    Program program(0, memory_.size(), 0, {}, 1);
    program.add(make(tensors));
    std::vector<void*> memory;
    for (std::vector<std::int64_t>& one : memory_) memory.push_back(one.data());
    const Program::Fault fault = program.run(*program.take(), memory);
    hash_.add(static_cast<unsigned char>(fault.what != nullptr));
    for (std::size_t n = 0; n < tensors.size(); ++n) {
      if (tensors[n].element == Element::float32)
        add<float>(memory_[n], tensors[n].size());
      else if (tensors[n].element == Element::int64)
        add<std::int64_t>(memory_[n], tensors[n].size());
      else
        add<unsigned char>(memory_[n], tensors[n].size());
    }
    memory_.clear();
  }
  std::uint64_t hash() const { return hash_.value(); }

 private:
  template <class T>
  void add(const std::vector<std::int64_t>& memory, std::size_t size) {
    std::vector<T> values(size);
    if (size > 0) std::memcpy(values.data(), memory.data(), size * sizeof(T));
    hash_.add(values);
  }

  Random& random_;
  Arrays arrays_;
  Hash hash_;
  std::vector<std::vector<std::int64_t>> memory_;  // of the next step's tensors
};

struct Slides {
  std::vector<Sliding> axes;
  Sizes outputs;
};
Slides any_windows(Trial& t, const Sizes& spatial) {
  Slides found;
  for (const std::ptrdiff_t length : spatial) {
    const Sliding one = {t.size(4), t.size(2), t.size(2), t.size(3) - 1, 1};
    found.axes.push_back(one);
    const std::ptrdiff_t room = length + 2 * one.before - (one.kernel - 1) * one.dilation - 1;
    found.outputs.push_back(room < 0 ? 1 : room / one.stride + 1);
  }
  return found;
}
Sizes around(std::ptrdiff_t batch, Sizes spatial, std::ptrdiff_t channels) {
  spatial.insert(spatial.begin(), batch);
  spatial.push_back(channels);
  return spatial;
}
Sizes any_space(Trial& t) {
  Sizes spatial(t.random().from_to(1, 2));
  for (std::ptrdiff_t& length : spatial) length = 5 + t.size(14);
  return spatial;
}

void maps(Trial& t) {
  const Sizes shape = {t.size(3), t.size(40), t.size(40)};
  const auto of_two = [&](const char* name, Element element) {
    t.run({t.floats(shape, 2.0f), t.floats(shape, 2.0f), t.result(shape, element)},
          [&](const Tensors& a) { return map_step(name, {a[0], a[1]}, a[2], {}); });
  };
  for (const char* name : {"Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu", "Mod"}) of_two(name, Element::float32);
  for (const char* name : {"Less", "LessOrEqual", "Greater", "Equal"}) of_two(name, Element::boolean);
  for (const char* name : {"Neg", "Abs", "Square", "Floor", "Ceil", "Round", "Erf", "Mish"})
    t.run({t.floats(shape, 4.0f), t.result(shape)}, [&](const Tensors& a) { return map_step(name, {a[0]}, a[1], {}); });
  for (const char* name : {"Sqrt", "Reciprocal", "Log"})
    t.run({t.positive(shape), t.result(shape)}, [&](const Tensors& a) { return map_step(name, {a[0]}, a[1], {}); });
  t.run({t.floats(shape, 2.0f), t.floats(shape, 2.0f), t.floats(shape, 2.0f), t.result(shape)},
        [](const Tensors& a) { return map_step("MultiplyAdd", {a[0], a[1], a[2]}, a[3], {}); });
  t.run({t.truths(shape), t.floats(shape, 2.0f), t.floats(shape, 2.0f), t.result(shape)},
        [](const Tensors& a) { return map_step("Where", {a[0], a[1], a[2]}, a[3], {}); });
  t.run({t.floats(shape, 90.0f), t.result(shape, Element::int64)},
        [](const Tensors& a) { return map_step("ToWhole", {a[0]}, a[1], {}); });
  t.run({t.floats(shape, 4.0f), t.result(shape)},
        [&](const Tensors& a) { return activation_step(any_activation(t.random()), a[0], a[1]); });
}

void reductions(Trial& t) {
  const Sizes shape = {t.size(6), t.size(9), t.size(2100)};
  const std::size_t along = t.random().from_to(1, 2);
  const bool last = t.random().one_in(2);
  for (const char* name : {"Sum", "Mean", "Max", "Min", "L1", "L2", "SumSquare", "LogSumExp"})
    t.run({t.floats(shape, 2.0f), t.result({shape.begin(), shape.end() - static_cast<int>(along)})},
          [&](const Tensors& a) { return reduce_step(name, a[0], a[1], along); });
  t.run({t.floats(shape, 2.0f), t.result({shape[0], shape[1]}, Element::int64)},
        [&](const Tensors& a) { return arg_step(a[0], a[1], true, last); });
  for (const char* kind : {"Softmax", "LogSoftmax", "Hardmax"})
    t.run({t.floats(shape, 4.0f), t.result(shape)}, [&](const Tensors& a) { return softmax_step(kind, a[0], a[1]); });
  t.run({t.floats(shape, 2.0f), t.result(shape), t.floats({shape[2]}, 1.0f), t.floats({shape[2]}, 1.0f)},
        [&](const Tensors& a) {
          return normalise_step(a[0], a[1], 1, {a[2], a[3], std::nullopt, std::nullopt, 1e-3f, 0.0f, last});
        });
}

void pools(Trial& t) {
  const Sizes spatial = any_space(t);
  const std::ptrdiff_t batch = t.size(2), channels = t.size(20);
  for (const Pooled kind : {Pooled::largest, Pooled::average, Pooled::norm}) {
    const Slides windows = any_windows(t, spatial);
    Pooling how;
    how.kind = kind;
    how.axes = windows.axes;
    how.counted.resize(spatial.size());
    t.run({t.floats(around(batch, spatial, channels), 2.0f), t.result(around(batch, windows.outputs, channels))},
          [&](const Tensors& a) { return pool_step(how, a[0], a[1]); });
  }
}

void channels(Trial& t) {
  const Sizes spatial = any_space(t);
  const Slides windows = any_windows(t, spatial);
  const std::ptrdiff_t batch = t.size(2), beside = t.size(3), outputs = t.size(40);
  auto weights = std::make_shared<ChannelWeights>();
  weights->count = static_cast<std::size_t>(beside);
  for (const Sliding& one : windows.axes) weights->count *= static_cast<std::size_t>(one.kernel);
  weights->outputs = static_cast<std::size_t>(outputs);
  weights->matrix = Buffer(weights->count * weights->outputs * sizeof(float));
  weights->bias = Buffer(weights->outputs * sizeof(float));
  for (const Buffer* one : {&weights->matrix, &weights->bias})
    std::memcpy(one->chars(), t.arrays().vector(one->bytes() / sizeof(float)), one->bytes());
  Sizes from = around(batch, spatial, beside);
  from.push_back(outputs);
  t.run({t.floats(from, 2.0f, from.size()), t.result(around(batch, windows.outputs, outputs))},
        [&](const Tensors& a) { return channels_step(weights, a[0], a[1], {windows.axes, Edge::zeros}, relu); });
}

void moves(Trial& t) {
  const Sizes shape = {t.size(5), t.size(9), t.size(20)}, wider = {shape[0] + 2, shape[1], shape[2] + 5};
  const bool choice = t.random().one_in(2);
  t.run({t.floats(shape, 2.0f), t.result(shape)}, [](const Tensors& a) { return copy_step(a[0], a[1]); });
  for (const Edge edge : {Edge::zeros, Edge::reflect, Edge::nearest, Edge::wrap})
    t.run({t.floats(shape, 2.0f), t.result(wider)},
          [&](const Tensors& a) { return pad_step(a[0], a[1], {1, 0, 3}, edge, std::nullopt); });
  t.run({t.floats(shape, 2.0f), t.result(shape)},
        [&](const Tensors& a) { return triangle_step(a[0], a[1], std::nullopt, choice); });
  t.run({t.floats(shape, 2.0f), t.result(shape), t.wholes({shape[0]}, 0, shape[1])},
        [](const Tensors& a) { return turn_step(a[0], a[1], a[2]); });
  t.run({t.floats(shape, 1.0f), t.result(shape)},
        [&](const Tensors& a) { return scan_step(a[0], a[1], {t.random().from_to(0, 2), choice, false, true}); });
  const Sizes line = {shape[0], 1, shape[2]};
  t.run({t.floats(shape, 1.0f), t.result(shape), t.wholes(line, 0, 0), t.result(line, Element::int64)},
        [&](const Tensors& a) { return scan_step(a[0], a[1], {1, choice, choice, false}, ScanTotals{a[2], a[3]}); });
  const Sizes top = {shape[0], shape[1], t.size(static_cast<std::size_t>(shape[2]))};
  t.run({t.floats(shape, 2.0f), t.result(top), t.result(top, Element::int64)},
        [&](const Tensors& a) { return top_step(a[0], {a[1], a[2], 2, choice}); });
  t.run({t.floats({30, 7}, 2.0f), t.wholes({shape[2]}, -30, 29), t.result({shape[2], 7})},
        [](const Tensors& a) { return take_step(a[0], a[1], a[2], {{0}, {-1, 1}}); });
  t.run({t.wholes({shape[2]}, -30, 29), t.floats({shape[2], 7}, 2.0f), t.floats({30, 7}, 1.0f)},
        [](const Tensors& a) { return put_step(a[0], a[1], a[2], {{0}, {-1, 1}}, "add"); });
  Taps taps = {2, {}, {}};
  for (std::ptrdiff_t k = 0; k < 2 * wider[2]; ++k) {
    taps.places.push_back(t.size(static_cast<std::size_t>(shape[2])) - 1);
    taps.weights.push_back(t.random().within(1.0f));
  }
  t.run({t.floats(shape, 2.0f), t.result({shape[0], shape[1], wider[2]})},
        [&](const Tensors& a) { return resample_step(a[0], a[1], 2, taps); });
}

void whole_numbers(Trial& t) {
  const Sizes shape = {t.size(9), t.size(30)};
  const std::ptrdiff_t inputs = t.size(70);
  const Element whole = Element::int64;
  t.run({t.result(shape, whole), t.floats(shape, 9.0f), t.positive(shape), t.wholes(shape, -9, 9)},
        [](const Tensors& a) { return quantise_step({a[0], a[1], a[2], a[3]}, -128, 127); });
  t.run({t.result(shape), t.wholes(shape, -128, 127), t.wholes(shape, -9, 9), t.positive(shape)},
        [](const Tensors& a) { return dequantise_step({a[0], a[1], a[2], a[3]}); });
  t.run({t.result(shape, whole), t.wholes(shape, -9999, 9999), t.positive(shape), t.positive(shape), t.positive({1}),
         t.wholes({1}, 0, 255)},
        [](const Tensors& a) { return requantise_step(a[0], {a[1], a[2], a[3], a[4], a[5]}, 0, 255); });
  t.run({t.floats(shape, 3.0f), t.result(shape, whole), t.result({1}), t.result({1}, whole)},
        [](const Tensors& a) { return dynamic_step(a[0], a[1], a[2], a[3]); });
  t.run({t.wholes({2, shape[0], inputs}, -128, 127), t.wholes({2, inputs, shape[1]}, -128, 127),
         t.result({2, shape[0], shape[1]}, whole)},
        [](const Tensors& a) { return matmul_step({a[0], a[1], a[2]}); });
}

void products_of_both(Trial& t) {
  const std::ptrdiff_t rows = t.size(20), inputs = t.size(150), outputs = t.size(90);
  t.run({t.floats({2, rows, inputs}, 1.0f), t.floats({2, inputs, outputs}, 1.0f), t.result({2, rows, outputs})},
        [](const Tensors& a) { return matmul_step({a[0], a[1], a[2]}); });
}

}  // namespace

std::uint64_t product_bits(std::uint64_t seed, Precision precision) {
  Random random(seed);
  Trial t(random);
  const bool slides = seed % 2 == 1;
  const Sizes spatial = any_space(t);
  const Slides windows = slides ? any_windows(t, spatial) : Slides{{}, spatial};
  const std::ptrdiff_t batch = t.size(2), seen = t.size(slides ? 40 : 300), made = t.size(150);
  std::ptrdiff_t inputs = seen;
  for (const Sliding& one : windows.axes) inputs *= one.kernel;
  const std::size_t rows = static_cast<std::size_t>(made), columns = static_cast<std::size_t>(inputs);
  const float *const matrix = t.arrays().matrix(rows, columns), *const bias = t.arrays().maybe(rows);
  const auto weights = pack_weights(matrix, bias, rows, columns, precision);
  const auto edge = static_cast<Edge>(random.from_to(0, 3));
  const std::optional<Windowing> how = slides ? std::optional<Windowing>({windows.axes, edge}) : std::nullopt;
  const std::optional<Activation> after = random.one_in(2) ? std::optional<Activation>(tanh_itself) : std::nullopt;
  t.run({t.floats(around(batch, spatial, seen), 2.0f), t.result(around(batch, windows.outputs, made))},
        [&](const Tensors& a) { return product_step(weights, a[0], a[1], how, after); });
  const std::ptrdiff_t length = t.size(20), channels = t.size(20);
  const Sliding over = {t.size(4), t.size(3), t.size(2), t.size(2) - 1, 1};
  t.run({t.floats({batch, length, over.kernel * channels}, 2.0f, 1),
         t.result({batch, length * over.stride + 3, channels}, Element::float32, 1), t.floats({channels}, 1.0f)},
        [&](const Tensors& a) { return overlap_step(a[0], a[1], a[2], {over}); });
  return t.hash();
}

std::vector<std::uint64_t> steps_bits(std::uint64_t seed) {
  std::vector<std::uint64_t> found;
  for (const auto some : {maps, reductions, pools, channels, moves, whole_numbers, products_of_both}) {
    Random random(1000 * seed + found.size());
    Trial trial(random);
    some(trial);
    found.push_back(trial.hash());
  }
  return found;
}

}  // namespace fusedlstm
