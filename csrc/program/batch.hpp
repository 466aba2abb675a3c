// A program for several rows of streams whose states lie packed, a row of bytes for each stream: what a step needs is
// gathered into the program's arrays, and what it makes is scattered.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "program.hpp"

namespace fusedlstm {

class Batch {
 public:
  // An array of the program: (outer, rows, bytes); of one row (outer, bytes).
  struct Part {
    std::size_t array, outer, bytes;
  };
  struct State {
    Part in, out;
    std::size_t offset;  // in a packed row
  };
  // An input: of each of its `lines` the first `kept` bytes are in the packed row, where the last ones go afterwards.
  struct Given {
    Part in;
    std::size_t lines, kept, offset;
  };

  // sizes: bytes of the program's inputs and outputs.
  Batch(std::shared_ptr<const Program> program, const std::vector<std::size_t>& sizes, std::size_t rows,
        std::vector<State> states, std::vector<Given> given, std::vector<Part> made);

  // Some rows at a time, one at the least; the others of the program get what the first of them has.
  struct Rows {
    const char* states;
    std::size_t row_bytes;
    const std::int64_t* slots;  // where each lies in states
    char* after;                // packed rows, one after the other
    std::size_t first, count;   // of those in given and made
    const char* const* given;
    char* const* made;
  };
  Program::Fault run(const Rows& rows);

  char* at(std::size_t array) const { return static_cast<char*>(memory_[array]); }
  std::size_t rows() const { return rows_; }
  // Of one row.
  std::size_t given_bytes(std::size_t k) const {
    return given_[k].in.outer * (given_[k].in.bytes - given_[k].lines * given_[k].kept);
  }
  std::size_t made_bytes(std::size_t k) const { return made_[k].outer * made_[k].bytes; }
  std::size_t row_bytes() const { return row_bytes_; }  // at least
  std::size_t inputs() const { return given_.size(); }
  std::size_t outputs() const { return made_.size(); }

 private:
  static constexpr std::size_t most_bytes = std::size_t{1} << 40;
  char* place(const Part& part, std::size_t outer, std::size_t row) const {
    return at(part.array) + (outer * rows_ + row) * part.bytes;
  }
  void gather(const Rows& rows, std::size_t row, std::size_t to) const;
  void scatter(const Rows& rows, std::size_t row) const;

  std::shared_ptr<const Program> program_;
  Program::Run run_;
  std::size_t rows_, row_bytes_ = 0;
  std::vector<State> states_;
  std::vector<Given> given_;
  std::vector<Part> made_;
  std::vector<Buffer> buffers_;
  std::vector<void*> memory_;
};

}  // namespace fusedlstm
