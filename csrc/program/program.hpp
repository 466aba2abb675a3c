// A whole model for one set of shapes: a flat list of steps on one arena, everything resolved when it is made. Running it
// looks nothing up, allocates nothing and throws nothing; values that make no sense (an index out of range) end it early,
// and are told.
#pragma once
#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "../engine/buffer.hpp"
#include "view.hpp"

namespace fusedlstm {

class Step {
 public:
  // What a step keeps between runs, such as the memory of a pass.
  struct State {
    virtual ~State() = default;
  };
  virtual ~Step() = default;
  virtual std::unique_ptr<State> state() const { return nullptr; }
  virtual std::size_t scratch() const { return 0; }  // bytes
  virtual void run(const Memory& memory, State* state) const = 0;
};

class Program {
 public:
  // arena: bytes; inputs, outputs: how many; constants: where they lie, kept alive by the caller; threads: that a run may
  // use, 0: as many as num_threads() says.
  Program(std::size_t arena, std::size_t inputs, std::size_t outputs, std::vector<const void*> constants,
          std::size_t threads);

  // Throws std::invalid_argument once there has been a run, whose memory was made for the steps until then.
  void add(std::unique_ptr<Step> step);

  // One run at a time has one of these; they are kept for the next one.
  class Run {
   public:
    // alone: on the caller's thread, whatever the program may use.
    explicit Run(const Program& program, bool alone = false);

   private:
    friend class Program;
    std::size_t threads_;
    Buffer arena_, scratch_;
    std::vector<char*> bases_;
    std::vector<std::unique_ptr<Step::State>> states_;
  };
  std::unique_ptr<Run> take() const;
  void give_back(std::unique_ptr<Run> run) const;
  // Runs that are kept go if they are large: for a program that is not the one in use any more.
  void forget() const;
  // What was wrong with the values that a step was given, or that the run was stopped; null: nothing.
  struct Fault {
    const char* what;
    std::size_t step;
  };
  // memory: of the inputs, then of the outputs.
  Fault run(Run& run, const std::vector<void*>& memory) const;
  // The same with the time of each step in nanoseconds added to `spent`.
  Fault profile(Run& run, const std::vector<void*>& memory, std::vector<double>& spent) const;

  std::size_t arena() const { return arena_; }
  std::size_t arrays() const { return arrays_; }
  std::size_t steps() const { return steps_.size(); }

 private:
  const std::size_t arena_, arrays_, threads_;
  std::size_t scratch_ = 0;
  mutable std::atomic<bool> runs_{false};
  std::vector<const void*> constants_;
  std::vector<std::unique_ptr<Step>> steps_;
  mutable std::mutex mutex_;
  static constexpr std::size_t most_idle = 64, large = std::size_t{8} << 20;
  mutable std::vector<std::unique_ptr<Run>> idle_;
};

}  // namespace fusedlstm
