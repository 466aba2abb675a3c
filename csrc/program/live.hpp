// A program that is run again and again on memory of its own: inputs and outputs stay where they are, and what is a state
// goes from an output back to its input.
#pragma once
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "program.hpp"

namespace fusedlstm {

// What a stream keeps from step to step; all its programs (one for each shape) work on it.
class States {
 public:
  explicit States(const std::vector<std::size_t>& bytes);  // zeros at first

  std::size_t count() const { return bytes_.size(); }
  std::size_t bytes(std::size_t state) const { return bytes_[state]; }
  // Where a state lies, and where the next one will; each step changes them round.
  char* now(std::size_t state) const { return now_[state]; }
  char* next(std::size_t state) const { return next_[state]; }
  void turn(std::size_t state) { std::swap(now_[state], next_[state]); }

 private:
  std::vector<std::size_t> bytes_;
  std::vector<Buffer> buffers_;
  std::vector<char*> now_, next_;
};

class Live {
 public:
  struct Pair {
    std::size_t input, output;  // counted among all arrays: inputs, then outputs
    std::size_t state;
  };
  // The end of each row of an input is the beginning of the next one.
  struct Overlap {
    std::size_t input, rows, row_bytes, bytes;
  };

  // sizes: bytes of the program's inputs and outputs.
  Live(std::shared_ptr<const Program> program, std::shared_ptr<States> states, const std::vector<std::size_t>& sizes,
       std::vector<Pair> pairs, std::vector<Overlap> overlaps);

  // Allocates nothing. Where something was wrong with a value, the states are as before. One thread at a time, and
  // no other works for it.
  Program::Fault step();
  // Where an array that is no state lies.
  char* at(std::size_t array) const { return static_cast<char*>(memory_[array]); }
  bool is_state(std::size_t array) const;

 private:
  std::shared_ptr<const Program> program_;
  std::shared_ptr<States> states_;
  Program::Run run_;
  std::vector<Buffer> buffers_;
  std::vector<void*> memory_;
  std::vector<Pair> pairs_;
  std::vector<Overlap> overlaps_;
};

}  // namespace fusedlstm
