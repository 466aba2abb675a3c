// Rows of a table of weights, such as an embedding, that is held in fewer bits.
#include <algorithm>
#include <cstring>

#include "../engine/precision.hpp"
#include "steps.hpp"

namespace fusedlstm {

namespace {

float number(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

float of_half(std::uint16_t half) {
  const std::uint32_t sign = std::uint32_t{half} << 16 & 0x80000000u, rest = half & 0x7fffu;
  const float small = static_cast<float>(static_cast<std::int32_t>(rest)) * 0x1p-24f;  // a multiple of it below 2^-14
  std::uint32_t bits;
  std::memcpy(&bits, &small, sizeof bits);
  const std::uint32_t tiny = 0u - static_cast<std::uint32_t>(rest < 0x0400u);  // a mask, since branches make no vectors
  return number(sign | (bits & tiny) | (((rest << 13) + 0x38000000u) & ~tiny));
}

// Beside each other, which compilers make vectors of, or `step` bytes apart.
template <class T, class Widen>
void widen(const char* row, std::size_t count, char* to, std::ptrdiff_t step, Widen widen_one) {
  const T* const held = reinterpret_cast<const T*>(row);
  if (step == sizeof(float)) {
    float* const y = reinterpret_cast<float*>(to);
    for (std::size_t k = 0; k < count; ++k) y[k] = widen_one(held[k]);
    return;
  }
  for (std::size_t k = 0; k < count; ++k)
    *reinterpret_cast<float*>(to + static_cast<std::ptrdiff_t>(k) * step) = widen_one(held[k]);
}

// What every precision widens to is a float32, exactly.
void widen_row(const PackedTable& table, std::size_t row, char* to, std::ptrdiff_t step) {
  const char* const from = table.rows.chars() + row * table.row_bytes;
  if (table.precision == Precision::float16) return widen<std::uint16_t>(from, table.width, to, step, of_half);
  if (!is_int8(table.precision))
    return widen<std::uint16_t>(from, table.width, to, step,
                                [](std::uint16_t held) { return number(std::uint32_t{held} << 16); });
  float scale;
  std::memcpy(&scale, from, sizeof scale);
  for (std::size_t first = 0; first < table.width; first += integer_block)
    widen<std::int8_t>(from + integer_block_start(first, 1) + 4, std::min(integer_block, table.width - first),
                       to + static_cast<std::ptrdiff_t>(first) * step, step,
                       [scale](std::int8_t held) { return static_cast<float>(held) * scale; });
}

class Lookup : public Step {
 public:
  Lookup(std::shared_ptr<const PackedTable> table, const Tensor& index, const Tensor& y)
      : table_(std::move(table)), index_(index), y_(y) {
    View rows = y;
    const bool fits = index.element == Element::int64 && y.element == Element::float32 && y.rank() > 0 &&
                      y.shape.back() == static_cast<std::ptrdiff_t>(table_->width);
    if (fits) {
      rows.shape.pop_back();
      rows.strides.pop_back();
    }
    if (!fits || rows.shape != index.shape)
      throw std::invalid_argument("lookup: expected a row of the table for each index");
    walk_ = Walk<2>(rows.shape, {&rows, &index_}, {sizeof(float), sizeof(std::int64_t)});
    step_ = y.strides.back() * static_cast<std::ptrdiff_t>(sizeof(float));
  }

  void run(const Memory& memory, State*) const override {
    const std::int64_t count = static_cast<std::int64_t>(table_->count);
    walk_.each({y_.at<char>(memory), index_.at<char>(memory)}, [&](const auto& at, std::ptrdiff_t length, const auto& by) {
      for (std::ptrdiff_t i = 0; i < length; ++i) {
        std::int64_t row;
        std::memcpy(&row, at[1] + i * by[1], sizeof row);
        if (row < 0) row += count;
        if (row < 0 || row >= count)
          *memory.fault = index_out_of_range;
        else
          widen_row(*table_, static_cast<std::size_t>(row), at[0] + i * by[0], step_);
      }
    });
  }

 private:
  std::shared_ptr<const PackedTable> table_;
  Tensor index_, y_;
  Walk<2> walk_;
  std::ptrdiff_t step_ = 0;
};

}  // namespace

std::shared_ptr<const PackedTable> pack_table(const float* table, std::size_t count, std::size_t width,
                                              Precision precision) {
  if (precision == Precision::float32) throw std::invalid_argument("table: expected one in fewer bits than float32");
  const std::size_t bytes = panel_bytes(precision, width, 1);
  if (count > static_cast<std::size_t>(PTRDIFF_MAX) / bytes)
    throw std::invalid_argument("table: expected one that fits into memory");
  PackedTable made{precision, count, width, bytes, Buffer(count * bytes)};
  for (std::size_t row = 0; row < count; ++row)
    pack_row(precision, {made.rows.chars() + row * bytes, 0, 1, 0, 1}, table + row * width, width);
  return std::make_shared<PackedTable>(std::move(made));
}

std::unique_ptr<Step> lookup_step(std::shared_ptr<const PackedTable> table, const Tensor& index, const Tensor& y) {
  return std::make_unique<Lookup>(std::move(table), index, y);
}

}  // namespace fusedlstm
