// The bits of random models on every instruction set of this CPU, one line for each: what other processors must print too.
//
// Weights are whole multiples of a row's scale, so that every precision holds them exactly.
#include <cstdint>
#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

#include "../../csrc/engine/conv_lstm.hpp"
#include "../../csrc/engine/gru.hpp"
#include "../../csrc/engine/lstm.hpp"
#include "../../csrc/engine/stream.hpp"
#include "../../csrc/engine/threads.hpp"
#include "../../csrc/kernels/dispatch.hpp"
#include "random.hpp"
#include "steps.hpp"

using namespace fusedlstm;

namespace {

// Activations alone, as a ConvLSTM takes them.
Cell any_activations(Random& random) {
  Cell cell = {};
  cell.gate = random.one_in(2) ? Activation{Function::sigmoid, 1.0f, 1.0f} : any_activation(random);
  cell.candidate = any_activation(random);
  cell.output = any_activation(random);
  cell.gate_clip = cell.cell_clip = cell.projection_clip = none;
  return cell;
}

void add_any_cell(Random& random, Arrays& arrays, std::size_t hidden, DirectionArrays& to) {
  const auto limit = [&] { return random.one_in(2) ? none : 0.5f + random.within(0.25f); };
  Cell& cell = to.cell.emplace(any_activations(random));
  cell.coupled = static_cast<Coupled>(random.from_to(0, 2));
  cell.gate_clip = limit();
  cell.cell_clip = 4.0f * limit();
  cell.projection_clip = limit();
  cell.gate_norm = static_cast<GateNorm>(random.from_to(0, 2));
  cell.cell_norm = static_cast<CellNorm>(random.from_to(0, 2));
  cell.norm_epsilon = 1e-3f;
  cell.cell_zoneout = random.one_in(2) ? 0.0f : 0.25f;
  cell.hidden_zoneout = random.one_in(2) ? 0.0f : 0.125f;
  if (cell.gate_norm != GateNorm::none) to.norm_ih = arrays.vector(4 * hidden);
  if (cell.gate_norm == GateNorm::sides) to.norm_hh = arrays.vector(4 * hidden);
  to.peephole_i = arrays.maybe(hidden);
  to.peephole_f = arrays.maybe(hidden);
  to.peephole_o = arrays.maybe(hidden);
  if (cell.cell_norm != CellNorm::none) {
    to.norm_c = arrays.vector(hidden);
    to.norm_c_bias = arrays.maybe(hidden);
  }
}

struct Model {
  Shape shape;
  std::vector<DirectionArrays> directions;
};

Model any_model(Random& random, Arrays& arrays, std::size_t largest, bool plain, bool forward = false) {
  Model model;
  Shape& shape = model.shape;
  if (!forward) {
    shape.num_directions = random.from_to(1, 2);
    shape.merge = shape.num_directions == 2 ? static_cast<Merge>(random.from_to(0, 3)) : Merge::concat;
    shape.reverse = shape.num_directions == 1 && random.one_in(4);
  }
  std::size_t inputs = random.from_to(1, largest);
  for (std::size_t layer = 0, layers = random.from_to(1, 2); layer < layers; ++layer) {
    const std::size_t hidden = random.from_to(1, largest), outputs = random.one_in(3) ? random.from_to(1, hidden) : hidden;
    shape.layers.push_back({inputs, hidden, outputs, outputs < hidden, false});
    shape.layers.back().residual = inputs == shape.width(layer);
    for (std::size_t d = 0; d < shape.num_directions; ++d) {
      DirectionArrays one;
      one.weight_ih = arrays.matrix(4 * hidden, inputs);
      one.weight_hh = arrays.matrix(4 * hidden, outputs);
      one.bias = arrays.maybe(4 * hidden);
      if (outputs < hidden) one.weight_hr = arrays.matrix(outputs, hidden);
      if (outputs < hidden) one.bias_hr = arrays.maybe(outputs);
      one.h_0 = arrays.maybe(outputs);
      one.c_0 = arrays.maybe(hidden);
      if (!plain) add_any_cell(random, arrays, hidden, one);
      model.directions.push_back(one);
    }
    inputs = shape.width(layer);
  }
  return model;
}

// `seed` gives the same model and input to every precision and instruction set.
std::uint64_t lstm(std::uint64_t seed, Precision precision, bool plain) {
  Random random(seed);
  Arrays arrays(random);
  Model model = any_model(random, arrays, seed % 4 == 0 ? 600 : 70, plain);
  model.shape.precision = precision;
  const Lstm engine(model.shape, model.directions);
  Call call = {};
  call.batch = random.from_to(1, 14);
  call.time = random.from_to(1, seed % 4 == 0 ? 4 : 12);
  const std::size_t inputs = engine.input_size(), outputs = model.shape.output_size();
  const std::vector<float> x = numbers(random, call.batch * call.time * inputs, 2.0f);
  std::vector<float> y(call.batch * call.time * outputs), states[4];
  std::vector<std::int64_t> lengths(call.batch);
  for (std::int64_t& length : lengths) length = static_cast<std::int64_t>(random.from_to(0, call.time));
  for (const LayerShape& layer : model.shape.layers)
    for (std::size_t i = 0; i < 4; ++i) {
      const std::size_t size =
          model.shape.num_directions * call.batch * (i % 2 == 0 ? layer.output_size : layer.hidden_size);
      for (std::size_t k = 0; k < size; ++k) states[i].push_back(i < 2 ? random.within(1.0f) : 0.0f);
    }
  const auto along_time = [&](const std::vector<float>& values, std::size_t features) {
    return sequence(values.data(), static_cast<std::ptrdiff_t>(call.time * features), static_cast<std::ptrdiff_t>(features));
  };
  call.x = along_time(x, inputs);
  call.y = along_time(y, outputs);
  if (random.one_in(2)) call.h_0 = states[0].data(), call.c_0 = states[1].data();
  call.h_n = states[2].data();
  call.c_n = states[3].data();
  if (random.one_in(2)) call.lengths = lengths.data();
  engine.run(call);
  Hash hash;
  for (const std::vector<float>& values : {y, states[2], states[3]}) hash.add(values);
  return hash.value();
}

// Steps, chunks, rows that sit out, states put back and rows that start again.
std::uint64_t stream(std::uint64_t seed, Precision precision) {
  Random random(seed);
  Arrays arrays(random);
  Model model = any_model(random, arrays, 70, random.one_in(2), true);
  model.shape.precision = precision;
  const Lstm engine(model.shape, model.directions);
  const std::size_t batch = random.from_to(1, 5), inputs = engine.input_size(), outputs = model.shape.output_size();
  Stream stream(engine, batch);
  std::vector<float> states(batch * engine.state_size());
  Hash hash;
  for (std::size_t turn = 0; turn < 6; ++turn) {
    const std::size_t time = turn % 2 == 0 ? 1 : random.from_to(1, 9);
    const std::vector<float> x = numbers(random, batch * time * inputs, 2.0f);
    std::vector<float> y(batch * time * outputs);
    std::vector<unsigned char> some(batch);
    for (unsigned char& one : some) one = static_cast<unsigned char>(random.from_to(0, 1));
    const auto along_time = [&](const std::vector<float>& values, std::size_t features) {
      return sequence(values.data(), static_cast<std::ptrdiff_t>(time * features), static_cast<std::ptrdiff_t>(features));
    };
    if (time == 1)
      stream.step(x.data(), y.data(), some.data());
    else
      stream.process(time, along_time(x, inputs), along_time(y, outputs));
    hash.add(y);
    if (turn == 2) stream.get_state(states.data());
    if (turn == 3) stream.set_state(states.data());
    if (turn == 4) stream.reset(some.data());
  }
  stream.get_state(states.data());
  hash.add(states);
  return hash.value();
}

// A GRU of either kind, or a plain RNN.
std::uint64_t gru(std::uint64_t seed, Precision precision) {
  Random random(seed);
  Arrays arrays(random);
  const std::size_t inputs = random.from_to(1, 70), hidden = random.from_to(1, 70);
  GruShape shape = {static_cast<GruKind>(seed % 3), inputs, hidden, {Function::sigmoid, 1.0f, 1.0f}, {}, none, precision};
  shape.candidate = {Function::tanh, 1.0f, 1.0f};
  if (random.one_in(3)) {
    shape.gate = any_activation(random);
    shape.candidate = any_activation(random);
    shape.clip = 0.5f + random.within(0.25f);
  }
  const std::size_t gates = shape.gates() * hidden;
  const float *const weight_ih = arrays.matrix(gates, inputs), *const weight_hh = arrays.matrix(gates, hidden);
  const Gru engine(shape, {weight_ih, weight_hh, arrays.maybe(gates), arrays.maybe(gates)});
  GruCall call = {};
  call.batch = random.from_to(1, 9);
  call.time = random.from_to(1, 9);
  const std::vector<float> x = numbers(random, call.batch * call.time * inputs, 2.0f);
  std::vector<float> y(call.batch * call.time * hidden), h_n(call.batch * hidden);
  std::vector<std::int64_t> lengths(call.batch);
  for (std::int64_t& length : lengths) length = static_cast<std::int64_t>(random.from_to(0, call.time));
  const auto along_time = [&](const std::vector<float>& values, std::size_t features) {
    return sequence(values.data(), static_cast<std::ptrdiff_t>(call.time * features), static_cast<std::ptrdiff_t>(features));
  };
  call.x = along_time(x, inputs);
  call.y = along_time(y, hidden);
  if (random.one_in(2)) call.h_0 = arrays.vector(call.batch * hidden);
  call.h_0_row = call.h_n_row = static_cast<std::ptrdiff_t>(hidden);
  call.h_n = h_n.data();
  if (random.one_in(2)) call.lengths = lengths.data();
  call.backward = random.one_in(2);
  const Buffer scratch(engine.scratch(call.batch, call.time) + cache_line);
  const unsigned long long before = kernels().enter_flush_to_zero();
  engine.run(call, scratch.chars());
  kernels().leave_flush_to_zero(before);
  Hash hash;
  hash.add(y);
  hash.add(h_n);
  return hash.value();
}

std::uint64_t conv_lstm(std::uint64_t seed) {
  Random random(seed);
  Arrays arrays(random);
  ConvArrays conv = {};
  conv.channels = random.from_to(1, 5);
  conv.filters = random.from_to(1, 20);
  std::size_t input_window = conv.channels, recurrent_window = conv.filters;
  Call call = {};
  call.batch = random.from_to(1, 3);
  call.time = random.from_to(1, 4);
  std::size_t frame = call.batch, positions = call.batch;
  const bool same = random.one_in(2);
  for (std::size_t axis = 0; axis < 2; ++axis) {
    conv.input[axis] = {random.from_to(1, 3), random.from_to(1, 2), random.from_to(1, 2), same};
    conv.recurrent[axis] = {random.from_to(1, 3), 1, 1, true};
    input_window *= conv.input[axis].kernel;
    recurrent_window *= conv.recurrent[axis].kernel;
    call.size[axis] = random.from_to(6, 9);
    frame *= call.size[axis];
    positions *= conv.input[axis].outputs(call.size[axis]);
  }
  conv.weight_ih = arrays.matrix(4 * conv.filters, input_window);
  conv.weight_hh = arrays.matrix(4 * conv.filters, recurrent_window);
  conv.bias = arrays.maybe(4 * conv.filters);
  if (random.one_in(2)) conv.cell = any_activations(random);
  const ConvLstm engine(conv);
  std::vector<float> x = numbers(random, frame * call.time * conv.channels, 1.0f);
  std::vector<float> results[3] = {std::vector<float>(positions * call.time * conv.filters),
                                   std::vector<float>(positions * conv.filters),
                                   std::vector<float>(positions * conv.filters)};
  const auto frames = [&](std::vector<float>& values, std::size_t height, std::size_t width, std::size_t channels) {
    const auto step = [](std::size_t floats) { return static_cast<std::ptrdiff_t>(floats); };
    const std::size_t one = height * width * channels;
    return Sequence{values.data(), step(call.time * one), step(one), {step(width * channels), step(channels)}, 1};
  };
  call.x = frames(x, call.size[0], call.size[1], conv.channels);
  call.y = frames(results[0], conv.input[0].outputs(call.size[0]), conv.input[1].outputs(call.size[1]), conv.filters);
  call.h_n = results[1].data();
  call.c_n = results[2].data();
  engine.run(call);
  Hash hash;
  for (const std::vector<float>& values : results) hash.add(values);
  return hash.value();
}

std::uint64_t function(const Activation& activation) {
  const bool cell_itself = activation.function == Function::sigmoid || activation.function == Function::tanh;
  // Further out, exponentials leave the normal numbers: of x, of x^2 / 2, of x^3.
  const bool gelu = activation.function == Function::gelu || activation.function == Function::gelu_tanh;
  Random random(1);
  std::vector<float> x(cell_itself ? 200003 : 20011), y(x.size());
  for (float& value : x) value = random.any_float(gelu ? 9.0f : 80.0f);
  const unsigned long long before = kernels().enter_flush_to_zero();
  kernels().activate(activation, x.data(), y.data(), x.size());
  kernels().leave_flush_to_zero(before);
  Hash hash;
  hash.add(y);
  return hash.value();
}

}  // namespace

int main() {
  for (const KernelTable* table : available_kernels()) {
    use_kernels(table->name);
    const auto print = [&](const char* what, std::size_t number, std::size_t variant, std::uint64_t hash) {
      std::printf("%s %s %zu %zu %016llx\n", table->name, what, number, variant, static_cast<unsigned long long>(hash));
    };
    for (std::size_t seed = 0; seed < 24; ++seed) {
      set_num_threads(1 + seed % 3);
      for (std::size_t precision = 0; precision < precisions; ++precision) {
        print("lstm", seed, precision, lstm(seed, static_cast<Precision>(precision), true));
        print("variant", seed, precision, lstm(seed, static_cast<Precision>(precision), false));
        print("stream", seed, precision, stream(seed, static_cast<Precision>(precision)));
        print("gru", seed, precision, gru(seed, static_cast<Precision>(precision)));
        print("product", seed, precision, product_bits(seed, static_cast<Precision>(precision)));
      }
      print("conv", seed, 0, conv_lstm(seed));
      std::size_t which = 0;
      for (const std::uint64_t hash : steps_bits(seed)) print("step", seed, which++, hash);
    }
    for (std::size_t which = 0; which <= static_cast<std::size_t>(Function::thresholded_relu); ++which)
      print("function", which, 0, function({static_cast<Function>(which), 0.75f, 0.5f}));
  }
}
