// Random numbers, models' arrays and hashes that are the same on every processor: nothing of the standard library's
// distributions or functions, which differ.
#pragma once
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <vector>

#include "../../csrc/kernels/table.hpp"

namespace fusedlstm {

constexpr float none = std::numeric_limits<float>::infinity();

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t word() {  // splitmix64
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  std::size_t from_to(std::size_t first, std::size_t last) {
    return first + static_cast<std::size_t>(word() % (last - first + 1));
  }
  bool one_in(std::size_t count) { return word() % count == 0; }
  float within(float limit) { return (static_cast<float>(word() % 16777217) / 8388608.0f - 1.0f) * limit; }
  // Any float from 1e-30 to the limit, or below zero.
  float any_float(float limit) {
    for (;;) {
      const std::uint32_t bits = static_cast<std::uint32_t>(word());
      float value;
      std::memcpy(&value, &bits, sizeof value);
      const float magnitude = value < 0.0f ? -value : value;
      if (magnitude > 1e-30f && magnitude < limit) return value;
    }
  }

 private:
  std::uint64_t state_;
};

// Numbers up to the smallest normal one count as zero and NaN is one number, since CPUs differ there (docs/numerics.md).
class Hash {
 public:
  void add(float value) {
    const float magnitude = value < 0.0f ? -value : value;
    std::uint32_t bits = 0;
    if (value != value)
      bits = 0x7fc00000u;
    else if (magnitude > std::numeric_limits<float>::min())
      std::memcpy(&bits, &value, sizeof bits);
    add_bytes(bits, sizeof bits);
  }
  void add(std::int64_t value) { add_bytes(static_cast<std::uint64_t>(value), sizeof value); }
  void add(unsigned char value) { add_bytes(value, 1); }
  template <class T>
  void add(const std::vector<T>& values) {
    for (const T value : values) add(value);
  }
  std::uint64_t value() const { return state_; }

 private:
  void add_bytes(std::uint64_t word, std::size_t bytes) {  // FNV-1a
    for (std::size_t byte = 0; byte < bytes; ++byte) state_ = (state_ ^ (word >> 8 * byte & 0xffu)) * 0x100000001b3u;
  }

  std::uint64_t state_ = 0xcbf29ce484222325u;
};

// Arrays that stay where they are.
class Arrays {
 public:
  explicit Arrays(Random& random) : random_(random) {}
  const float* matrix(std::size_t rows, std::size_t inputs) {
    float scale = 1.0f / 128.0f;
    for (std::size_t k = inputs; k > 4; k /= 4) scale /= 2.0f;
    std::vector<float>& values = all_.emplace_back(rows * inputs);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = scale * (i % inputs == 0 ? 127.0f : static_cast<float>(random_.from_to(0, 254)) - 127.0f);
    return values.data();
  }
  const float* vector(std::size_t size) {
    std::vector<float>& values = all_.emplace_back(size);
    for (float& value : values) value = random_.within(1.0f);
    return values.data();
  }
  const float* maybe(std::size_t size) { return random_.one_in(2) ? vector(size) : nullptr; }

 private:
  Random& random_;
  std::deque<std::vector<float>> all_;
};

inline std::vector<float> numbers(Random& random, std::size_t size, float limit) {
  std::vector<float> values(size);
  for (float& value : values) value = random.within(limit);
  return values;
}

inline Activation any_activation(Random& random) {
  const auto function = static_cast<Function>(random.from_to(0, static_cast<std::size_t>(Function::thresholded_relu)));
  return {function, 0.5f + random.within(0.25f), random.within(1.0f)};
}

}  // namespace fusedlstm
