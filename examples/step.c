/* Steps an LSTM from C: what a plug-in or another language's binding does with the table of capi.h.
 *
 *     cc -O2 -shared -fPIC -I "$(python -c 'import fusedlstm; print(fusedlstm.include_dir())')" step.c -o libstep.so
 *
 * and, in Python (without argtypes, ctypes would cut addresses to 32 bits):
 *
 *     run = ctypes.CDLL("./libstep.so").run
 *     run.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_size_t]
 *     status = run(fusedlstm.c_api(), lstm.handle, x.ctypes.data, y.ctypes.data, len(x))
 *
 * with arrays of float32, x of shape (steps, input_size) and y of shape (steps, output_size), C-contiguous. The status is one
 * of capi.h, 0 if all is well.
 */
#include "capi.h"

int run(const fusedlstm_api* api, const fusedlstm_lstm* lstm, const float* x, float* y, size_t steps) {
  fusedlstm_sizes sizes;
  fusedlstm_stream* stream;
  int status;
  if (api->version != FUSEDLSTM_API_VERSION || api->size < sizeof(fusedlstm_api)) return FUSEDLSTM_INVALID;
  api->sizes(lstm, &sizes, sizeof sizes);
  status = api->open(lstm, 1, &stream);
  if (status != FUSEDLSTM_OK) return status;
  for (size_t t = 0; t < steps && status == FUSEDLSTM_OK; ++t)
    status = api->step(stream, x + t * sizes.input_size, y + t * sizes.output_size, NULL);
  api->close(stream);
  return status;
}
