#include "live.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace fusedlstm {

States::States(const std::vector<std::size_t>& bytes) : bytes_(bytes) {
  for (const std::size_t size : bytes_)
    for (std::vector<char*>* const side : {&now_, &next_}) {
      buffers_.emplace_back(size + cache_line);
      std::memset(buffers_.back().chars(), 0, size);
      side->push_back(buffers_.back().chars());
    }
}

Live::Live(std::shared_ptr<const Program> program, std::shared_ptr<States> states, const std::vector<std::size_t>& sizes,
           std::vector<Pair> pairs, std::vector<Overlap> overlaps)
    : program_(std::move(program)),
      states_(std::move(states)),
      run_(*program_, true),
      memory_(sizes.size(), nullptr),
      pairs_(std::move(pairs)),
      overlaps_(std::move(overlaps)) {
  for (std::size_t array = 0; array < sizes.size(); ++array) {
    if (is_state(array)) continue;
    buffers_.emplace_back(sizes[array] + cache_line);
    std::memset(buffers_.back().chars(), 0, sizes[array]);
    memory_[array] = buffers_.back().chars();
  }
}

bool Live::is_state(std::size_t array) const {
  return std::any_of(pairs_.begin(), pairs_.end(),
                     [array](const Pair& one) { return one.input == array || one.output == array; });
}

std::size_t Live::kept_bytes() const {
  std::size_t bytes = 0;
  for (std::size_t state = 0; state < states_->count(); ++state) bytes += states_->bytes(state);
  for (const Overlap& one : overlaps_) bytes += one.rows * one.bytes;
  return bytes;
}

void Live::save(char* to) const {
  for (std::size_t state = 0; state < states_->count(); to += states_->bytes(state++))
    std::memcpy(to, states_->now(state), states_->bytes(state));
  for (const Overlap& one : overlaps_)
    for (std::size_t row = 0; row < one.rows; ++row, to += one.bytes)
      std::memcpy(to, at(one.input) + row * one.row_bytes, one.bytes);
}

void Live::load(const char* from) {
  for (std::size_t state = 0; state < states_->count(); from += states_->bytes(state++))
    std::memcpy(states_->now(state), from, states_->bytes(state));
  for (const Overlap& one : overlaps_)
    for (std::size_t row = 0; row < one.rows; ++row, from += one.bytes)
      std::memcpy(at(one.input) + row * one.row_bytes, from, one.bytes);
}

std::unique_ptr<Live> LiveTemplate::make() const {
  auto live = std::make_unique<Live>(program, std::make_shared<States>(state_bytes), sizes, pairs, overlaps);
  for (const auto& [input, bytes] : fixed) std::memcpy(live->at(input), bytes.data(), bytes.size());
  return live;
}

void LiveTemplate::keep(std::vector<char> state) {
  const std::lock_guard<std::mutex> lock(mutex_);
  first_ = std::move(state);
}

std::vector<char> LiveTemplate::first() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return first_;
}

Program::Fault Live::step() {
  for (const Pair& one : pairs_) {
    memory_[one.input] = states_->now(one.state);
    memory_[one.output] = states_->next(one.state);
  }
  const Program::Fault fault = program_->run(run_, memory_);
  if (fault.what != nullptr) return fault;
  for (const Pair& one : pairs_) states_->turn(one.state);
  for (const Overlap& one : overlaps_)
    for (std::size_t row = 0; row < one.rows; ++row) {
      char* const start = at(one.input) + row * one.row_bytes;
      std::memmove(start, start + one.row_bytes - one.bytes, one.bytes);
    }
  return fault;
}

}  // namespace fusedlstm
