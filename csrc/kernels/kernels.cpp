// Compiled once per instruction set, with FL_ISA and that set's flags. Its table is the only symbol it defines. FL_IF is the
// macro of the architecture that has this set, or 0 where the compiler does not know it: the table is empty then.
// clang-format off
#define FL_TEXT_(a) #a
#define FL_TEXT(a) FL_TEXT_(a)
#define FL_JOIN_(a, b) a##b
#define FL_JOIN(a, b) FL_JOIN_(a, b)
#define FL_SIMD_HEADER FL_TEXT(../simd/FL_ISA.hpp)
// clang-format on

#include "../simd/target.hpp"
#include "table.hpp"

#if !FL_IF

namespace fusedlstm {
decltype(FL_JOIN(FL_ISA, _kernels)) FL_JOIN(FL_ISA, _kernels) = {};
}  // namespace fusedlstm

#else

#include FL_SIMD_HEADER
#include "sequence.inl.hpp"

// An instruction set that extends another one compiles what it does better, and shares the rest.
#if defined(FL_BYTE_PRODUCTS)

namespace fusedlstm {
const Extension FL_JOIN(FL_ISA, _kernels) = {FL_TEXT(FL_ISA),
                                             3,
                                             {{Precision::int8_by_16, kernels_of<Integer<By16>>},
                                              {Precision::int8_by_16_and_8, kernels_of_two<By16, By8>},
                                              {Precision::int8_by_8, kernels_of<Integer<By8>>}}};
}  // namespace fusedlstm

#elif defined(FL_BFLOAT_PRODUCTS)

namespace fusedlstm {
const Extension FL_JOIN(FL_ISA, _kernels) = {
    FL_TEXT(FL_ISA), 1, {{Precision::bfloat16_by_bfloat16, kernels_of<BfloatPairs>}}};
}  // namespace fusedlstm

#else

#include "elementwise.inl.hpp"
#include "general.inl.hpp"
#include "gru.inl.hpp"
#include "rows.inl.hpp"

namespace {

// y = f(a, b) for whole arrays; the tests hold the activations against the definition with these.
template <class F>
FL_INLINE void over_arrays(const float* a, const float* b, float* y, std::size_t count, F f) {
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) store(y + i, f(Many<1>{{load(a + i)}}, Many<1>{{load(b + i)}}).at[0]);
  const std::size_t rest = count - i;
  if (rest > 0) store_first(y + i, f(Many<1>{{load_first(a + i, rest)}}, Many<1>{{load_first(b + i, rest)}}).at[0], rest);
}

void sigmoid_array(const float* x, float* y, std::size_t count) noexcept {
  over_arrays(x, x, y, count, [](Many<1> a, Many<1>) { return value(sigmoid(a)); });
}
void tanh_array(const float* x, float* y, std::size_t count) noexcept {
  over_arrays(x, x, y, count, [](Many<1> a, Many<1>) { return value(tanh(a)); });
}
void sigmoid_times_tanh_array(const float* a, const float* b, float* y, std::size_t count) noexcept {
  over_arrays(a, b, y, count, [](Many<1> s, Many<1> t) { return product(sigmoid(s), tanh(t)); });
}
template <fusedlstm::Function FUNCTION>
void activate_as(const Activation& a, const float* x, float* y, std::size_t count) {
  over_arrays(x, x, y, count,
              [&](Many<1> b, Many<1>) { return Many<1>{{activated({FUNCTION, a.alpha, a.beta}, b.at[0])}}; });
}
void activate_array(const Activation& a, const float* x, float* y, std::size_t count) noexcept {
  switch (a.function) {
#define FL_CASE(function)  \
  case Function::function: \
    return activate_as<Function::function>(a, x, y, count);
    FL_CASE(affine)
    FL_CASE(clipped_relu)
    FL_CASE(elu)
    FL_CASE(exponential)
    FL_CASE(gelu)
    FL_CASE(gelu_tanh)
    FL_CASE(hard_sigmoid)
    FL_CASE(leaky_relu)
    FL_CASE(mish)
    FL_CASE(relu)
    FL_CASE(scaled_tanh)
    FL_CASE(selu)
    FL_CASE(sigmoid)
    FL_CASE(silu)
    FL_CASE(softplus)
    FL_CASE(softsign)
    FL_CASE(tanh)
    FL_CASE(thresholded_relu)
#undef FL_CASE
  }
}
unsigned long long enter() noexcept { return enter_flush_to_zero(); }
void leave(unsigned long long before) noexcept { leave_flush_to_zero(before); }
void spin() noexcept { pause(); }

}  // namespace

namespace fusedlstm {

const KernelTable FL_JOIN(FL_ISA, _kernels) = {
    FL_TEXT(FL_ISA),
    lanes,
    {kernels_of<Float32>, kernels_of<Float16>, kernels_of<Bfloat16>, kernels_of<BfloatPairs>, kernels_of<Integer<By16>>,
     kernels_of_two<By16, By8>, kernels_of<Integer<By8>>},
    update_cell,
    update_hidden,
    update_state,
    activate_array,
    sigmoid_array,
    tanh_array,
    sigmoid_times_tanh_array,
    {map_add,   map_sub,    map_mul,         map_div,        map_min,  map_max,           map_multiply_add, map_neg,
     map_abs,   map_square, map_square_root, map_reciprocal, map_less, map_less_or_equal, map_equal,        map_choose,
     map_slope, map_floor,  map_ceil,        map_round,      map_log,  map_erf,           map_mish},
    reduce,
    reduce_columns,
    softmax,
    softmax_columns,
    normalise,
    normalise_columns,
    channel_products,
    channel_pool,
    resample_line,
    enter,
    leave,
    spin};

}  // namespace fusedlstm

#endif

#endif
