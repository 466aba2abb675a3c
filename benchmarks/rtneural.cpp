// What RTNeural takes for a step, one sample a call, sizes fixed at compile time: built and run by rtneural.py. Prints a
// line for each size: its case, and the nanoseconds a step of the fastest of many short runs.
#include <RTNeural/RTNeural.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <random>
#include <vector>

namespace {

constexpr int steps = 200;  // in a run

std::vector<std::vector<float>> random(std::mt19937& from, std::size_t rows, std::size_t columns, float limit) {
  std::uniform_real_distribution<float> any(-limit, limit);
  std::vector<std::vector<float>> found(rows, std::vector<float>(columns));
  for (auto& row : found)
    for (float& value : row) value = any(from);
  return found;
}

template <int inputs, int units>
double nanoseconds(double seconds) {
  using Clock = std::chrono::steady_clock;
  std::mt19937 from(1);
  RTNeural::ModelT<float, inputs, units, RTNeural::LSTMLayerT<float, inputs, units>> model;
  auto& layer = model.template get<0>();
  const float limit = 1.0f / std::sqrt(static_cast<float>(units));
  layer.setWVals(random(from, inputs, 4 * units, limit));
  layer.setUVals(random(from, units, 4 * units, limit));
  layer.setBVals(random(from, 1, 4 * units, limit)[0]);
  model.reset();
  alignas(64) float x[inputs == 1 ? 16 : inputs] = {};
  const auto samples = random(from, steps, inputs, 1.0f);
  double best = std::numeric_limits<double>::max();
  volatile float kept = 0.0f;
  for (const Clock::time_point stop =
           Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
       Clock::now() < stop;) {
    const Clock::time_point before = Clock::now();
    for (const auto& sample : samples) {
      std::copy(sample.begin(), sample.end(), x);
      kept = model.forward(x);
    }
    best = std::min(best, std::chrono::duration<double, std::nano>(Clock::now() - before).count() / steps);
  }
  return best;
}

}  // namespace

int main() {
  constexpr double seconds = 1.0;
  std::printf("block1_16 %.1f\n", nanoseconds<1, 16>(seconds));
  std::printf("block1_40 %.1f\n", nanoseconds<1, 40>(seconds));
  std::printf("block1_64 %.1f\n", nanoseconds<1, 64>(seconds));
  std::printf("block64_64 %.1f\n", nanoseconds<64, 64>(seconds));
  std::printf("block128_128 %.1f\n", nanoseconds<128, 128>(seconds));
}
