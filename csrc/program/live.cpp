#include "live.hpp"

#include <cstring>
#include <utility>

namespace fusedlstm {

Live::Live(std::shared_ptr<const Program> program, const std::vector<std::size_t>& sizes, std::vector<Pair> pairs,
           std::vector<Overlap> overlaps)
    : program_(std::move(program)), run_(*program_, false), pairs_(std::move(pairs)), overlaps_(std::move(overlaps)) {
  for (const std::size_t size : sizes) {
    buffers_.emplace_back(size + cache_line);
    std::memset(buffers_.back().chars(), 0, size);
    memory_.push_back(buffers_.back().chars());
  }
}

Program::Fault Live::step() {
  const Program::Fault fault = program_->run(run_, memory_);
  if (fault.what != nullptr) return fault;
  for (const Pair& pair : pairs_) std::swap(memory_[pair.input], memory_[pair.output]);
  for (const Overlap& one : overlaps_)
    for (std::size_t row = 0; row < one.rows; ++row) {
      char* const start = at(one.input) + row * one.row_bytes;
      std::memmove(start, start + one.row_bytes - one.bytes, one.bytes);
    }
  return fault;
}

}  // namespace fusedlstm
