// Element by element: y = f(a, b, ...). Float operations that have a kernel use it; the others are plain C++ in double,
// rounded once, so that they are the same on every instruction set.
#include <cmath>
#include <cstring>
#include <limits>
#include <unordered_map>
#include <utility>

#include "../kernels/dispatch.hpp"
#include "steps.hpp"

namespace fusedlstm {

namespace {

// What one line of a walk is: pointers and strides of y and of up to three inputs.
struct Line {
  char* at[4];
  std::ptrdiff_t step[4];  // in bytes
  std::ptrdiff_t count;
};
using OfLine = void (*)(const Line& line, const double* more);

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

double nearest_even(double a) {
  const double down = std::floor(a), rest = a - down;
  if (rest != 0.5) return std::floor(a + 0.5);
  return std::fmod(down, 2.0) == 0.0 ? down : down + 1.0;
}
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
float smaller(float a, float b) { return a != a ? a : b != b ? b : b < a ? b : a; }
float larger(float a, float b) { return a != a ? a : b != b ? b : a < b ? b : a; }
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

#define FL_FLOAT_1(name, expression) \
  {name "(f)f", [](const Line& l, const double*) { unary<float, float>(l, [](float a) { return expression; }); }}
#define FL_DOUBLE_1(name, expression) \
  {name "(f)f", [](const Line& l, const double*) { in_double(l, [](double a) { return expression; }); }}
#define FL_FLOAT_2(name, expression) \
  {name "(ff)f",                     \
   [](const Line& l, const double*) { binary<float, float, float>(l, [](float a, float b) { return expression; }); }}
#define FL_WHOLE_1(name, expression) \
  {name "(i)i", [](const Line& l, const double*) { unary<i64, i64>(l, [](i64 a) { return expression; }); }}
#define FL_WHOLE_2(name, expression) \
  {name "(ii)i", [](const Line& l, const double*) { binary<i64, i64, i64>(l, [](i64 a, i64 b) { return expression; }); }}
#define FL_COMPARE(name, operation)                                                                                         \
  {name "(ff)b",                                                                                                            \
   [](const Line& l, const double*) { binary<u8, float, float>(l, [](float a, float b) { return u8(a operation b); }); }},  \
      {name "(ii)b",                                                                                                        \
       [](const Line& l, const double*) { binary<u8, i64, i64>(l, [](i64 a, i64 b) { return u8(a operation b); }); }},      \
  {                                                                                                                         \
    name "(bb)b", [](const Line& l, const double*) { binary<u8, u8, u8>(l, [](u8 a, u8 b) { return u8(a operation b); }); } \
  }
#define FL_TRUTH(name, expression) \
  {name "(bb)b", [](const Line& l, const double*) { binary<u8, u8, u8>(l, [](u8 a, u8 b) { return u8(expression); }); }}

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

// By name and the elements of the inputs and of y: f, i, b.
const std::unordered_map<std::string, OfLine>& operations() {
  static const std::unordered_map<std::string, OfLine> all = {
      FL_FLOAT_1("Neg", -a), FL_FLOAT_1("Abs", std::fabs(a)), FL_FLOAT_1("Sqrt", std::sqrt(a)),
      FL_FLOAT_1("Reciprocal", 1.0f / a), FL_FLOAT_1("Square", a * a), FL_FLOAT_1("Floor", std::floor(a)),
      FL_FLOAT_1("Ceil", std::ceil(a)), FL_DOUBLE_1("Round", nearest_even(a)), FL_DOUBLE_1("Sign", sign_of(a)),
      FL_DOUBLE_1("Log", std::log(a)), FL_DOUBLE_1("Erf", std::erf(a)), FL_DOUBLE_1("Sin", std::sin(a)),
      FL_DOUBLE_1("Cos", std::cos(a)), FL_DOUBLE_1("Tan", std::tan(a)), FL_DOUBLE_1("Asin", std::asin(a)),
      FL_DOUBLE_1("Acos", std::acos(a)), FL_DOUBLE_1("Atan", std::atan(a)), FL_DOUBLE_1("Sinh", std::sinh(a)),
      FL_DOUBLE_1("Cosh", std::cosh(a)), FL_DOUBLE_1("Asinh", std::asinh(a)), FL_DOUBLE_1("Acosh", std::acosh(a)),
      FL_DOUBLE_1("Atanh", std::atanh(a)),
      FL_DOUBLE_1("Mish", a > 30 ? a : a * std::tanh(std::log1p(std::exp(a)))),
      FL_FLOAT_2("Add", a + b), FL_FLOAT_2("Sub", a - b), FL_FLOAT_2("Mul", a * b), FL_FLOAT_2("Div", a / b),
      FL_FLOAT_2("Pow", power(a, b)), FL_FLOAT_2("Min", smaller(a, b)), FL_FLOAT_2("Max", larger(a, b)),
      FL_FLOAT_2("Mod", floor_mod(a, b)), FL_FLOAT_2("Fmod", std::fmod(a, b)), FL_FLOAT_2("PRelu", a < 0.0f ? a * b : a),
      FL_WHOLE_1("Neg", wrap(0 - bits(a))), FL_WHOLE_1("Abs", a < 0 ? wrap(0 - bits(a)) : a), FL_WHOLE_1("Sign", i64(a > 0) - i64(a < 0)),
      FL_WHOLE_1("Relu", a > 0 ? a : 0),
      FL_WHOLE_2("Add", wrap(bits(a) + bits(b))), FL_WHOLE_2("Sub", wrap(bits(a) - bits(b))),
      FL_WHOLE_2("Mul", wrap(bits(a) * bits(b))), FL_WHOLE_2("Div", quotient(a, b)), FL_WHOLE_2("Pow", whole_power(a, b)),
      FL_WHOLE_2("Min", a < b ? a : b), FL_WHOLE_2("Max", a < b ? b : a), FL_WHOLE_2("Mod", floor_mod(a, b)),
      FL_WHOLE_2("Fmod", b == 0 || b == -1 ? 0 : a % b),
      FL_COMPARE("Less", <), FL_COMPARE("LessOrEqual", <=), FL_COMPARE("Greater", >), FL_COMPARE("GreaterOrEqual", >=),
      FL_COMPARE("Equal", ==),
      FL_TRUTH("And", a != 0 && b != 0), FL_TRUTH("Or", a != 0 || b != 0), FL_TRUTH("Xor", (a != 0) != (b != 0)),
      {"Not(b)b", [](const Line& l, const double*) { unary<u8, u8>(l, [](u8 a) { return u8(a == 0); }); }},
      {"IsNaN(f)b", [](const Line& l, const double*) { unary<u8, float>(l, [](float a) { return u8(a != a); }); }},
      {"IsInf(f)b",
       [](const Line& l, const double* more) {
         const bool above = more[0] != 0.0, below = more[1] != 0.0;
         unary<u8, float>(l, [&](float a) { return u8((above && a > 3.4028235e38f) || (below && a < -3.4028235e38f)); });
       }},
      {"Where(bff)f", choose<float>}, {"Where(bii)i", choose<i64>}, {"Where(bbb)b", choose<u8>},
      {"ToFloat(i)f", [](const Line& l, const double*) { unary<float, i64>(l, [](i64 a) { return static_cast<float>(a); }); }},
      {"ToFloat(b)f", [](const Line& l, const double*) { unary<float, u8>(l, [](u8 a) { return a != 0 ? 1.0f : 0.0f; }); }},
      {"ToWhole(f)i", [](const Line& l, const double*) { unary<i64, float>(l, [](float a) { return whole(a); }); }},
      {"ToWhole(b)i", [](const Line& l, const double*) { unary<i64, u8>(l, [](u8 a) { return i64(a != 0); }); }},
      {"ToTruth(f)b", [](const Line& l, const double*) { unary<u8, float>(l, [](float a) { return u8(a != 0.0f); }); }},
      {"ToTruth(i)b", [](const Line& l, const double*) { unary<u8, i64>(l, [](i64 a) { return u8(a != 0); }); }},
      {"Narrow(i)i", narrow},
  };
  return all;
}

template <std::size_t N>
class Map : public Step {
 public:
  Map(OfLine line, const std::vector<Tensor>& inputs, const Tensor& y, std::vector<double> more)
      : line_(line), y_(y), inputs_(inputs), more_(std::move(more)) {
    std::array<const View*, N + 1> views{&y_};
    std::array<std::size_t, N + 1> sizes{size_of(y.element)};
    for (std::size_t n = 0; n < N; ++n) {
      views[n + 1] = &inputs_[n];
      sizes[n + 1] = size_of(inputs_[n].element);
    }
    walk_ = Walk<N + 1>(y.shape, views, sizes);
  }

  void run(const Memory& memory, State*) const override {
    typename Walk<N + 1>::Pointers start{y_.template at<char>(memory)};
    for (std::size_t n = 0; n < N; ++n) start[n + 1] = inputs_[n].template at<char>(memory);
    walk_.each(start, [&](const auto& at, std::ptrdiff_t count, const auto& strides) {
      Line line = {};
      for (std::size_t n = 0; n <= N; ++n) {
        line.at[n] = at[n];
        line.step[n] = strides[n];
      }
      line.count = count;
      line_(line, more_.data());
    });
  }

 private:
  OfLine line_;
  Tensor y_;
  std::vector<Tensor> inputs_;
  std::vector<double> more_;
  Walk<N + 1> walk_;
};

// A function of activations.inl.hpp or functions.inl.hpp.
class Activate : public Step {
 public:
  Activate(const Activation& activation, const Tensor& x, const Tensor& y)
      : table_(kernels()), activation_(activation), x_(x), y_(y), walk_(y.shape, {&y_, &x_}, {4, 4}) {}

  void run(const Memory& memory, State*) const override {
    walk_.each({y_.at<char>(memory), x_.at<char>(memory)}, [&](const auto& at, std::ptrdiff_t count, const auto& strides) {
      if (strides[0] == 4 && strides[1] == 4) {
        table_.activate(activation_, reinterpret_cast<const float*>(at[1]), reinterpret_cast<float*>(at[0]),
                        static_cast<std::size_t>(count));
        return;
      }
      for (std::ptrdiff_t i = 0; i < count; ++i)
        table_.activate(activation_, reinterpret_cast<const float*>(at[1] + i * strides[1]),
                        reinterpret_cast<float*>(at[0] + i * strides[0]), 1);
    });
  }

 private:
  const KernelTable& table_;
  Activation activation_;
  Tensor x_, y_;
  Walk<2> walk_;
};

}  // namespace

std::unique_ptr<Step> map_step(const std::string& operation, const std::vector<Tensor>& inputs, const Tensor& y,
                               const std::vector<double>& more) {
  const auto letter = [](const Tensor& of) {
    return of.element == Element::float32 ? 'f' : of.element == Element::int64 ? 'i' : 'b';
  };
  std::string name = operation + "(";
  for (const Tensor& one : inputs) {
    if (one.shape != y.shape) throw std::invalid_argument(operation + ": expected inputs of the output's shape");
    name += letter(one);
  }
  name += ")";
  name += letter(y);
  const auto found = operations().find(name);
  if (found == operations().end()) throw std::invalid_argument(name + ": there is no such operation");
  const bool narrows = operation == "Narrow";
  if (more.size() != (narrows || operation == "IsInf" ? 2 : 0) || (narrows && !(more[0] >= 1 && more[0] <= 64)))
    throw std::invalid_argument(name + ": expected other parameters");
  if (inputs.size() == 1) return std::make_unique<Map<1>>(found->second, inputs, y, more);
  if (inputs.size() == 2) return std::make_unique<Map<2>>(found->second, inputs, y, more);
  return std::make_unique<Map<3>>(found->second, inputs, y, more);
}

std::unique_ptr<Step> activation_step(const Activation& activation, const Tensor& x, const Tensor& y) {
  if (x.shape != y.shape || x.element != Element::float32 || y.element != Element::float32)
    throw std::invalid_argument("expected floats of one shape");
  return std::make_unique<Activate>(activation, x, y);
}

}  // namespace fusedlstm
