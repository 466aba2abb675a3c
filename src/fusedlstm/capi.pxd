# csrc/capi.h for Cython.

cdef extern from "capi.h" nogil:
    int FUSEDLSTM_API_VERSION
    int FUSEDLSTM_OK, FUSEDLSTM_BUSY, FUSEDLSTM_NO_MEMORY, FUSEDLSTM_UNSUPPORTED, FUSEDLSTM_INVALID
    int FUSEDLSTM_CLOSED, FUSEDLSTM_TORN

    ctypedef struct fusedlstm_lstm:
        pass
    ctypedef struct fusedlstm_stream:
        pass
    ctypedef struct fusedlstm_model:
        pass
    ctypedef struct fusedlstm_model_stream:
        pass
    ctypedef struct fusedlstm_array:
        void* data
        size_t rows, row_bytes, stride
    ctypedef struct fusedlstm_sizes:
        size_t input_size, output_size, num_layers, state_size, multiplications
    ctypedef struct fusedlstm_api:
        unsigned version, size
        void (*sizes)(const fusedlstm_lstm*, fusedlstm_sizes*, size_t) noexcept nogil
        int (*open)(const fusedlstm_lstm*, size_t, fusedlstm_stream**) noexcept nogil
        int (*copy)(fusedlstm_stream*, fusedlstm_stream**) noexcept nogil
        int (*close)(fusedlstm_stream*) noexcept nogil
        int (*step)(fusedlstm_stream*, const float*, float*, const unsigned char*) noexcept nogil
        int (*process)(fusedlstm_stream*, size_t, const float*, ptrdiff_t, ptrdiff_t, float*, ptrdiff_t, ptrdiff_t) noexcept nogil
        int (*get_state)(fusedlstm_stream*, float*) noexcept nogil
        int (*set_state)(fusedlstm_stream*, const float*) noexcept nogil
        int (*reset)(fusedlstm_stream*, const unsigned char*) noexcept nogil
        int (*open_model)(const fusedlstm_model*, fusedlstm_model_stream**) noexcept nogil
        int (*copy_model)(fusedlstm_model_stream*, fusedlstm_model_stream**) noexcept nogil
        int (*close_model)(fusedlstm_model_stream*) noexcept nogil
        int (*model_input)(fusedlstm_model_stream*, size_t, fusedlstm_array*) noexcept nogil
        int (*model_output)(fusedlstm_model_stream*, size_t, fusedlstm_array*) noexcept nogil
        int (*step_model)(fusedlstm_model_stream*) noexcept nogil
        size_t (*model_state_bytes)(const fusedlstm_model*) noexcept nogil
        int (*get_model_state)(fusedlstm_model_stream*, void*) noexcept nogil
        int (*set_model_state)(fusedlstm_model_stream*, const void*) noexcept nogil
        int (*reset_model)(fusedlstm_model_stream*) noexcept nogil
