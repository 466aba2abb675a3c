/* The C API: live streams over an LSTM that fusedlstm has loaded. For C, C++, Cython, Rust, ctypes.
 *
 * The functions come as a struct of pointers, so that there is one engine, one thread team and one choice of instruction
 * set in a process, whoever calls. In Python, `fusedlstm.c_api()` gives the address of the struct and `LSTM.handle` that
 * of an LSTM; from Cython, cimport fusedlstm.stream.
 *
 * All arrays are float32. A stream belongs to one thread at a time; different streams may run side by side. Once open,
 * a stream does not allocate, lock or enter the kernel. A call that meets another thread in the stream, or a stream that was
 * closed meanwhile, says so: a fusedlstm_stream* is a number that is looked up, never an address.
 */
#ifndef FUSEDLSTM_CAPI_H
#define FUSEDLSTM_CAPI_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a program compiled with an older header would no longer work. Functions are added at the end only; how many
 * there are tells `size`. */
#define FUSEDLSTM_API_VERSION 2

typedef struct fusedlstm_lstm fusedlstm_lstm;     /* packed weights; immutable; must outlive its streams */
typedef struct fusedlstm_stream fusedlstm_stream; /* the state of `batch` rows that step together */

enum fusedlstm_status {
  FUSEDLSTM_OK = 0,
  FUSEDLSTM_BUSY = 1,        /* another thread is using this stream; nothing was done */
  FUSEDLSTM_NO_MEMORY = 2,   /* nothing was done */
  FUSEDLSTM_UNSUPPORTED = 3, /* a bidirectional or reversed LSTM cannot run step by step */
  FUSEDLSTM_INVALID = 4,     /* an argument that cannot be, such as a batch of 0 */
  FUSEDLSTM_CLOSED = 5,      /* this stream is closed, or never was */
  FUSEDLSTM_TORN = 6         /* the process was forked while another thread was in this stream, so that its state in the
                                child is undefined: set_state and a reset of all rows mend it, close still works */
};

/* New numbers are added at the end only. */
typedef struct fusedlstm_sizes {
  size_t input_size, output_size; /* features of x and of y */
  size_t num_layers;
  size_t state_size;      /* floats of one row's state */
  size_t multiplications; /* per row and step: what a step costs */
} fusedlstm_sizes;

typedef struct fusedlstm_api {
  unsigned version; /* FUSEDLSTM_API_VERSION */
  unsigned size;    /* sizeof(fusedlstm_api) of the library */

  /* `bytes`: sizeof(fusedlstm_sizes) of the caller's header, as much as is written; numbers that this library does not know
   * are 0. */
  void (*sizes)(const fusedlstm_lstm* lstm, fusedlstm_sizes* sizes, size_t bytes);

  /* A new stream with a state of zeros; close it when done. */
  int (*open)(const fusedlstm_lstm* lstm, size_t batch, fusedlstm_stream** stream);
  int (*copy)(fusedlstm_stream* stream, fusedlstm_stream** copy);
  int (*close)(fusedlstm_stream* stream);

  /* One step: x (batch, input_size), y (batch, output_size), both contiguous; they may overlap. Rows whose `active` byte is
   * 0 keep their state and get zeros; active may be NULL. */
  int (*step)(fusedlstm_stream* stream, const float* x, float* y, const unsigned char* active);

  /* `time` steps: row b at step t is x[b * x_row + t * x_time]; y alike; they may not overlap. */
  int (*process)(fusedlstm_stream* stream, size_t time, const float* x, ptrdiff_t x_row, ptrdiff_t x_time, float* y,
                 ptrdiff_t y_row, ptrdiff_t y_time);

  /* A row's state is state_size floats: for each layer h, then c. States are (batch, state_size), contiguous. */
  int (*get_state)(fusedlstm_stream* stream, float* states);
  int (*set_state)(fusedlstm_stream* stream, const float* states);

  /* Back to zeros (or the model's own initial state), for the rows whose byte is not 0, or all when rows is NULL. */
  int (*reset)(fusedlstm_stream* stream, const unsigned char* rows);
} fusedlstm_api;

#ifdef __cplusplus
}
#endif

#endif
