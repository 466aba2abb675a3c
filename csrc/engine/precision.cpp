#include "precision.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace fusedlstm {

namespace {

std::uint32_t bits_of(float a) {
  std::uint32_t bits;
  std::memcpy(&bits, &a, sizeof bits);
  return bits;
}

std::uint16_t bfloat_of(float a) { return static_cast<std::uint16_t>(bits_of(a) >> 16); }

std::uint16_t half_of(float a) {
  const std::uint32_t sign = bits_of(a) >> 16 & 0x8000u;
  const float magnitude = std::fabs(a);
  // Below the normal numbers of float16 it is a multiple of 2^-24.
  const std::uint32_t rest = magnitude < 0x1p-14f ? static_cast<std::uint32_t>(std::lround(magnitude * 0x1p24f))
                                                  : (bits_of(magnitude) - 0x38000000u) >> 13;
  return static_cast<std::uint16_t>(sign | rest);
}

template <class T>
void put(char* at, std::size_t index, T value) {
  std::memcpy(at + index * sizeof(T), &value, sizeof(T));
}

void pack_int8(const PanelRow& row, const float* weights, std::size_t inputs) {
  const std::size_t width = row.slots * row.lanes, place = row.slot * row.lanes + row.lane;
  float most = 0.0f;
  for (std::size_t k = 0; k < inputs; ++k) most = std::max(most, std::fabs(weights[k]));
  const float scale = most / 127.0f;
  put(row.panel, place, scale);
  for (std::size_t first = 0; first < inputs; first += integer_block) {
    char* const block = row.panel + integer_block_start(first, width);
    const std::size_t last = std::min(inputs, first + integer_block);
    std::int32_t sum = 0;
    for (std::size_t k = first; k < last; ++k) {
      const long q = most > 0.0f ? std::lround(weights[k] / scale) : 0;
      sum += static_cast<std::int32_t>(q);
      block[4 * width + (k - first) / 4 * 4 * width + 4 * place + (k - first) % 4] = static_cast<char>(q);
    }
    put(block, place, sum);
  }
}

}  // namespace

void pack_row(Precision precision, const PanelRow& row, const float* weights, std::size_t inputs) {
  if (is_int8(precision)) return pack_int8(row, weights, inputs);
  const std::size_t width = row.slots * row.lanes, place = row.slot * row.lanes + row.lane;
  const std::size_t beside = row.slot / 2 * 2 * row.lanes + 2 * row.lane + row.slot % 2;
  for (std::size_t k = 0; k < inputs; ++k) {
    if (precision == Precision::float32)
      put(row.panel, k * width + place, weights[k]);
    else if (precision == Precision::float16)
      put(row.panel, k * width + place, half_of(weights[k]));
    else if (precision == Precision::bfloat16)
      put(row.panel, k * width + beside, bfloat_of(weights[k]));
    else
      put(row.panel, (k / 2 * width + place) * 2 + k % 2, bfloat_of(weights[k]));
  }
}

}  // namespace fusedlstm
