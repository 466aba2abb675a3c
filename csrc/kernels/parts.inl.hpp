// Cutting rows and panels into blocks of nearly equal size.
#pragma once
#include <cstddef>

#include "many.inl.hpp"

namespace {

// The start of part i when count things are cut into parts of nearly equal size.
FL_INLINE std::size_t cut(std::size_t count, std::size_t parts, std::size_t i) { return count * i / parts; }
FL_INLINE std::size_t at_least(std::size_t least, std::size_t count) { return count < least ? least : count; }
FL_INLINE std::size_t parts_of(std::size_t count, int most) {
  const std::size_t limit = static_cast<std::size_t>(most);
  return count <= limit ? 1 : (count + limit - 1) / limit;
}

// Things cut into parts of nearly equal size; dividing once, since a step of a small layer takes less time than ten
// divisions.
struct Parts {
  std::size_t count, small, larger;  // the first `larger` parts hold one thing more than `small`

  FL_INLINE Parts(std::size_t things, std::size_t parts) : count(parts), small(things), larger(0) {
    if (parts == 1) return;
    small = things / parts;
    larger = things % parts;
  }
  FL_INLINE std::size_t start(std::size_t i) const { return i * small + (i < larger ? i : larger); }
  FL_INLINE std::size_t size(std::size_t i) const { return small + (i < larger ? 1 : 0); }
  FL_INLINE std::size_t largest() const { return size(0); }
};

}  // namespace
