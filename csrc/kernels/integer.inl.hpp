// int8 weights times whole numbers: rows of x and h rounded, and products summed exactly.
//
// A row is rounded to q = round(v limit / m), where m is its largest magnitude and limit 32767 or 127; ties go to the even
// one. Products are summed as int32, which cannot overflow within a block of integer_block terms, whatever is multiplied
// beside whatever; so the result depends on no order.
#pragma once
#include <cstddef>
#include <cstdint>

#include "many.inl.hpp"
#include "table.hpp"
#include "weights.inl.hpp"

namespace {

using fusedlstm::integer_block;
using fusedlstm::Precision;
using fusedlstm::Rounded;
using fusedlstm::rounded_head;

struct RoundedRow {
  const unsigned char* numbers;
  float scale;  // m / limit
};

// Ops is By16 or By8 of the instruction set.
template <class Ops>
struct Integer : Ops {
  static constexpr bool rounds = true, integer = true, reads_ahead = false;
  static constexpr Precision precision = Precision::int8_by_16;  // by 8 the layout is the same
  using Weight = signed char;
  using Row = RoundedRow;
  using OfInput = Integer;

  static FL_INLINE Row row_of(const float*, const Rounded& rounded, std::size_t row) {
    const unsigned char* at = rounded_row(rounded, row);
    return {at + rounded_head, *reinterpret_cast<const float*>(at)};
  }

  // A row with NaN or an infinity gets the scale NaN; one of zeros, or below all that matters, is zero.
  static FL_INLINE void round_row(const float* v, std::size_t size, unsigned char* out) {
    const std::size_t whole = size / lanes * lanes;
    float rest[lanes] = {};
    for (std::size_t k = whole; k < size; ++k) rest[k - whole] = v[k];
    vec most = larger_magnitude(broadcast(0.0f), load(rest));
    for (std::size_t k = 0; k < whole; k += lanes) most = larger_magnitude(most, load(v + k));
    const float m = largest(most);
    const bool finite = m <= 3.4028234e38f, matters = m > 1e-30f;
    *reinterpret_cast<float*>(out) = finite ? (matters ? m / Ops::limit : 0.0f) : m - m;
    // Adding 1.5 * 2^23 rounds, and leaves the number (and the offset) in the low bits.
    const vec factor = broadcast(finite && matters ? Ops::limit / m : 0.0f);
    const vec shift = broadcast(12582912.0f + Ops::offset);
    out += rounded_head;
    for (std::size_t k = 0; k < whole; k += lanes) Ops::store_numbers(out + k * Ops::bytes, fma(load(v + k), factor, shift));
    if (whole < size) Ops::store_numbers(out + whole * Ops::bytes, fma(load(rest), factor, shift));
  }
};

// x by 16 bits, h by 8. Blocks have room for the sums of both.
template <class OfX, class OfH>
struct IntegerOfTwo : Integer<OfH> {
  static constexpr int rows = OfX::rows < OfH::rows ? OfX::rows : OfH::rows;
  static constexpr int panels = OfX::panels < OfH::panels ? OfX::panels : OfH::panels;
  using OfInput = Integer<OfX>;
};

// at += W in, for weights laid out as table.hpp says.
template <class Kind, std::size_t ROWS, std::size_t PANELS>
FL_INLINE void add_integer_product(vec (&at)[PANELS][ROWS][gates], const void* weights, const RoundedRow (&in)[ROWS],
                                   std::size_t size, std::size_t panel) {
  const std::size_t padded = fusedlstm::round_up(size, 4);
  const std::size_t whole = fusedlstm::panel_bytes(Kind::precision, size, panel_width);
  const auto* here = static_cast<const signed char*>(weights) + panel * whole;
  for (std::size_t first = 0; first < size; first += integer_block) {
    const std::size_t last = padded - first < integer_block ? padded : first + integer_block;
    sum_type sum[PANELS][ROWS][gates][Kind::sums];
    FL_REPEAT (p, PANELS) {
      FL_REPEAT (r, ROWS) {
        FL_REPEAT (g, gates) {
          FL_REPEAT (s, Kind::sums) sum[p][r][g][s] = no_products();
        }
      }
    }
    const signed char* block = here + fusedlstm::integer_block_start(first, panel_width);
    const signed char* w = block + 4 * panel_width;
    for (std::size_t k = first; k < last; k += 4, w += 4 * panel_width) {
      ivec four[ROWS][Kind::number_parts];
      FL_REPEAT (r, ROWS) Kind::load_numbers(in[r].numbers + k * Kind::bytes, four[r]);
      FL_REPEAT (p, PANELS) {
        FL_REPEAT (g, gates) {
          ivec factor[Kind::weight_parts];
          Kind::load_weights(w + p * whole + 4 * g * lanes, factor);
          FL_REPEAT (r, ROWS) {
            FL_REPEAT (s, Kind::sums) sum[p][r][g][s] = Kind::add_products(sum[p][r][g][s], factor, four[r], s);
          }
        }
      }
    }
    FL_REPEAT (p, PANELS) {
      FL_REPEAT (g, gates) {
        const vec scale = load(reinterpret_cast<const float*>(here + p * whole) + g * lanes);
        const signed char* all_weights = block + p * whole + 4 * g * lanes;
        FL_REPEAT (r, ROWS) {
          const vec total = Kind::total(sum[p][r][g], all_weights);
          at[p][r][g] = fma(mul(total, broadcast(in[r].scale)), scale, at[p][r][g]);
        }
      }
    }
  }
}

}  // namespace
