"""Live PyTorch modules: through torch.export, and the same reader as files."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from ....errors import AssumptionWarning, FormatError
from ....graph import Graph
from ...containers.source import Source
from .packed import packed_sequences
from .registry import OPERATORS

_ATEN = "aten::"


def from_module(
    module: Any, args: Any, kwargs: Mapping[str, Any] | None, dynamic_shapes: Any, outputs: Sequence[str] | None
) -> Graph:
    """The graph of a live module, or of a program that was exported already.

    Raises
    ------
    TypeError
        `module` is something else.
    ValueError
        torch.export cannot trace it.
    FormatError
        It holds something that is not supported; the message names it.
    """
    torch = sys.modules.get("torch")  # whoever has a module has imported it
    if torch is None or not isinstance(module, (torch.nn.Module, torch.export.ExportedProgram)):
        kind = type(module)
        raise TypeError(f"module: expected a torch.nn.Module, found {kind.__module__}.{kind.__qualname__}")
    if isinstance(module, torch.jit.ScriptModule):
        raise TypeError("module: expected a torch.nn.Module, found one of TorchScript; give the module it was made of")
    program = module
    if isinstance(module, torch.nn.Module):
        program = _exported(torch, module, args, kwargs, dynamic_shapes)
    refused: FormatError | None = None
    try:
        graph = _read(torch, program, outputs)
        if not graph.refusals:
            return graph
    except FormatError as error:
        refused = error
    with suppress(FormatError):  # PyTorch may know how to say it in operators that are known here
        other = _read(torch, _decomposed(torch, program), outputs)
        if refused is not None or len(other.refusals) < len(graph.refusals):
            return other
    if refused is not None:
        raise refused
    return graph


def _exported(torch: Any, module: Any, args: Any, kwargs: Mapping[str, Any] | None, dynamic_shapes: Any) -> Any:
    args = tuple(args) if isinstance(args, (tuple, list)) else () if args is None else (args,)
    args, kwargs = torch.utils._pytree.tree_map(_apart(torch), (args, dict(kwargs or {})))
    modes = {one: one.training for one in module.modules()}
    if any(modes.values()):
        told = "module: taken as in eval mode, found in training mode; module.eval() says so"
        warnings.warn(told, AssumptionWarning, stacklevel=4)
    accelerated = {one: type(one) for one in module.modules() if type(one).__module__ == "fusedlstm.torch.modules"}
    try:
        for one, kind in accelerated.items():
            one.__class__ = kind.original
        module.eval()
        with torch.no_grad(), _open_steps(torch), packed_sequences(torch), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(module, args, kwargs, dynamic_shapes=dynamic_shapes)
    except Exception as error:  # whatever the module's own code raises, too
        raise ValueError(f"module: torch.export cannot trace it: {str(error)[:2000]}") from error
    finally:
        for one, kind in accelerated.items():
            one.__class__ = kind
        for one, mode in modes.items():
            one.training = mode


def _apart(torch: Any) -> Callable[[Any], Any]:
    """Examples as tensors, each of its own: torch.export takes one that is given twice for one input."""
    import numpy as np

    seen: set[int] = set()

    def tensor(one: Any) -> Any:
        if isinstance(one, np.ndarray):
            return torch.from_numpy(one.copy())
        if isinstance(one, torch.Tensor):
            if id(one) in seen:
                return one.clone()
            seen.add(id(one))
        return one

    return tensor


def _read(torch: Any, program: Any, outputs: Sequence[str] | None) -> Graph:
    from ..export import read

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.export.save(program, file)
        except Exception as error:  # PyTorch's own: a type of outputs that files do not know
            raise ValueError(f"module: torch.export cannot save it: {str(error)[:2000]}") from error
    contents = read(Source(file.getvalue(), name=""))
    assert contents is not None
    return contents.whole(outputs)


def _decomposed(torch: Any, program: Any) -> Any:
    """The program with what is not known here taken apart, as far as PyTorch knows how to."""
    table = torch.export.default_decompositions()
    for operator in list(table):
        name = operator.name().removeprefix(_ATEN)
        if (name if "." in name else f"{name}.default") in OPERATORS:
            del table[operator]
    with _open_steps(torch), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            return program.run_decompositions(table)
        except Exception as error:  # PyTorch's own, of many kinds
            raise FormatError(f"expected a program that can be decomposed, found none ({error})") from error


@contextmanager
def _open_steps(torch: Any) -> Iterator[None]:
    """Let the number of steps stay open: PyTorch finds the shape of what an LSTM gives by a loop over them, and that of
    a pool in whole numbers.
    """
    keys = [getattr(torch._C.DispatchKey, name) for name in ("CompositeImplicitAutograd", "Autograd", "Meta")]
    kept: list[tuple[Any, dict[Any, Any]]] = []
    operators: dict[Any, Any] = {}
    with suppress(AttributeError):  # of another version: steps are those of the example then
        layers = ("lstm", "gru", "rnn_tanh", "rnn_relu")
        operators = {getattr(torch.ops.aten, name).input: _shapes for name in layers}
        operators[torch.ops.aten.max_pool1d.default] = partial(_pooled, torch)
        for operator, shapes in operators.items():
            for table, own in ((operator.py_kernels, keys), (torch._decomp.decomposition_table, [operator])):
                kept.append((table, {key: table.get(key) for key in own}))
                table.update(dict.fromkeys(own, shapes))
            operator._dispatch_cache.clear()
    try:
        yield
    finally:
        for table, entries in kept:
            for key, value in entries.items():
                if value is None:
                    del table[key]
                else:
                    table[key] = value
        for operator in operators:
            operator._dispatch_cache.clear()


def _shapes(x: Any, states: Any, params: Any, *options: Any) -> Any:
    """What an LSTM, GRU or RNN gives, without numbers."""
    several = list(states) if isinstance(states, (list, tuple)) else [states]
    bidirectional = options[4]
    y = x.new_empty((*x.shape[:-1], several[0].shape[-1] * (2 if bidirectional else 1)))
    return (y, *(one.new_empty(one.shape) for one in several))


def _pooled(
    torch: Any, x: Any, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """What a pool over one dimension gives, as one over two."""
    sizes = [list(one) if isinstance(one, (list, tuple)) else [one] for one in (kernel, stride, padding, dilation)]
    kernel, stride, padding, dilation = ([other, *one] if one else [] for other, one in zip((1, 1, 0, 1), sizes))
    return torch.max_pool2d(x.unsqueeze(-2), kernel, stride, padding, dilation, ceil_mode).squeeze(-2)
