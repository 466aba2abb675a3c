"""What this machine has and what of it is used."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from . import _core
from ._arguments import thread_count

__all__ = ["CPUInfo", "c_api", "cpu_info", "get_num_threads", "include_dir", "set_num_threads"]


class CPUInfo(TypedDict):
    """What `cpu_info` returns."""

    model: str
    isa: str
    available: list[str]
    num_threads: int


def cpu_info() -> CPUInfo:
    """The CPU and what fusedlstm uses of it.

    Returns
    -------
    dict
        ``model``: the CPU's own name; ``isa``: the instruction set in use (the environment variable FUSEDLSTM_ISA
        overrides it before the first import); ``available``: those that could be used, best first; ``num_threads``: the
        most threads a call uses (FUSEDLSTM_NUM_THREADS or `set_num_threads`).

    Examples
    --------
    >>> import fusedlstm as fl
    >>> fl.cpu_info()["isa"] in fl.cpu_info()["available"]
    True
    """
    return {
        "model": _core.cpu_model(),
        "isa": _core.isa(),
        "available": _core.available_isas(),
        "num_threads": get_num_threads(),
    }


def get_num_threads() -> int:
    """The most threads a call uses, of models that were not given a number of their own."""
    return _core.get_num_threads()


def set_num_threads(count: int) -> None:
    """Set the most threads a call uses, of models that were not given a number of their own (``load(..., threads=n)``).

    Parameters
    ----------
    count : int
        1 or more.

    Raises
    ------
    TypeError, ValueError
        No whole number, or one below 1.
    """
    wanted = thread_count("count", count)
    if wanted is None:
        raise TypeError("count: expected a whole number, found None")
    _core.set_num_threads(wanted)


def c_api() -> int:
    """The address of the ``fusedlstm_api`` of ``capi.h``, the table of functions that C, C++, Rust or ctypes call.

    Returns
    -------
    int
        Valid as long as the process lives. `LSTM.handle` is what its functions take for an LSTM.
    """
    return _core.c_api_address()


def include_dir() -> str:
    """The folder of ``capi.h``, for the compiler's ``-I``."""
    # An editable install has the sources here, and what is built beside the extension.
    places = [Path(file).parent / "include" for file in (__file__, _core.__file__)]
    return str(next((place for place in places if (place / "capi.h").is_file()), places[0]))
