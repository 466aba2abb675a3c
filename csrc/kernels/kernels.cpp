// Compiled once per instruction set, with FL_ISA and that set's flags. Its table is the only symbol it defines.
// clang-format off
#define FL_TEXT_(a) #a
#define FL_TEXT(a) FL_TEXT_(a)
#define FL_JOIN_(a, b) a##b
#define FL_JOIN(a, b) FL_JOIN_(a, b)
#define FL_SIMD_HEADER FL_TEXT(../simd/FL_ISA.hpp)
// clang-format on

#include FL_SIMD_HEADER
#include "cell.inl.hpp"

namespace {

// y = f(x) for whole arrays; the tests hold the activations against the definition with these.
template <class Activation>
void over_array(const float* x, float* y, std::size_t count, Activation f) {
  float rest[lanes] = {};
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) store(y + i, f(load(x + i)));
  for (std::size_t j = i; j < count; ++j) rest[j - i] = x[j];
  if (i < count) store_first(y + i, f(load(rest)), count - i);
}

void sigmoid_array(const float* x, float* y, std::size_t count) noexcept {
  over_array(x, y, count, [](vec a) { return value(sigmoid(Many<1>{{a}})).at[0]; });
}
void tanh_array(const float* x, float* y, std::size_t count) noexcept {
  over_array(x, y, count, [](vec a) { return value(tanh(Many<1>{{a}})).at[0]; });
}
unsigned long long enter() noexcept { return enter_flush_to_zero(); }
void leave(unsigned long long before) noexcept { leave_flush_to_zero(before); }
void spin() noexcept { pause(); }

}  // namespace

namespace fusedlstm {

const KernelTable FL_JOIN(FL_ISA, _kernels) = {FL_TEXT(FL_ISA), lanes, project, recur, sigmoid_array,
                                               tanh_array,      enter, leave,   spin};

}  // namespace fusedlstm
