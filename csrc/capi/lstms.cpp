// Streams of LSTMs.
#include "capi.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <stdexcept>

#include "../engine/stream.hpp"
#include "status.hpp"

namespace fusedlstm {

namespace {

// What a compiled program has in it: new members go to the end, and these numbers with them.
static_assert(sizeof(fusedlstm_sizes) == 5 * sizeof(std::size_t));

const Lstm& lstm_of(const fusedlstm_lstm* lstm) { return *reinterpret_cast<const Lstm*>(lstm); }

Handles<Stream>& streams = made_at_load<Stream>();

void sizes(const fusedlstm_lstm* handle, fusedlstm_sizes* sizes, size_t bytes) {
  const Lstm& lstm = lstm_of(handle);
  const Shape& shape = lstm.shape();
  const fusedlstm_sizes all = {lstm.input_size(), shape.output_size(), shape.layers.size(), shape.state_size(),
                               shape.multiplications()};
  const std::size_t known = std::min(bytes, sizeof all);
  std::memcpy(sizes, &all, known);
  std::memset(reinterpret_cast<char*>(sizes) + known, 0, bytes - known);
}

int open(const fusedlstm_lstm* handle, size_t batch, fusedlstm_stream** stream) {
  const Lstm& lstm = lstm_of(handle);
  if (lstm.shape().num_directions != 1 || lstm.shape().reverse) return FUSEDLSTM_UNSUPPORTED;
  if (batch == 0 || batch > std::numeric_limits<int>::max()) return FUSEDLSTM_INVALID;
  std::unique_ptr<Stream> one;
  const int status = guarded([&] { one = std::make_unique<Stream>(lstm, batch); });
  return status == FUSEDLSTM_OK ? adopt(streams, std::move(one), stream) : status;
}

int copy(fusedlstm_stream* stream, fusedlstm_stream** copy) {
  std::unique_ptr<Stream> twin;
  const int status = alone(streams, stream, [&](Stream& one) { twin = std::make_unique<Stream>(one); });
  return status == FUSEDLSTM_OK ? adopt(streams, std::move(twin), copy) : status;
}

int close(fusedlstm_stream* stream) { return status_of(streams.close(reinterpret_cast<std::uintptr_t>(stream))); }

int step(fusedlstm_stream* stream, const float* x, float* y, const unsigned char* active) {
  return alone(streams, stream, [&](Stream& one) { one.step(x, y, active); });
}

int process(fusedlstm_stream* stream, size_t time, const float* x, ptrdiff_t x_row, ptrdiff_t x_time, float* y,
            ptrdiff_t y_row, ptrdiff_t y_time) {
  return alone(streams, stream,
               [&](Stream& one) { one.process(time, sequence(x, x_row, x_time), sequence(y, y_row, y_time)); });
}

int get_state(fusedlstm_stream* stream, float* states) {
  return alone(streams, stream, [&](Stream& one) { one.get_state(states); });
}

// All of a torn state that counts is written, so that it is whole again.
int set_state(fusedlstm_stream* stream, const float* states) {
  return alone(streams, stream, [&](Stream& one) { one.set_state(states); }, true);
}

int reset(fusedlstm_stream* stream, const unsigned char* rows) {
  return alone(streams, stream, [&](Stream& one) { one.reset(rows); }, rows == nullptr);
}

}  // namespace

void add_lstms(fusedlstm_api& api) {
  api.sizes = sizes;
  api.open = open;
  api.copy = copy;
  api.close = close;
  api.step = step;
  api.process = process;
  api.get_state = get_state;
  api.set_state = set_state;
  api.reset = reset;
}

}  // namespace fusedlstm
