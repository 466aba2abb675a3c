// A program that is run again and again on memory of its own: inputs and outputs stay where they are, and what is a state
// goes from an output back to its input.
#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "program.hpp"

namespace fusedlstm {

class Live {
 public:
  struct Pair {
    std::size_t input, output;  // counted among all arrays: inputs, then outputs
  };
  // The end of each row of an input is the beginning of the next one.
  struct Overlap {
    std::size_t input, rows, row_bytes, bytes;
  };

  // sizes: bytes of the program's inputs and outputs.
  Live(std::shared_ptr<const Program> program, const std::vector<std::size_t>& sizes, std::vector<Pair> pairs,
       std::vector<Overlap> overlaps);

  // Allocates nothing. Where something was wrong with a value, the states are as before. One thread at a time, and
  // no other works for it.
  Program::Fault step();
  // Where an array lies now: a state moves with every step.
  char* at(std::size_t array) const { return static_cast<char*>(memory_[array]); }

 private:
  std::shared_ptr<const Program> program_;
  Program::Run run_;
  std::vector<Buffer> buffers_;
  std::vector<void*> memory_;
  std::vector<Pair> pairs_;
  std::vector<Overlap> overlaps_;
};

}  // namespace fusedlstm
