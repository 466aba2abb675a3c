#include "capi.hpp"

#include <limits>
#include <new>
#include <stdexcept>

#include "stream.hpp"

namespace fusedlstm {

namespace {

const Lstm& lstm_of(const fusedlstm_lstm* lstm) { return *reinterpret_cast<const Lstm*>(lstm); }
Stream& stream_of(fusedlstm_stream* stream) { return *reinterpret_cast<Stream*>(stream); }

// run(stream), unless another thread is in it.
template <class Run>
int alone(fusedlstm_stream* stream, Run run) noexcept {
  Stream& one = stream_of(stream);
  if (one.in_use.test_and_set(std::memory_order_acquire)) return FUSEDLSTM_BUSY;
  int status = FUSEDLSTM_OK;
  try {
    run(one);
  } catch (const std::bad_alloc&) {
    status = FUSEDLSTM_NO_MEMORY;
  } catch (...) {
    status = FUSEDLSTM_INVALID;
  }
  one.in_use.clear(std::memory_order_release);
  return status;
}

void sizes(const fusedlstm_lstm* handle, fusedlstm_sizes* sizes) {
  const Lstm& lstm = lstm_of(handle);
  const Shape& shape = lstm.shape();
  *sizes = {lstm.input_size(), shape.output_size(), shape.layers.size(), shape.state_size(), shape.multiplications()};
}

int open(const fusedlstm_lstm* handle, size_t batch, fusedlstm_stream** stream) {
  const Lstm& lstm = lstm_of(handle);
  if (lstm.shape().num_directions != 1 || lstm.shape().reverse) return FUSEDLSTM_UNSUPPORTED;
  if (batch == 0 || batch > std::numeric_limits<int>::max()) return FUSEDLSTM_INVALID;
  try {
    *stream = reinterpret_cast<fusedlstm_stream*>(new Stream(lstm, batch));
  } catch (const std::exception&) {  // of the standard library, for want of memory
    return FUSEDLSTM_NO_MEMORY;
  }
  return FUSEDLSTM_OK;
}

int copy(fusedlstm_stream* stream, fusedlstm_stream** copy) {
  return alone(stream, [&](Stream& one) { *copy = reinterpret_cast<fusedlstm_stream*>(new Stream(one)); });
}

int close(fusedlstm_stream* stream) {
  if (stream_of(stream).in_use.test_and_set(std::memory_order_acquire)) return FUSEDLSTM_BUSY;
  delete &stream_of(stream);
  return FUSEDLSTM_OK;
}

int step(fusedlstm_stream* stream, const float* x, float* y, const unsigned char* active) {
  return alone(stream, [&](Stream& one) { one.step(x, y, active); });
}

int process(fusedlstm_stream* stream, size_t time, const float* x, ptrdiff_t x_row, ptrdiff_t x_time, float* y,
            ptrdiff_t y_row, ptrdiff_t y_time) {
  return alone(stream, [&](Stream& one) { one.process(time, sequence(x, x_row, x_time), sequence(y, y_row, y_time)); });
}

int get_state(fusedlstm_stream* stream, float* states) {
  return alone(stream, [&](Stream& one) { one.get_state(states); });
}

int set_state(fusedlstm_stream* stream, const float* states) {
  return alone(stream, [&](Stream& one) { one.set_state(states); });
}

int reset(fusedlstm_stream* stream, const unsigned char* rows) {
  return alone(stream, [&](Stream& one) { one.reset(rows); });
}

}  // namespace

const fusedlstm_api c_api = {
    FUSEDLSTM_API_VERSION, sizeof(fusedlstm_api), sizes, open, copy, close, step, process, get_state, set_state, reset};

}  // namespace fusedlstm
