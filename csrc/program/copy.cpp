// Moves of data that no view could avoid.
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

class Copy : public Step {
 public:
  Copy(const Tensor& x, const Tensor& y) : x_(x), y_(y), walk_(y.shape, {&y, &x}, {size_of(y.element), size_of(x.element)}) {
    if (x.element != y.element || x.shape != y.shape) throw std::invalid_argument("copy: expected tensors of one kind");
  }

  void run(const Memory& memory, State*) const override {
    const CopyLine line = copy_line_of(x_.element);
    walk_.each({y_.at<char>(memory), x_.at<char>(memory)}, [&](const auto& at, std::ptrdiff_t count, const auto& strides) {
      line(at[1], at[0], count, strides[1], strides[0]);
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
