#include "capi.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <stdexcept>

#include "fork.hpp"
#include "handles.hpp"
#include "stream.hpp"

namespace fusedlstm {

namespace {

// What a compiled program has in it: new members go to the end, and these numbers with them.
static_assert(sizeof(fusedlstm_sizes) == 5 * sizeof(std::size_t));
static_assert(sizeof(fusedlstm_api) == 2 * sizeof(unsigned) + 9 * sizeof(void (*)()));
static_assert(sizeof(unsigned) * 2 % alignof(void (*)()) == 0);

const Lstm& lstm_of(const fusedlstm_lstm* lstm) { return *reinterpret_cast<const Lstm*>(lstm); }
std::uintptr_t number_of(fusedlstm_stream* stream) { return reinterpret_cast<std::uintptr_t>(stream); }

// Made when the library is loaded, never destroyed: threads may be in streams when the process ends.
Handles<Stream>& streams = *[] {
#if defined(FL_HAS_FORK)
  pthread_atfork([] { streams.before_fork(); }, [] { streams.after_fork(); }, [] { streams.after_fork_in_child(); });
#endif
  return new Handles<Stream>;
}();

int status_of(Found found) {
  switch (found) {
    case Found::idle:
      return FUSEDLSTM_OK;
    case Found::busy:
      return FUSEDLSTM_BUSY;
    case Found::torn:
      return FUSEDLSTM_TORN;
    case Found::closed:
      break;
  }
  return FUSEDLSTM_CLOSED;
}

template <class Run>
int guarded(Run run) noexcept {
  try {
    run();
  } catch (const std::bad_alloc&) {
    return FUSEDLSTM_NO_MEMORY;
  } catch (const std::length_error&) {  // the standard library's word for more memory than there can be
    return FUSEDLSTM_NO_MEMORY;
  } catch (...) {
    return FUSEDLSTM_INVALID;
  }
  return FUSEDLSTM_OK;
}

// run(stream), unless another thread is in it.
template <class Run>
int alone(fusedlstm_stream* stream, Run run, bool mends = false) noexcept {
  Stream* one = nullptr;
  if (const Found found = streams.take(number_of(stream), &one, mends); found != Found::idle) return status_of(found);
  const int status = guarded([&] { run(*one); });
  streams.leave(number_of(stream));
  return status;
}

int adopt(std::unique_ptr<Stream> one, fusedlstm_stream** stream) noexcept {
  return guarded([&] { *stream = reinterpret_cast<fusedlstm_stream*>(streams.open(std::move(one))); });
}

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
  return status == FUSEDLSTM_OK ? adopt(std::move(one), stream) : status;
}

int copy(fusedlstm_stream* stream, fusedlstm_stream** copy) {
  std::unique_ptr<Stream> twin;
  const int status = alone(stream, [&](Stream& one) { twin = std::make_unique<Stream>(one); });
  return status == FUSEDLSTM_OK ? adopt(std::move(twin), copy) : status;
}

int close(fusedlstm_stream* stream) { return status_of(streams.close(number_of(stream))); }

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

// All of a torn state that counts is written, so that it is whole again.
int set_state(fusedlstm_stream* stream, const float* states) {
  return alone(stream, [&](Stream& one) { one.set_state(states); }, true);
}

int reset(fusedlstm_stream* stream, const unsigned char* rows) {
  return alone(stream, [&](Stream& one) { one.reset(rows); }, rows == nullptr);
}

}  // namespace

const fusedlstm_api c_api = {
    FUSEDLSTM_API_VERSION, sizeof(fusedlstm_api), sizes, open, copy, close, step, process, get_state, set_state, reset};

}  // namespace fusedlstm
