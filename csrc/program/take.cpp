// What indices pick: gathers and scatters of every kind. The tensor that is picked from lies still (stride 0) where indices
// move in it.
#include <cstring>

#include "steps.hpp"

namespace fusedlstm {

namespace {

// What is walked over (`moved`), what is picked from (`whole`), and where an index leads in that.
class Places {
 public:
  Places(const Tensor& moved, const Tensor& whole, const Tensor& index, const Picking& picking)
      : moved_(moved), whole_(whole), index_(index) {
    const auto fail = [](const char* what) { throw std::invalid_argument(std::string("indices: expected ") + what); };
    if (index.element != Element::int64 || moved.element != whole.element) fail("whole numbers, and elements of one type");
    if (picking.indices.size() != index.rank() || picking.picked.size() != whole.rank()) fail("a place for each axis");
    for (const auto& axes : {picking.indices, picking.picked})
      if (std::any_of(axes.begin(), axes.end(), [](std::ptrdiff_t by) { return by < -1; })) fail("axes, or -1");
    View still = moved, picks = moved;  // the shape is that of what is walked over
    std::fill(still.strides.begin(), still.strides.end(), 0);
    std::fill(picks.strides.begin(), picks.strides.end(), 0);
    // An axis of a tensor follows one of the walk, of which it must have every place.
    const auto follow = [&](const Tensor& tensor, std::size_t axis, std::ptrdiff_t by, View& view) {
      if (by < 0 || by >= static_cast<std::ptrdiff_t>(moved.rank()) ||
          tensor.shape[axis] < moved.shape[static_cast<std::size_t>(by)])
        fail("axes that reach as far as what is taken or put");
      view.strides[static_cast<std::size_t>(by)] += tensor.strides[axis];
    };
    std::ptrdiff_t coordinates = 1, apart = 0;
    for (std::size_t axis = 0; axis < index.rank(); ++axis) {
      if (picking.indices[axis] >= 0) {
        follow(index, axis, picking.indices[axis], picks);
        continue;
      }
      coordinates = index.shape[axis];
      apart = index.strides[axis] * static_cast<std::ptrdiff_t>(sizeof(std::int64_t));
    }
    const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(size_of(whole.element));
    for (std::size_t axis = 0; axis < whole.rank(); ++axis) {
      if (picking.picked[axis] >= 0)
        follow(whole, axis, picking.picked[axis], still);
      else
        along_.push_back(
            {static_cast<std::ptrdiff_t>(along_.size()) * apart, whole.shape[axis], whole.strides[axis] * size});
    }
    if (static_cast<std::ptrdiff_t>(along_.size()) != coordinates) fail("a coordinate for each axis that is picked along");
    if (std::count(picking.indices.begin(), picking.indices.end(), -1) > 1) fail("one axis of coordinates");
    walk_ = Walk<3>(moved.shape, {&moved_, &still, &picks},
                    {size_of(moved.element), size_of(whole.element), sizeof(std::int64_t)});
  }

  // Call run(moved, whole, count, step of moved, step of whole) along lines; false if an index was out of range.
  template <class Run>
  bool each(const Memory& memory, Run run) const {
    bool fine = true;
    walk_.each({moved_.at<char>(memory), whole_.at<char>(memory), index_.at<char>(memory)},
               [&](const auto& at, std::ptrdiff_t count, const auto& strides) {
                 std::ptrdiff_t from = 0;
                 if (strides[2] == 0) {
                   if (find(at[2], from))
                     run(at[0], at[1] + from, count, strides[0], strides[1]);
                   else
                     fine = false;
                   return;
                 }
                 for (std::ptrdiff_t i = 0; i < count; ++i) {
                   if (find(at[2] + i * strides[2], from))
                     run(at[0] + i * strides[0], at[1] + i * strides[1] + from, 1, strides[0], strides[1]);
                   else
                     fine = false;
                 }
               });
    return fine;
  }

 private:
  struct Along {
    std::ptrdiff_t place, size, stride;  // in bytes: where the coordinate is in an index, and what it moves by
  };

  bool find(const char* index, std::ptrdiff_t& offset) const {
    offset = 0;
    for (const Along& one : along_) {
      std::int64_t at;
      std::memcpy(&at, index + one.place, sizeof(at));
      if (at < 0) at += one.size;
      if (at < 0 || at >= one.size) return false;
      offset += static_cast<std::ptrdiff_t>(at) * one.stride;
    }
    return true;
  }

  Tensor moved_, whole_, index_;
  std::vector<Along> along_;
  Walk<3> walk_;
};

class Take : public Step {
 public:
  Take(const Tensor& x, const Tensor& index, const Tensor& y, const Picking& picking)
      : places_(y, x, index, picking), line_(copy_line_of(y.element)) {}

  void run(const Memory& memory, State*) const override {
    const bool fine = places_.each(memory, [&](char* to, const char* from, std::ptrdiff_t count, std::ptrdiff_t to_step,
                                               std::ptrdiff_t from_step) { line_(from, to, count, from_step, to_step); });
    if (!fine) *memory.fault = index_out_of_range;
  }

 private:
  Places places_;
  CopyLine line_;
};

template <class T, class Operation>
void reduce_line(const char* from, char* to, std::ptrdiff_t count, std::ptrdiff_t from_step, std::ptrdiff_t to_step) {
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    T a, b;
    std::memcpy(&a, to + i * to_step, sizeof(T));
    std::memcpy(&b, from + i * from_step, sizeof(T));
    a = Operation::of(a, b);
    std::memcpy(to + i * to_step, &a, sizeof(T));
  }
}

std::int64_t whole(std::uint64_t a) { return static_cast<std::int64_t>(a); }
// Whole numbers wrap around.
struct Add {
  static float of(float a, float b) { return a + b; }
  static std::int64_t of(std::int64_t a, std::int64_t b) {
    return whole(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
  }
};
struct Multiply {
  static float of(float a, float b) { return a * b; }
  static std::int64_t of(std::int64_t a, std::int64_t b) {
    return whole(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
  }
};
struct Larger {
  template <class T>
  static T of(T a, T b) {
    return a != a || a > b ? a : b;
  }
};
struct Smaller {
  template <class T>
  static T of(T a, T b) {
    return a != a || a < b ? a : b;
  }
};

template <class Operation>
CopyLine reducing(Element element) {
  if (element == Element::float32) return reduce_line<float, Operation>;
  if (element == Element::int64) return reduce_line<std::int64_t, Operation>;
  throw std::invalid_argument("put: truth values cannot be reduced");
}

CopyLine putting(const std::string& reduction, Element element) {
  if (reduction == "none" || reduction == "skip") return copy_line_of(element);
  if (reduction == "add") return reducing<Add>(element);
  if (reduction == "mul") return reducing<Multiply>(element);
  if (reduction == "max") return reducing<Larger>(element);
  if (reduction == "min") return reducing<Smaller>(element);
  throw std::invalid_argument("put: there is no reduction '" + reduction + "'");
}

class Put : public Step {
 public:
  Put(const Tensor& index, const Tensor& updates, const Tensor& y, const Picking& picking, const std::string& reduction)
      : places_(updates, y, index, picking), line_(putting(reduction, y.element)), skips_(reduction == "skip") {}

  void run(const Memory& memory, State*) const override {
    const bool fine = places_.each(memory, [&](const char* from, char* to, std::ptrdiff_t count, std::ptrdiff_t from_step,
                                               std::ptrdiff_t to_step) { line_(from, to, count, from_step, to_step); });
    if (!fine && !skips_) *memory.fault = index_out_of_range;
  }

 private:
  Places places_;
  CopyLine line_;
  bool skips_;
};

}  // namespace

std::unique_ptr<Step> take_step(const Tensor& x, const Tensor& index, const Tensor& y, const Picking& picking) {
  return std::make_unique<Take>(x, index, y, picking);
}

std::unique_ptr<Step> put_step(const Tensor& index, const Tensor& updates, const Tensor& y, const Picking& picking,
                               const std::string& reduction) {
  return std::make_unique<Put>(index, updates, y, picking, reduction);
}

}  // namespace fusedlstm
