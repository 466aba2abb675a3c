/* Steps an LSTM from C: what a plug-in or another language's binding does with the table of capi.h.
 *
 *     cc -O2 -shared -fPIC -I "$(python -c 'import fusedlstm; print(fusedlstm.include_dir())')" step.c -o libstep.so
 *
 * and, in Python, ctypes.CDLL("libstep.so").run(fusedlstm.c_api(), lstm.handle, x, y, steps), with pointers to arrays of
 * float32, (steps, input_size) and (steps, output_size). Returns a status of capi.h.
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
