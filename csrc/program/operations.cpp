// What is done element by element, in plain C++: in double where there is no other way, and rounded once, so that it is the
// same on every instruction set.
#include "operations.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <unordered_map>

namespace fusedlstm {

namespace {

template <class T>
T get(const Line& line, std::size_t n, std::ptrdiff_t i) {
  T value;
  std::memcpy(&value, line.at[n] + i * line.step[n], sizeof(T));
  return value;
}
template <class T>
void put(const Line& line, std::ptrdiff_t i, T value) {
  std::memcpy(line.at[0] + i * line.step[0], &value, sizeof(T));
}

// Whether the line is of floats that follow each other, input n being so too or one for all.
template <class Y, class A>
bool dense(const Line& line, std::size_t n) {
  return line.step[0] == static_cast<std::ptrdiff_t>(sizeof(Y)) &&
         (line.step[n] == static_cast<std::ptrdiff_t>(sizeof(A)) || line.step[n] == 0);
}

template <class Y, class A, class F>
void unary(const Line& line, F f) {
  if (dense<Y, A>(line, 1) && line.step[1] != 0) {
    Y* const y = reinterpret_cast<Y*>(line.at[0]);
    const A* const a = reinterpret_cast<const A*>(line.at[1]);
    for (std::ptrdiff_t i = 0; i < line.count; ++i) y[i] = f(a[i]);
    return;
  }
  for (std::ptrdiff_t i = 0; i < line.count; ++i) put<Y>(line, i, f(get<A>(line, 1, i)));
}

template <class Y, class A, class B, class F>
void binary(const Line& line, F f) {
  if (dense<Y, A>(line, 1) && dense<Y, B>(line, 2)) {
    Y* const y = reinterpret_cast<Y*>(line.at[0]);
    const A* const a = reinterpret_cast<const A*>(line.at[1]);
    const B* const b = reinterpret_cast<const B*>(line.at[2]);
    if (line.step[1] == 0) {
      const A one = *a;
      for (std::ptrdiff_t i = 0; i < line.count; ++i) y[i] = f(one, b[line.step[2] == 0 ? 0 : i]);
    } else if (line.step[2] == 0) {
      const B one = *b;
      for (std::ptrdiff_t i = 0; i < line.count; ++i) y[i] = f(a[i], one);
    } else {
      for (std::ptrdiff_t i = 0; i < line.count; ++i) y[i] = f(a[i], b[i]);
    }
    return;
  }
  for (std::ptrdiff_t i = 0; i < line.count; ++i) put<Y>(line, i, f(get<A>(line, 1, i), get<B>(line, 2, i)));
}

template <class F>
void in_double(const Line& line, F f) {
  unary<float, float>(line, [&](float a) { return static_cast<float>(f(static_cast<double>(a))); });
}

using i64 = std::int64_t;
using u8 = std::uint8_t;

double sign_of(double a) { return a > 0 ? 1.0 : a < 0 ? -1.0 : a; }
// Whole numbers wrap around, as in NumPy.
i64 wrap(std::uint64_t a) { return static_cast<i64>(a); }
std::uint64_t bits(i64 a) { return static_cast<std::uint64_t>(a); }
i64 floor_mod(i64 a, i64 b) {
  if (b == 0 || b == -1) return 0;
  const i64 rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
i64 quotient(i64 a, i64 b) { return b == 0 ? 0 : b == -1 ? wrap(0 - bits(a)) : a / b; }
i64 whole_power(i64 a, i64 b) {
  if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : -1) : 0;
  std::uint64_t result = 1, base = bits(a);
  for (; b > 0; b >>= 1, base *= base)
    if ((b & 1) != 0) result *= base;
  return wrap(result);
}
float floor_mod(float a, float b) {
  const float rest = std::fmod(a, b);
  return rest != 0.0f && (rest < 0.0f) != (b < 0.0f) ? rest + b : rest;
}
float power(float a, float b) {
  if (b == 2.0f) return a * a;
  if (b == 1.0f) return a;
  if (b == 0.5f && a >= 0.0f) return std::sqrt(a);
  return static_cast<float>(std::pow(static_cast<double>(a), static_cast<double>(b)));
}
i64 whole(float a) {
  if (!(a > -9.2e18f && a < 9.2e18f)) return std::numeric_limits<i64>::min();
  return static_cast<i64>(a);
}

// The nearest float16, as a float.
float to_half(float a) {
  const float size = std::fabs(a);
  if (!(size < 65520.0f)) return size != size ? a : std::copysign(std::numeric_limits<float>::infinity(), a);
  if (size < 0x1p-14f) return std::copysign((size + 0x1p-1f) - 0x1p-1f, a);  // a multiple of 2^-24
  std::uint32_t word;
  std::memcpy(&word, &size, sizeof word);
  word = (word + 0x0fffu + (word >> 13 & 1u)) & 0xffffe000u;
  float rounded;
  std::memcpy(&rounded, &word, sizeof rounded);
  return std::copysign(rounded, a);
}

#define FL_DOUBLE_1(name, expression) \
  {name "(f)", [](const Line& l, const double*) { in_double(l, [](double a) { return expression; }); }}
#define FL_FLOAT_2(name, expression) \
  {name "(ff)",                      \
   [](const Line& l, const double*) { binary<float, float, float>(l, [](float a, float b) { return expression; }); }}
#define FL_WHOLE_1(name, expression) \
  {name "(i)", [](const Line& l, const double*) { unary<i64, i64>(l, [](i64 a) { return expression; }); }}
#define FL_WHOLE_2(name, expression) \
  {name "(ii)", [](const Line& l, const double*) { binary<i64, i64, i64>(l, [](i64 a, i64 b) { return expression; }); }}
#define FL_COMPARE(name, operation)                                                                                        \
  {name "(ii)",                                                                                                            \
   [](const Line& l, const double*) { binary<u8, i64, i64>(l, [](i64 a, i64 b) { return u8(a operation b); }); }},         \
  {                                                                                                                        \
    name "(bb)", [](const Line& l, const double*) { binary<u8, u8, u8>(l, [](u8 a, u8 b) { return u8(a operation b); }); } \
  }
#define FL_TRUTH(name, expression) \
  {name "(bb)", [](const Line& l, const double*) { binary<u8, u8, u8>(l, [](u8 a, u8 b) { return u8(expression); }); }}

template <class T>
void choose(const Line& line, const double*) {
  for (std::ptrdiff_t i = 0; i < line.count; ++i)
    put<T>(line, i, get<u8>(line, 1, i) != 0 ? get<T>(line, 2, i) : get<T>(line, 3, i));
}

// Whole numbers of `more[0]` bits, with a sign if more[1] is 1.
void narrow(const Line& line, const double* more) {
  const int spare = 64 - static_cast<int>(more[0]);
  const bool is_signed = more[1] != 0.0;
  unary<i64, i64>(line, [&](i64 a) {
    const std::uint64_t up = bits(a) << spare;
    return is_signed ? wrap(up) >> spare : wrap(up >> spare);
  });
}

// By name and the elements of the inputs: f, i, b.
const std::unordered_map<std::string, OfLine>& operations() {
  static const std::unordered_map<std::string, OfLine> all = {
      FL_DOUBLE_1("Sign", sign_of(a)),
      FL_DOUBLE_1("Sin", std::sin(a)),
      FL_DOUBLE_1("Cos", std::cos(a)),
      FL_DOUBLE_1("Tan", std::tan(a)),
      FL_DOUBLE_1("Asin", std::asin(a)),
      FL_DOUBLE_1("Acos", std::acos(a)),
      FL_DOUBLE_1("Atan", std::atan(a)),
      FL_DOUBLE_1("Sinh", std::sinh(a)),
      FL_DOUBLE_1("Cosh", std::cosh(a)),
      FL_DOUBLE_1("Asinh", std::asinh(a)),
      FL_DOUBLE_1("Acosh", std::acosh(a)),
      FL_DOUBLE_1("Atanh", std::atanh(a)),
      FL_FLOAT_2("Pow", power(a, b)),
      FL_FLOAT_2("DivOrZero", b == 0.0f ? 0.0f : a / b),
      FL_FLOAT_2("Mod", floor_mod(a, b)),
      FL_FLOAT_2("Fmod", std::fmod(a, b)),
      FL_WHOLE_1("Neg", wrap(0 - bits(a))),
      FL_WHOLE_1("Abs", a < 0 ? wrap(0 - bits(a)) : a),
      FL_WHOLE_1("Sign", i64(a > 0) - i64(a < 0)),
      FL_WHOLE_1("Relu", a > 0 ? a : 0),
      FL_WHOLE_2("Add", wrap(bits(a) + bits(b))),
      FL_WHOLE_2("Sub", wrap(bits(a) - bits(b))),
      FL_WHOLE_2("Mul", wrap(bits(a) * bits(b))),
      FL_WHOLE_2("Div", quotient(a, b)),
      FL_WHOLE_2("Pow", whole_power(a, b)),
      FL_WHOLE_2("Min", a < b ? a : b),
      FL_WHOLE_2("Max", a < b ? b : a),
      FL_WHOLE_2("Mod", floor_mod(a, b)),
      FL_WHOLE_2("Fmod", b == 0 || b == -1 ? 0 : a % b),
      FL_WHOLE_2("PRelu", a < 0 ? wrap(bits(a) * bits(b)) : a),
      FL_WHOLE_2("BitwiseAnd", a & b),
      FL_WHOLE_2("BitwiseOr", a | b),
      FL_WHOLE_2("BitwiseXor", a ^ b),
      FL_WHOLE_1("BitwiseNot", ~a),
      FL_WHOLE_2("ShiftLeft", b < 0 || b > 63 ? 0 : wrap(bits(a) << b)),
      FL_WHOLE_2("ShiftRight", b < 0 || b > 63 ? (a < 0 ? -1 : 0) : a >> b),
      FL_COMPARE("Less", <),
      FL_COMPARE("LessOrEqual", <=),
      FL_COMPARE("Greater", >),
      FL_COMPARE("GreaterOrEqual", >=),
      FL_COMPARE("Equal", ==),
      FL_TRUTH("And", a != 0 && b != 0),
      FL_TRUTH("Or", a != 0 || b != 0),
      FL_TRUTH("Xor", (a != 0) != (b != 0)),
      {"Not(b)", [](const Line& l, const double*) { unary<u8, u8>(l, [](u8 a) { return u8(a == 0); }); }},
      {"IsNaN(f)", [](const Line& l, const double*) { unary<u8, float>(l, [](float a) { return u8(a != a); }); }},
      {"IsInf(f)",
       [](const Line& l, const double* more) {
         const bool above = more[0] != 0.0, below = more[1] != 0.0;
         unary<u8, float>(l, [&](float a) { return u8((above && a > 3.4028235e38f) || (below && a < -3.4028235e38f)); });
       }},
      {"Shrink(f)",
       [](const Line& l, const double* more) {
         in_double(l, [&](double a) { return a < -more[1] ? a + more[0] : a > more[1] ? a - more[0] : 0.0; });
       }},
      {"ThresholdedRelu(f)",
       [](const Line& l, const double* more) { in_double(l, [&](double a) { return a > more[0] ? a : 0.0; }); }},
      {"RoundHalf(f)", [](const Line& l, const double*) { unary<float, float>(l, [](float a) { return to_half(a); }); }},
      {"Where(bii)", choose<i64>},
      {"Where(bbb)", choose<u8>},
      {"ToFloat(i)",
       [](const Line& l, const double*) { unary<float, i64>(l, [](i64 a) { return static_cast<float>(a); }); }},
      {"ToFloat(b)", [](const Line& l, const double*) { unary<float, u8>(l, [](u8 a) { return a != 0 ? 1.0f : 0.0f; }); }},
      {"ToWhole(f)", [](const Line& l, const double*) { unary<i64, float>(l, [](float a) { return whole(a); }); }},
      {"ToWhole(b)", [](const Line& l, const double*) { unary<i64, u8>(l, [](u8 a) { return i64(a != 0); }); }},
      {"ToTruth(f)", [](const Line& l, const double*) { unary<u8, float>(l, [](float a) { return u8(a != 0.0f); }); }},
      {"ToTruth(i)", [](const Line& l, const double*) { unary<u8, i64>(l, [](i64 a) { return u8(a != 0); }); }},
      {"Narrow(i)", narrow},
  };
  return all;
}

// Those that kernels do.
struct OfKernel {
  const char* name;
  MapKernel kernel;
  bool turned;
};
constexpr OfKernel of_kernels[] = {
    {"Add(ff)", MapKernel::add, false},
    {"Sub(ff)", MapKernel::sub, false},
    {"Mul(ff)", MapKernel::mul, false},
    {"Div(ff)", MapKernel::div, false},
    {"Min(ff)", MapKernel::min, false},
    {"Max(ff)", MapKernel::max, false},
    {"MultiplyAdd(fff)", MapKernel::multiply_add, false},
    {"Neg(f)", MapKernel::neg, false},
    {"Abs(f)", MapKernel::abs, false},
    {"Square(f)", MapKernel::square, false},
    {"Sqrt(f)", MapKernel::square_root, false},
    {"Reciprocal(f)", MapKernel::reciprocal, false},
    {"Less(ff)", MapKernel::less, false},
    {"LessOrEqual(ff)", MapKernel::less_or_equal, false},
    {"Greater(ff)", MapKernel::less, true},
    {"GreaterOrEqual(ff)", MapKernel::less_or_equal, true},
    {"Equal(ff)", MapKernel::equal, false},
    {"Where(bff)", MapKernel::choose, false},
    {"PRelu(ff)", MapKernel::slope, false},
    {"Floor(f)", MapKernel::floor, false},
    {"Ceil(f)", MapKernel::ceil, false},
    {"Round(f)", MapKernel::round, false},
    {"Log(f)", MapKernel::log, false},
    {"Erf(f)", MapKernel::erf, false},
    {"Mish(f)", MapKernel::mish, false},
};

}  // namespace

Operation operation_named(const std::string& name) {
  for (const OfKernel& one : of_kernels)
    if (name == one.name) return {nullptr, one.kernel, one.turned};
  const auto found = operations().find(name);
  if (found == operations().end()) throw std::invalid_argument(name + ": there is no such operation");
  return {found->second, MapKernel::add, false};
}

}  // namespace fusedlstm
