/* The C API: live streams over an LSTM or a whole model that fusedlstm has loaded. For C, C++, Cython, Rust, ctypes.
 *
 * The functions come as a struct of pointers, so that there is one engine, one thread team and one choice of instruction
 * set in a process, whoever calls. In Python, `fusedlstm.c_api()` gives the address of the struct and `LSTM.handle` that
 * of an LSTM; from Cython, cimport fusedlstm.stream. `handle` of a model's stream (`Model.stream`) is what streams of that
 * model are opened from.
 *
 * Arrays of an LSTM are float32. A stream belongs to one thread at a time; different streams may run side by side. Once
 * open, a stream does not allocate, lock or enter the kernel. A call that meets another thread in the stream, or a stream
 * that was closed meanwhile, says so: a fusedlstm_stream* is a number that is looked up, never an address.
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

typedef struct fusedlstm_model fusedlstm_model; /* one step of a model, and where it starts; must outlive its streams */
typedef struct fusedlstm_model_stream fusedlstm_model_stream;

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

/* An input or output of a model's step, which stays where it is while the stream is open: `rows` rows of `row_bytes`, each
 * `stride` bytes after the one before; one row, unless an input has a context in front of each. */
typedef struct fusedlstm_array {
  void* data;
  size_t rows, row_bytes, stride;
} fusedlstm_array;

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

  /* A model's streams start where the stream of Python's was when its `handle` was asked for. */
  int (*open_model)(const fusedlstm_model* model, fusedlstm_model_stream** stream);
  int (*copy_model)(fusedlstm_model_stream* stream, fusedlstm_model_stream** copy);
  int (*close_model)(fusedlstm_model_stream* stream);

  /* The inputs that a step reads and the outputs that it writes, in the order of Python's stream.input and stream.output.
   * FUSEDLSTM_INVALID: there is none of that number. */
  int (*model_input)(fusedlstm_model_stream* stream, size_t index, fusedlstm_array* array);
  int (*model_output)(fusedlstm_model_stream* stream, size_t index, fusedlstm_array* array);

  /* One step. FUSEDLSTM_INVALID: a value that cannot be, such as an id past the end of a table; the state is as before. */
  int (*step_model)(fusedlstm_model_stream* stream);

  /* All that is kept from step to step; how many bytes that is. */
  size_t (*model_state_bytes)(const fusedlstm_model* model);
  int (*get_model_state)(fusedlstm_model_stream* stream, void* state);
  int (*set_model_state)(fusedlstm_model_stream* stream, const void* state);
  int (*reset_model)(fusedlstm_model_stream* stream); /* back to where it started */
} fusedlstm_api;

#ifdef __cplusplus
}
#endif

#endif
