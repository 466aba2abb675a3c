// N vectors that go through the same operations side by side. One long chain of dependent operations leaves the CPU
// waiting (its scheduler looks less than a hundred operations ahead); several, interleaved, keep it busy.
#pragma once
#include <cstddef>

#if defined(FL_SANITIZED)  // with everything inlined, compilers take many minutes
#define FL_INLINE inline
#define FL_UNROLL
#elif defined(_MSC_VER) && !defined(__clang__)
#define FL_INLINE __forceinline
#define FL_UNROLL
#elif defined(__clang__)
#define FL_INLINE inline __attribute__((always_inline))
#define FL_UNROLL _Pragma("unroll")
#else
#define FL_INLINE inline __attribute__((always_inline))
#define FL_UNROLL _Pragma("GCC unroll 16")
#endif

// A loop that is unrolled, over std::size_t.
#define FL_REPEAT(i, count) FL_UNROLL for (std::size_t i = 0; i < (count); ++i)

namespace {

template <int N>
struct Many {
  vec at[N];
};

template <int N>
FL_INLINE Many<N> splat(float a) {
  Many<N> r;
  FL_REPEAT (i, N) r.at[i] = broadcast(a);
  return r;
}

#define FL_LIFT_1(operation)                       \
  template <int N>                                 \
  FL_INLINE Many<N> operation(const Many<N>& a) {  \
    Many<N> r;                                     \
    FL_REPEAT (i, N) r.at[i] = operation(a.at[i]); \
    return r;                                      \
  }
#define FL_LIFT_2(operation)                                        \
  template <int N>                                                  \
  FL_INLINE Many<N> operation(const Many<N>& a, const Many<N>& b) { \
    Many<N> r;                                                      \
    FL_REPEAT (i, N) r.at[i] = operation(a.at[i], b.at[i]);         \
    return r;                                                       \
  }
#define FL_LIFT_3(operation)                                                          \
  template <int N>                                                                    \
  FL_INLINE Many<N> operation(const Many<N>& a, const Many<N>& b, const Many<N>& c) { \
    Many<N> r;                                                                        \
    FL_REPEAT (i, N) r.at[i] = operation(a.at[i], b.at[i], c.at[i]);                  \
    return r;                                                                         \
  }
FL_LIFT_1(rough_reciprocal)
FL_LIFT_2(add)
FL_LIFT_2(sub)
FL_LIFT_2(mul)
FL_LIFT_2(div)
FL_LIFT_2(max_or_nan)
FL_LIFT_2(min_or_nan)
FL_LIFT_2(with_sign)
FL_LIFT_3(fma)
FL_LIFT_3(fnma)
FL_LIFT_3(if_negative)

template <int MORE, int N>
FL_INLINE Many<N> power_of_two(const Many<N>& shifted) {
  Many<N> r;
  FL_REPEAT (i, N) r.at[i] = power_of_two<MORE>(shifted.at[i]);
  return r;
}
#undef FL_LIFT_1
#undef FL_LIFT_2
#undef FL_LIFT_3

}  // namespace
