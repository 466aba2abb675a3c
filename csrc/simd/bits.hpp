// The bits of a thing as another type, and things in the middle of bytes: compilers make plain moves of these.
#pragma once
#include <cstring>  // memcpy, which is no inline function

namespace {

template <class To, class From>
inline To bits_as(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "expected types of one size");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
template <class T>
inline T load_as(const void* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
template <class T>
inline void store_as(void* p, T value) {
  std::memcpy(p, &value, sizeof value);
}

}  // namespace
