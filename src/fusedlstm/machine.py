"""What this machine has and what of it is used."""

from __future__ import annotations

from typing import TypedDict

from . import _core
from ._core import get_num_threads, set_num_threads

__all__ = ["CPUInfo", "cpu_info", "get_num_threads", "set_num_threads"]


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
