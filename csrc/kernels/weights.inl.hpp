// The float precisions that weights are held in. All are widened to float32 when they are loaded; the arithmetic is the
// same.
#pragma once
#include <cstddef>
#include <cstdint>

#include "many.inl.hpp"
#include "table.hpp"

namespace {

constexpr std::size_t gates = 4;  // i, f, g, o
constexpr std::size_t panel_width = gates * lanes;

struct FloatKind {
  static constexpr bool integer = false;
  static constexpr int rows = row_block, panels = panel_block;
  using Row = const float*;  // of x or h
};

struct Float32 : FloatKind {
  using Weight = float;
  static constexpr std::size_t weight_bytes = 4;
  static FL_INLINE void load_gates(const float* p, vec (&w)[gates]) {
    FL_REPEAT (g, gates) w[g] = load(p + g * lanes);
  }
};

struct Float16 : FloatKind {
  using Weight = std::uint16_t;
  static constexpr std::size_t weight_bytes = 2;
  static FL_INLINE void load_gates(const std::uint16_t* p, vec (&w)[gates]) {
    FL_REPEAT (g, gates) w[g] = load_half(p + g * lanes);
  }
};

struct Bfloat16 : FloatKind {
  using Weight = std::uint16_t;
  static constexpr std::size_t weight_bytes = 2;
  static FL_INLINE void load_gates(const std::uint16_t* p, vec (&w)[gates]) {
    load_bfloat_pairs(p, w[0], w[1]);
    load_bfloat_pairs(p + 2 * lanes, w[2], w[3]);
  }
};

}  // namespace
