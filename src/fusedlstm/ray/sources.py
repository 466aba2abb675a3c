"""What the actors of a cluster run, and how it comes to them."""

from __future__ import annotations

import os
from typing import Any

import numpy.typing as npt

from ..lstm import LSTM
from ..machine import set_num_threads
from ..model import Model

Source = str | os.PathLike[str] | bytes | LSTM | Model
"""A file of an LSTM, its content, or what was loaded (and is pickled on its way)."""


def loaded(source: Source, prefix: str | None = None, dtype: npt.DTypeLike | None = None) -> LSTM | Model:
    """The model itself, in the process that runs it."""
    if not isinstance(source, (LSTM, Model)):
        # Rows are sequences here, which is what files that leave the order of axes open are asked.
        return LSTM.load(source, prefix, batch_first=True, dtype=dtype)
    if prefix is not None:
        raise ValueError(f"prefix: expected none beside a {type(source).__name__} that is loaded, found {prefix!r}")
    return source if dtype is None else source.astype(dtype)


def use_own_cpus() -> None:
    """As many threads as Ray has given CPUs to this actor; one where that is a part of one."""
    import ray

    if ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None:
        cpus: Any = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
        set_num_threads(max(1, int(cpus)))
