/* Runs a whole model on audio from C, a block at a time: what a plug-in does with the table of capi.h.
 *
 *     cc -O2 -shared -fPIC -I "$(python -c 'import fusedlstm; print(fusedlstm.include_dir())')" model.c -o libmodel.so
 *
 * and, in Python (without argtypes, ctypes would cut addresses to 32 bits):
 *
 *     stream = fusedlstm.Model.load("amplifier.safetensors").stream()    # one sample in, one sample out
 *     run = ctypes.CDLL("./libmodel.so").run
 *     run.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_size_t] * 2
 *     status = run(fusedlstm.c_api(), stream.handle, x.ctypes.data, y.ctypes.data, len(x), 64)
 *
 * with x and y of float32. `stream` must live as long as what C has opened. The status is one of capi.h, 0 if all is well.
 */
#include <string.h>

#include "capi.h"

/* What an audio callback does: no allocation, no lock, no system call. */
static int block(const fusedlstm_api* api, fusedlstm_model_stream* stream, const fusedlstm_array* in,
                 const fusedlstm_array* out, const float* x, float* y, size_t count) {
  const size_t inputs = in->row_bytes / sizeof(float), outputs = out->row_bytes / sizeof(float);
  int status = FUSEDLSTM_OK;
  for (size_t t = 0; t < count && status == FUSEDLSTM_OK; ++t) {
    memcpy(in->data, x + t * inputs, in->row_bytes);
    status = api->step_model(stream);
    memcpy(y + t * outputs, out->data, out->row_bytes);
  }
  return status;
}

int run(const fusedlstm_api* api, const fusedlstm_model* model, const float* x, float* y, size_t steps, size_t size) {
  fusedlstm_model_stream* stream;
  fusedlstm_array in, out;
  int status;
  if (api->version != FUSEDLSTM_API_VERSION || api->size < sizeof(fusedlstm_api)) return FUSEDLSTM_INVALID;
  status = api->open_model(model, &stream);
  if (status != FUSEDLSTM_OK) return status;
  status = api->model_input(stream, 0, &in);
  if (status == FUSEDLSTM_OK) status = api->model_output(stream, 0, &out);
  for (size_t t = 0; t < steps && status == FUSEDLSTM_OK; t += size) {
    const size_t count = steps - t < size ? steps - t : size;
    status = block(api, stream, &in, &out, x + t * (in.row_bytes / sizeof(float)), y + t * (out.row_bytes / sizeof(float)),
                   count);
  }
  api->close_model(stream);
  return status;
}
