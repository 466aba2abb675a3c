// Moves of data that no view could avoid.
#include <array>
#include <cstring>

#include "steps.hpp"

namespace fusedlstm {

namespace {

template <class T>
void copy_line(const char* from, char* to, std::ptrdiff_t count, std::ptrdiff_t from_step, std::ptrdiff_t to_step) {
  const std::ptrdiff_t size = sizeof(T);
  if (from_step == size && to_step == size) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(T));
    return;
  }
  for (std::ptrdiff_t i = 0; i < count; ++i) std::memcpy(to + i * to_step, from + i * from_step, sizeof(T));
}

constexpr std::ptrdiff_t together = 8;  // elements that are written beside each other, from as many lines

struct Steps {
  std::ptrdiff_t from, to;  // in bytes
};

// Two axes: y's elements lie beside each other along one of them, x's perhaps along the other.
template <class T>
void copy_plane(const char* from, char* to, const std::array<std::ptrdiff_t, 2>& counts, const Steps& outer,
                const Steps& inner) {
  const std::ptrdiff_t size = sizeof(T);
  const bool turned = outer.from == size && inner.from != size && inner.to == size && counts[0] > 1;
  const std::ptrdiff_t whole = turned ? counts[1] / together * together : 0;
  for (std::ptrdiff_t i = 0; i < whole; i += together) {
    const char* row = from + i * inner.from;
    char* column = to + i * inner.to;
    for (std::ptrdiff_t k = 0; k < counts[0]; ++k, row += size, column += outer.to) {
      T held[together];
      for (std::ptrdiff_t n = 0; n < together; ++n) std::memcpy(&held[n], row + n * inner.from, sizeof(T));
      std::memcpy(column, held, sizeof held);
    }
  }
  for (std::ptrdiff_t k = 0; whole < counts[1] && k < counts[0]; ++k)
    copy_line<T>(from + k * outer.from + whole * inner.from, to + k * outer.to + whole * inner.to, counts[1] - whole,
                 inner.from, inner.to);
}

class Copy : public Step {
 public:
  Copy(const Tensor& x, const Tensor& y) : x_(x), y_(y), walk_(y.shape, {&y, &x}, {size_of(y.element), size_of(x.element)}) {
    if (x.element != y.element || x.shape != y.shape) throw std::invalid_argument("copy: expected tensors of one kind");
    walk_.pair_with_smallest(1);
  }

  void run(const Memory& memory, State*) const override {
    const auto plane = x_.element == Element::float32 ? copy_plane<float>
                       : x_.element == Element::int64 ? copy_plane<std::int64_t>
                                                      : copy_plane<char>;
    walk_.each_pair({y_.at<char>(memory), x_.at<char>(memory)},
                    [&](const auto& at, const auto& counts, const auto& outer, const auto& inner) {
                      plane(at[1], at[0], counts, {outer[1], outer[0]}, {inner[1], inner[0]});
                    });
  }

 private:
  Tensor x_, y_;
  Walk<2> walk_;
};

}  // namespace

CopyLine copy_line_of(Element element) {
  return element == Element::float32 ? copy_line<float>
         : element == Element::int64 ? copy_line<std::int64_t>
                                     : copy_line<char>;
}

std::unique_ptr<Step> copy_step(const Tensor& x, const Tensor& y) { return std::make_unique<Copy>(x, y); }

}  // namespace fusedlstm
