"""Swapping modules, undoing it, and saying what was done."""

from __future__ import annotations

from typing import Any

import torch

from .._arguments import thread_count
from .._swapped import Entry, Report
from ..weights.lstm import checked_products
from ..weights.precision import dtype_name
from . import modules
from .fused import Fused
from .modules import Accelerated

_SWAPS: dict[type[Any], type[Any]] = {
    one.original: one
    for one in (modules.LSTM, modules.GRU, modules.RNN, modules.LSTMCell, modules.GRUCell, modules.RNNCell)
}
_KINDS = tuple(one.__name__ for one in _SWAPS)


def accelerate(model: Any, *, dtype: Any = None, products: str | None = None, threads: int | None = None) -> Any:
    """Swap the recurrent modules of a model, in place: those of ``torch.nn``, LSTM, GRU, RNN and their cells.

    Each stays the object that it was, with its name, parameters, hooks and ``state_dict``. In `eval` mode, without
    gradients, on a CPU and outside of autocast it runs here; else, and wherever that cannot be done, it runs as before,
    with the same weights. Changed weights are noticed and packed again.

    Parameters
    ----------
    model : torch.nn.Module
        A model, or such a module alone.
    dtype, products : str, optional
        What weights are rounded to, as `fusedlstm.LSTM.astype` does. Default: nothing is rounded.
    threads : int, optional
        The most threads of a call. Default: as many as ``torch.get_num_threads()`` says.

    Returns
    -------
    torch.nn.Module
        The same model. `report` says what was swapped and what was not.

    Raises
    ------
    TypeError
        No module.
    ValueError
        A precision or a number of threads that cannot be.
    """
    _expect_module(model)
    threads = thread_count("threads", threads)
    name = None if dtype is None else dtype_name(dtype)
    if products is not None or name is not None:
        products = checked_products(name or "float32", products)
    for module in model.modules():
        if isinstance(module, Accelerated) or not _refusal(module):
            kind = type(module)
            module.__class__ = _SWAPS.get(kind, kind)
            module._fused = Fused(name, products, threads)
    return model


def restore(model: Any) -> Any:
    """Undo `accelerate`, in place; returns the model.

    Raises
    ------
    TypeError
        No module.
    """
    _expect_module(model)
    for module in model.modules():
        if isinstance(module, Accelerated):
            del module._fused
            kind = type(module)
            if kind in _SWAPS.values():
                module.__class__ = kind.original
            else:  # a parametrisation has given it a class of its own
                kind.__bases__ = (kind.original,)
    return model


def refresh(model: Any) -> Any:
    """Pack all weights again at the next call; returns the model.

    For whoever changes some of a tensor's numbers behind PyTorch's back, through ``.data`` or memory that it shares
    with NumPy. Everything else is noticed.
    """
    _expect_module(model)
    for module in model.modules():
        if isinstance(module, Accelerated):
            module._fused.forget()
    return model


def report(model: Any) -> Report:
    """What of a model runs here, what does not, and why.

    Raises
    ------
    TypeError
        No module.
    """
    _expect_module(model)
    entries = []
    for name, module in model.named_modules():
        if isinstance(module, Accelerated):
            fused = module._fused
            entries.append(Entry(name, module.original.__name__, True, fused.why, fused.dtype or ""))
        elif _is_recurrent(module):
            why = _refusal(module) or "accelerate was not called since it is there"
            entries.append(Entry(name, _kind_of(module), False, why))
    return Report(entries)


def _expect_module(model: Any) -> None:
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model: expected a torch.nn.Module, found {type(model).__name__}")


def _kind_of(module: Any) -> str:
    return str(getattr(module, "original_name", type(module).__name__))


def _is_recurrent(module: Any) -> bool:
    bases = (torch.nn.RNNBase, torch.nn.RNNCellBase)
    return isinstance(module, bases) or _kind_of(module) in _KINDS


def _refusal(module: Any) -> str:
    """Why a module is not swapped; empty where it is."""
    if torch.nn.utils.parametrize.is_parametrized(module):
        return "its weights are computed in each call (a parametrisation)"
    if "forward" in vars(module):
        return "its forward is not that of its class"
    if type(module) in _SWAPS:
        names = modules.names_of(module)
        if [name for name, one in module._parameters.items() if one is not None and name not in names]:
            return "its weights are computed in each call (weight norm, pruning or the like)"
        return ""
    if isinstance(module, torch.jit.ScriptModule):
        return "it is compiled by TorchScript; accelerate the module before"
    if isinstance(module, tuple(_SWAPS)):
        return f"{type(module).__name__} is a subclass, which may compute something else"
    return f"{type(module).__module__}.{type(module).__name__} is none of torch.nn's own"
