# cimport fusedlstm.stream: step from Cython without Python in between.

from .capi cimport fusedlstm_api, fusedlstm_sizes, fusedlstm_stream


# What Stream.process runs without the GIL; Ctrl-C ends it.
cdef struct Chunk:
    const fusedlstm_api* api
    fusedlstm_stream* stream
    size_t time
    const float* x
    float* y
    ptrdiff_t x_row, x_time, y_row, y_time

ctypedef int (*WithoutGil)(int (*)(const void*) noexcept nogil, const void*) noexcept


cdef class Stream:
    cdef const fusedlstm_api* api
    cdef fusedlstm_stream* stream
    cdef fusedlstm_sizes sizes
    cdef tuple output_shape
    cdef float* input_data
    cdef float* output_data
    cdef size_t rows
    cdef bint releases
    cdef bint time_first
    cdef object core  # keeps the packed weights, whatever becomes of lstm
    cdef readonly object lstm
    cdef readonly object input
    cdef readonly object output

    # One step on contiguous (batch, input) and (batch, output) float32; a status of capi.h. Needs no GIL. A stream that is
    # closed meanwhile says so.
    cdef int step_into(self, const float* x, float* y) noexcept nogil
