// A program that is run again and again on memory of its own: inputs and outputs stay where they are, and what is a state
// goes from an output back to its input.
#pragma once
#include <cstddef>
#include <memory>
#include <mutex>
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
  // What is kept from step to step: states, then what inputs have of the step before.
  std::size_t kept_bytes() const;
  void save(char* to) const;
  void load(const char* from);
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

// What streams of one program are made from, for who has no Python.
struct LiveTemplate {
  std::shared_ptr<const Program> program;
  std::vector<std::size_t> state_bytes, sizes;
  std::vector<Live::Pair> pairs;
  std::vector<Live::Overlap> overlaps, given;                    // given: inputs of a step, with what stays in front of them
  std::vector<std::size_t> made;                                 // outputs of a step
  std::vector<std::pair<std::size_t, std::vector<char>>> fixed;  // inputs that are the same in each step

  std::unique_ptr<Live> make() const;
  void keep(std::vector<char> state);  // where streams start
  std::vector<char> first() const;

 private:
  mutable std::mutex mutex_;
  std::vector<char> first_;
};

}  // namespace fusedlstm
