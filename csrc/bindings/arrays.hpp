// NumPy arrays as the engine may have them: aligned, of a shape that was expected, apart from what is written.
//
// Arguments are converted before a function of ours begins; no Python runs between a check here and the end of the call.
#pragma once
#include <pybind11/numpy.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace arrays {

namespace py = pybind11;

// Flags of NumPy's: who is not aligned is copied, unless it is to be written to (see expect_output).
constexpr int aligned = py::detail::npy_api::NPY_ARRAY_ALIGNED_;
using Strided = py::array_t<float, aligned>;
using Contiguous = py::array_t<float, py::array::c_style | aligned>;
using Integers = py::array_t<std::int64_t, py::array::c_style | aligned>;
using Shape = std::vector<py::ssize_t>;

inline std::string text(const Shape& shape) {
  std::string inside;
  for (std::size_t i = 0; i < shape.size(); ++i) inside += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return "(" + inside + (shape.size() == 1 ? ",)" : ")");
}
inline Shape shape_of(const py::array& array) { return {array.shape(), array.shape() + array.ndim()}; }
inline std::size_t extent(const py::array& array, py::ssize_t axis) { return static_cast<std::size_t>(array.shape(axis)); }

inline void expect_shape(const std::string& name, const py::array& array, const Shape& shape, const std::string& meaning) {
  if (shape_of(array) != shape)
    throw std::invalid_argument(name + ": expected shape " + text(shape) + " " + meaning + ", found " +
                                text(shape_of(array)));
}

// From one element to the next, in floats.
inline std::ptrdiff_t stride(const py::array& array, py::ssize_t axis) {
  return static_cast<std::ptrdiff_t>(array.strides(axis)) / static_cast<std::ptrdiff_t>(sizeof(float));
}

// Whether elements of the last axis follow each other, as the engine wants the rows of a sequence.
inline bool whole_rows(const py::array& array) {
  const py::ssize_t last = array.ndim() - 1;
  return last < 0 || array.shape(last) <= 1 || array.strides(last) == array.itemsize();
}

// Whether some byte may be of both: exact for contiguous arrays, a copy too many for interleaved ones.
inline bool overlap(const py::array& a, const py::array& b) {
  struct Span {
    const char *first, *last;
    explicit Span(const py::array& array) : first(static_cast<const char*>(array.data())), last(first) {
      if (array.size() == 0) return;
      for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
        const py::ssize_t reach = (array.shape(axis) - 1) * array.strides(axis);
        (reach < 0 ? first : last) += reach;
      }
      last += array.itemsize();
    }
  };
  const Span one(a), other(b);
  const std::less<const char*> before;
  return before(one.first, other.last) && before(other.first, one.last);
}

// The array, or a copy in C order.
template <class Array>
Array copied(const Array& array) {
  return Array(array.attr("copy")("C"));
}

// What is read, apart from everything that is written.
template <class Array>
Array apart(const Array& array, std::initializer_list<const py::array*> written) {
  const auto shares = [&](const py::array* one) { return overlap(array, *one); };
  return std::any_of(written.begin(), written.end(), shares) ? copied(array) : array;
}

// Only what can be written to, element by element.
inline void expect_output(const std::string& name, const py::array& array) {
  if (!array.writeable()) throw std::invalid_argument(name + ": expected a writeable array, found a read-only one");
  if (!py::detail::check_flags(array.ptr(), aligned))
    throw std::invalid_argument(name + ": expected an aligned array, found one at an odd address");
  if (py::detail::check_flags(array.ptr(), py::array::c_style)) return;
  std::vector<std::pair<py::ssize_t, py::ssize_t>> axes;  // stride, size
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis)
    if (array.shape(axis) > 1) axes.emplace_back(std::abs(array.strides(axis)), array.shape(axis));
  std::sort(axes.begin(), axes.end());
  py::ssize_t reach = array.itemsize();  // bytes that the axes so far span: the next one must step over them
  for (const auto& [step, size] : axes) {
    if (step < reach && array.size() > 0)
      throw std::invalid_argument(name + ": expected elements that do not share memory, found strides " +
                                  text({array.strides(), array.strides() + array.ndim()}));
    reach += step * (size - 1);
  }
}

}  // namespace arrays
