"""The table of csrc/capi.h for ctypes."""

import ctypes
from ctypes import CFUNCTYPE, POINTER, c_int, c_size_t, c_ssize_t, c_uint, c_void_p

import fusedlstm as fl

OK, BUSY, UNSUPPORTED, INVALID, CLOSED, TORN = 0, 1, 3, 4, 5, 6


class Sizes(ctypes.Structure):
    _fields_ = [(name, c_size_t) for name in ("input", "output", "layers", "state", "multiplications")]


class Api(ctypes.Structure):
    _fields_ = [
        ("version", c_uint),
        ("size", c_uint),
        ("sizes", CFUNCTYPE(None, c_size_t, c_void_p, c_size_t)),
        ("open", CFUNCTYPE(c_int, c_size_t, c_size_t, POINTER(c_size_t))),
        ("copy", CFUNCTYPE(c_int, c_size_t, POINTER(c_size_t))),
        ("close", CFUNCTYPE(c_int, c_size_t)),
        ("step", CFUNCTYPE(c_int, c_size_t, c_void_p, c_void_p, c_void_p)),
        ("process", CFUNCTYPE(c_int, c_size_t, c_size_t, c_void_p, *[c_ssize_t] * 2, c_void_p, *[c_ssize_t] * 2)),
        ("get_state", CFUNCTYPE(c_int, c_size_t, c_void_p)),
        ("set_state", CFUNCTYPE(c_int, c_size_t, c_void_p)),
        ("reset", CFUNCTYPE(c_int, c_size_t, c_void_p)),
        ("open_model", CFUNCTYPE(c_int, c_size_t, POINTER(c_size_t))),
        ("copy_model", CFUNCTYPE(c_int, c_size_t, POINTER(c_size_t))),
        ("close_model", CFUNCTYPE(c_int, c_size_t)),
        ("model_input", CFUNCTYPE(c_int, c_size_t, c_size_t, c_void_p)),
        ("model_output", CFUNCTYPE(c_int, c_size_t, c_size_t, c_void_p)),
        ("step_model", CFUNCTYPE(c_int, c_size_t)),
        ("model_state_bytes", CFUNCTYPE(c_size_t, c_size_t)),
        ("get_model_state", CFUNCTYPE(c_int, c_size_t, c_void_p)),
        ("set_model_state", CFUNCTYPE(c_int, c_size_t, c_void_p)),
        ("reset_model", CFUNCTYPE(c_int, c_size_t)),
    ]


API = Api.from_address(fl.c_api())
