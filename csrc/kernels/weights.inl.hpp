// The float precisions that weights are held in. What a kind says of itself: `step` k of its weights are held together, a
// Factor is a vector of them, a Term what a row of x or h (a Row) puts beside it. All but BfloatPairs are widened to float32
// when they are loaded; the arithmetic is the same.
#pragma once
#include <cstddef>
#include <cstdint>

#include "many.inl.hpp"
#include "table.hpp"

namespace {

constexpr std::size_t gates = 4;  // i, f, g, o
constexpr std::size_t panel_width = gates * lanes;

FL_INLINE unsigned char* rounded_row(const fusedlstm::Rounded& rounded, std::size_t row) {
  return rounded.rows + row * rounded.row_bytes;
}

// What x is multiplied as is a kind of its own, OfInput; for floats the same.
struct FloatKind {
  static constexpr bool rounds = false;   // x and h, before they are multiplied
  static constexpr bool integer = false;  // to whole numbers, whose sums are made in integer.inl.hpp
  static constexpr int rows = row_block, panels = panel_block;
  static constexpr std::size_t step = 1;
  // Terms that one chain of multiply-adds takes before it is added to the total. Rounding errors grow with the length of a
  // chain, to six times PyTorch's at 1024 terms; blocks cost 1 to 4 % of a batch's time (docs/numerics.md).
  static constexpr std::size_t sum_block = 64;
  // How many k ahead a group of rows fetches weights from L2 into L1; 0: none. A CPU looks only a dozen k ahead by itself,
  // and batches were 3 to 7 % slower. One row waits for L2's bandwidth instead, and loses.
  static constexpr std::size_t soon_enough = 6;
  static constexpr bool reads_ahead = projects_reading;  // see reading.inl.hpp
  using Row = const float*;
  using Factor = vec;
  using Term = vec;
  static FL_INLINE Row row_of(const float* plain, const fusedlstm::Rounded&, std::size_t) { return plain; }
  static FL_INLINE Term term(Row row, std::size_t k) { return broadcast(row[k]); }
  static FL_INLINE Factor held(Factor w) { return in_register(w); }
  static FL_INLINE vec add_product(vec sum, Term a, Factor w) { return fma(a, w, sum); }
};

struct Float32 : FloatKind {
  using OfInput = Float32;
  static constexpr auto precision = fusedlstm::Precision::float32;
  using Weight = float;
  static FL_INLINE void load_gates(const float* p, vec (&w)[gates]) {
    FL_REPEAT (g, gates) w[g] = load(p + g * lanes);
  }
};

struct Float16 : FloatKind {
  using OfInput = Float16;
  static constexpr auto precision = fusedlstm::Precision::float16;
  using Weight = std::uint16_t;
  static FL_INLINE void load_gates(const std::uint16_t* p, vec (&w)[gates]) {
    FL_REPEAT (g, gates) w[g] = load_half(p + g * lanes);
  }
};

struct Bfloat16 : FloatKind {
  using OfInput = Bfloat16;
  static constexpr auto precision = fusedlstm::Precision::bfloat16;
  using Weight = std::uint16_t;
  static FL_INLINE void load_gates(const std::uint16_t* p, vec (&w)[gates]) {
    load_bfloat_pairs(p, w[0], w[1]);
    load_bfloat_pairs(p + 2 * lanes, w[2], w[3]);
  }
};

// bfloat16 by bfloat16: x and h are rounded too, and two k multiplied at a time.
struct BfloatPairs : FloatKind {
  using OfInput = BfloatPairs;
  static constexpr auto precision = fusedlstm::Precision::bfloat16_by_bfloat16;
  using Weight = std::uint16_t;
  using Row = const unsigned char*;
  static constexpr bool rounds = true;
  static constexpr bool reads_ahead = false;
  static constexpr std::size_t step = 2;
  static constexpr std::size_t sum_block = 512;  // beside the rounding of x and h no chain's errors matter
#ifdef FL_BFLOAT_PRODUCTS
  static constexpr int panels = 2;               // one row was 4 to 13 % faster than with three
  static constexpr std::size_t soon_enough = 0;  // 1 to 4 % slower with it (Zen 4)
  static constexpr std::size_t number_bytes = 2;
  static FL_INLINE void load_gates(const std::uint16_t* p, vec (&w)[gates]) {
    FL_REPEAT (g, gates) w[g] = load_bfloats(p + 2 * g * lanes);
  }
  static FL_INLINE Term term(Row row, std::size_t k) { return broadcast(*reinterpret_cast<const float*>(row + 2 * k)); }
  static FL_INLINE vec add_product(vec sum, Term a, Factor w) { return add_bfloat_products(sum, a, w); }
  static FL_INLINE void store_numbers(unsigned char* p, vec a) { store_bfloats(p, a); }
#else
  static constexpr std::size_t number_bytes = 4;
  struct Two {
    vec at[2];
  };
  using Factor = Two;
  using Term = Two;
  static FL_INLINE void load_gates(const std::uint16_t* p, Two (&w)[gates]) {
    FL_REPEAT (g, gates) load_bfloat_pairs(p + 2 * g * lanes, w[g].at[0], w[g].at[1]);
  }
  static FL_INLINE Term term(Row row, std::size_t k) {
    const float* two = reinterpret_cast<const float*>(row) + k;
    return {{broadcast(two[0]), broadcast(two[1])}};
  }
  static FL_INLINE Factor held(const Factor& w) { return {{in_register(w.at[0]), in_register(w.at[1])}}; }
  static FL_INLINE vec add_product(vec sum, const Term& a, const Factor& w) {
    return fma(a.at[0], w.at[0], fma(a.at[1], w.at[1], sum));
  }
  static FL_INLINE void store_numbers(unsigned char* p, vec a) { store(reinterpret_cast<float*>(p), to_bfloat(a)); }
#endif
  static FL_INLINE Row row_of(const float*, const fusedlstm::Rounded& rounded, std::size_t row) {
    return rounded_row(rounded, row) + fusedlstm::rounded_head;
  }
  static FL_INLINE void round_row(const float* v, std::size_t size, unsigned char* out) {
    out += fusedlstm::rounded_head;
    const std::size_t whole = size / lanes * lanes;
    for (std::size_t k = 0; k < whole; k += lanes) store_numbers(out + k * number_bytes, load(v + k));
    if (whole == size) return;
    float rest[lanes] = {};
    for (std::size_t k = whole; k < size; ++k) rest[k - whole] = v[k];
    store_numbers(out + whole * number_bytes, load(rest));
  }
};

}  // namespace
