"""class Sequential: a model of parts, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import Graph, Value
from ..model import Model
from .flow import Builder, Flow, PartError, Shape
from .layers import Embedding
from .part import Part
from .steps import parts_of


class Sequential(Model):
    """A model put together from parts, one after the other, such as those of a PyTorch state dict.

    Parameters
    ----------
    *parts : Part, LSTM, Sequential, Activation or str
        Layers (`Embedding`, `Linear`, `Conv1d`, `LayerNorm`, `BatchNorm1d`, `LSTM`), `Last`, `Residual`, `Transpose`,
        and activations by their names in torch.nn.functional: ``"relu"``, ``"softmax"`` (over the last axis), ....
    lengths : bool
        Whether the model takes the lengths of the rows as a second input: LSTMs and `Last` heed them.
    shape : tuple, optional
        Of the input, None where a size is free. Default: what the parts need; two axes where two and three would do.
    threads : int, optional
        The most threads a call uses, whatever was said to its parts.

    Raises
    ------
    TypeError, ValueError
        What is no part, or does not fit to the part before it; the message names it.

    Examples
    --------
    >>> import fusedlstm as fl
    >>> f = "classifier.pt"
    >>> model = fl.Sequential(
    ...     fl.Embedding.load(f, "emb"), fl.LSTM.load(f, "rnn", batch_first=True), fl.Last(), fl.Linear.load(f, "head"),
    ... )                                                               # doctest: +SKIP
    >>> scores = model(tokens)                                          # doctest: +SKIP
    """

    def __init__(
        self,
        *parts: Any,
        lengths: bool = False,
        shape: Sequence[int | None] | None = None,
        threads: int | None = None,
    ) -> None:
        self.parts = tuple(parts_of(parts))
        super().__init__(_graph(self.parts, lengths, None if shape is None else tuple(shape)), threads)


def _graph(parts: Sequence[Part], lengths: bool, shape: Shape | None) -> Graph:
    """The graph, with an input of as few axes as the parts can do with."""
    words = isinstance(parts[0], Embedding)
    ranks: Sequence[int] = (2,) if words else (2, 3)
    failed: PartError | None = None
    for start in [shape] if shape is not None else [(None,) * rank for rank in ranks]:
        builder = Builder(start, lengths, words)
        try:
            time = 1 if len(start) == 3 or (words and len(start) == 2) else None
            return _made(builder, builder.run(parts, Flow(builder.INPUT, start, time)))
        except PartError as error:
            if failed is None or error.place >= failed.place:
                failed = error
    assert failed is not None
    raise ValueError(str(failed)) from failed.__cause__


def _made(builder: Builder, y: Flow) -> Graph:
    kind = np.dtype(np.int64 if builder.words else np.float32)
    inputs = [Value(builder.INPUT, kind, builder.shape)]
    if builder.lengths:
        inputs.append(Value(builder.lengths, np.dtype(np.int64), (None,)))
    last = builder.nodes[-1]  # named as the output; no part gives back what it takes
    outputs = tuple(builder.OUTPUT if name == y.name else name for name in last.outputs)
    nodes = [*builder.nodes[:-1], type(last)(last.op, last.inputs, outputs, last.attributes, last.name)]
    return Graph(inputs, [Value(builder.OUTPUT, np.dtype(np.float32), y.shape)], nodes, builder.constants, "Sequential")
