#include "batch.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace fusedlstm {

Batch::Batch(std::shared_ptr<const Program> program, const std::vector<std::size_t>& sizes, std::size_t rows,
             std::vector<State> states, std::vector<Given> given, std::vector<Part> made)
    : program_(std::move(program)),
      run_(*program_),
      rows_(rows),
      states_(std::move(states)),
      given_(std::move(given)),
      made_(std::move(made)) {
  const auto expect = [&](const Part& part) {
    if (part.array >= sizes.size() || part.outer == 0 || part.bytes == 0 ||
        part.bytes > sizes[part.array] / part.outer / std::max(rows, std::size_t{1}) ||
        part.outer * rows * part.bytes != sizes[part.array])
      throw std::invalid_argument("batch: expected parts that are whole arrays");
  };
  const auto reach = [&](std::size_t offset, std::size_t bytes) {
    if (offset > most_bytes || bytes > most_bytes) throw std::invalid_argument("batch: expected less");
    row_bytes_ = std::max(row_bytes_, offset + bytes);
  };
  for (const State& one : states_) {
    expect(one.in);
    expect(one.out);
    if (one.in.outer != one.out.outer || one.in.bytes != one.out.bytes)
      throw std::invalid_argument("batch: expected states that stay as they are");
    reach(one.offset, one.in.outer * one.in.bytes);
  }
  for (const Given& one : given_) {
    expect(one.in);
    if (one.lines == 0 || one.in.bytes % one.lines != 0 || one.kept > one.in.bytes / one.lines)
      throw std::invalid_argument("batch: expected lines that are whole");
    reach(one.offset, one.in.outer * one.lines * one.kept);
  }
  for (const Part& one : made_) expect(one);
  for (const std::size_t size : sizes) {
    buffers_.emplace_back(size + cache_line);
    std::memset(buffers_.back().chars(), 0, size);
    memory_.push_back(buffers_.back().chars());
  }
}

void Batch::gather(const Rows& rows, std::size_t row, std::size_t to_row) const {
  const char* const from = rows.states + static_cast<std::size_t>(rows.slots[rows.first + row]) * rows.row_bytes;
  for (const State& one : states_)
    for (std::size_t outer = 0; outer < one.in.outer; ++outer)
      std::memcpy(place(one.in, outer, to_row), from + one.offset + outer * one.in.bytes, one.in.bytes);
  for (std::size_t k = 0; k < given_.size(); ++k) {
    const Given& one = given_[k];
    const char* x = rows.given[k] + (rows.first + row) * given_bytes(k);
    const char* before = from + one.offset;
    const std::size_t line = one.in.bytes / one.lines, fresh = line - one.kept;
    for (std::size_t outer = 0; outer < one.in.outer; ++outer)
      for (std::size_t i = 0; i < one.lines; ++i, x += fresh, before += one.kept) {
        char* const to = place(one.in, outer, to_row) + i * line;
        std::memcpy(to, before, one.kept);
        std::memcpy(to + one.kept, x, fresh);
      }
  }
}

void Batch::scatter(const Rows& rows, std::size_t row) const {
  const char* const from = rows.states + static_cast<std::size_t>(rows.slots[rows.first + row]) * rows.row_bytes;
  char* const to = rows.after + (rows.first + row) * rows.row_bytes;
  std::memcpy(to, from, rows.row_bytes);
  for (const State& one : states_)
    for (std::size_t outer = 0; outer < one.out.outer; ++outer)
      std::memcpy(to + one.offset + outer * one.out.bytes, place(one.out, outer, row), one.out.bytes);
  for (const Given& one : given_) {
    char* next = to + one.offset;
    const std::size_t line = one.in.bytes / one.lines;
    for (std::size_t outer = 0; outer < one.in.outer && one.kept > 0; ++outer)
      for (std::size_t i = 0; i < one.lines; ++i, next += one.kept)
        std::memcpy(next, place(one.in, outer, row) + (i + 1) * line - one.kept, one.kept);
  }
  for (std::size_t k = 0; k < made_.size(); ++k)
    for (std::size_t outer = 0; outer < made_[k].outer; ++outer)
      std::memcpy(rows.made[k] + (rows.first + row) * made_bytes(k) + outer * made_[k].bytes, place(made_[k], outer, row),
                  made_[k].bytes);
}

Program::Fault Batch::run(const Rows& rows) {
  for (std::size_t row = 0; row < rows_; ++row) gather(rows, row < rows.count ? row : 0, row);
  const Program::Fault fault = program_->run(run_, memory_);
  if (fault.what != nullptr) return fault;
  for (std::size_t row = 0; row < rows.count; ++row) scatter(rows, row);
  return fault;
}

}  // namespace fusedlstm
