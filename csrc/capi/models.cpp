// Streams of whole models.
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "../program/live.hpp"
#include "capi.hpp"
#include "status.hpp"

namespace fusedlstm {

namespace {

struct ModelStream {
  const LiveTemplate& of;
  std::unique_ptr<Live> live;
  std::vector<char> first;

  explicit ModelStream(const LiveTemplate& from) : of(from), live(from.make()), first(from.first()) {
    live->load(first.data());
  }
  ModelStream(const ModelStream& other) : of(other.of), live(of.make()), first(other.first) {
    std::vector<char> state(first.size());
    other.live->save(state.data());
    live->load(state.data());
    for (const Live::Overlap& one : of.given)
      std::memcpy(live->at(one.input), other.live->at(one.input), of.sizes[one.input]);
  }
  ModelStream& operator=(const ModelStream&) = delete;
};

const LiveTemplate& template_of(const fusedlstm_model* model) { return *reinterpret_cast<const LiveTemplate*>(model); }

Handles<ModelStream>& streams = made_at_load<ModelStream>();

int open(const fusedlstm_model* model, fusedlstm_model_stream** stream) {
  std::unique_ptr<ModelStream> one;
  const int status = guarded([&] { one = std::make_unique<ModelStream>(template_of(model)); });
  return status == FUSEDLSTM_OK ? adopt(streams, std::move(one), stream) : status;
}

int copy(fusedlstm_model_stream* stream, fusedlstm_model_stream** copy) {
  std::unique_ptr<ModelStream> twin;
  const int status = alone(streams, stream, [&](ModelStream& one) { twin = std::make_unique<ModelStream>(one); });
  return status == FUSEDLSTM_OK ? adopt(streams, std::move(twin), copy) : status;
}

int close(fusedlstm_model_stream* stream) { return status_of(streams.close(reinterpret_cast<std::uintptr_t>(stream))); }

int input(fusedlstm_model_stream* stream, size_t index, fusedlstm_array* array) {
  return alone(streams, stream, [&](ModelStream& one) {
    const Live::Overlap& given = one.of.given.at(index);
    *array = {one.live->at(given.input) + given.bytes, given.rows, given.row_bytes - given.bytes, given.row_bytes};
  });
}

int output(fusedlstm_model_stream* stream, size_t index, fusedlstm_array* array) {
  return alone(streams, stream, [&](ModelStream& one) {
    const std::size_t made = one.of.made.at(index), bytes = one.of.sizes[made];
    *array = {one.live->at(made), 1, bytes, bytes};
  });
}

int step(fusedlstm_model_stream* stream) {
  Program::Fault fault = {};
  const int status = alone(streams, stream, [&](ModelStream& one) { fault = one.live->step(); });
  return status == FUSEDLSTM_OK && fault.what != nullptr ? FUSEDLSTM_INVALID : status;
}

size_t state_bytes(const fusedlstm_model* model) { return template_of(model).first().size(); }

int get_state(fusedlstm_model_stream* stream, void* state) {
  return alone(streams, stream, [&](ModelStream& one) { one.live->save(static_cast<char*>(state)); });
}

// All that counts of a torn stream is written, so that it is whole again.
int set_state(fusedlstm_model_stream* stream, const void* state) {
  return alone(streams, stream, [&](ModelStream& one) { one.live->load(static_cast<const char*>(state)); }, true);
}

int reset(fusedlstm_model_stream* stream) {
  return alone(streams, stream, [&](ModelStream& one) { one.live->load(one.first.data()); }, true);
}

}  // namespace

void add_models(fusedlstm_api& api) {
  api.open_model = open;
  api.copy_model = copy;
  api.close_model = close;
  api.model_input = input;
  api.model_output = output;
  api.step_model = step;
  api.model_state_bytes = state_bytes;
  api.get_model_state = get_state;
  api.set_model_state = set_state;
  api.reset_model = reset;
}

}  // namespace fusedlstm
