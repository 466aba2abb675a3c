// Memory aligned to cache lines, and a cursor that deals pieces of it out.
#pragma once
#include <cstddef>
#include <new>
#include <utility>

#include "../kernels/table.hpp"

namespace fusedlstm {

constexpr std::size_t cache_line = 64;

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes) : data_(::operator new(bytes, std::align_val_t(cache_line))), bytes_(bytes) {}
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (data_ != nullptr) ::operator delete(data_, std::align_val_t(cache_line));
  }

  std::size_t bytes() const { return bytes_; }
  char* chars() const { return static_cast<char*>(data_); }
  float* floats() const { return static_cast<float*>(data_); }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Deals out cache-line aligned pieces. With no memory behind it, it only counts: the same code then tells how much
// is needed and, run again, hands it out.
class Cursor {
 public:
  explicit Cursor(void* memory = nullptr) : memory_(static_cast<char*>(memory)) {}

  template <class T>
  T* take(std::size_t count) {
    T* piece = memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + used_);
    used_ += round_up(count * sizeof(T), cache_line);
    return piece;
  }
  std::size_t used() const { return used_; }

 private:
  char* memory_;
  std::size_t used_ = 0;
};

}  // namespace fusedlstm
