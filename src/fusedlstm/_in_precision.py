"""Whole models in float16, bfloat16 and int8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy.typing as npt

from .graph import Graph, Precision, checked_keep, expect_names, in_float32
from .weights.lstm import checked_products
from .weights.precision import dtype_name

if TYPE_CHECKING:
    from .model import Model


class InPrecision:
    """What of a model is about its weights' precision."""

    graph: Graph
    simplified: Graph
    _threads: int | None

    def astype(self, dtype: npt.DTypeLike, products: str | None = None, *, keep: Sequence[str] | None = ()) -> Model:
        """Round the weights of LSTMs, GRUs, dense layers, convolutions and embeddings: less memory to read, so faster.

        Embeddings gain where their tables are larger than the caches, and take as long or longer where they are not.
        Biases, normalisations and depthwise convolutions stay float32, and what else `summary` names; so does what
        is computed, unless `products` says otherwise.

        Parameters
        ----------
        dtype : str or dtype
            ``"float32"``, ``"float16"``, ``"bfloat16"`` or ``"int8"`` (a scale for each row of a matrix). What the file
            has is rounded, whatever this model was rounded to.
        products : str, optional
            What the inputs of products are rounded to, as in `LSTM.astype`. Default: what adds no error.
        keep : sequence of str
            Nodes that stay in float32: by name (`profile` shows them); where no node has that whole name, by parts of
            it between slashes or dots (the first ones, where a slash is in front), or as a glob.

        Raises
        ------
        TypeError, ValueError
            A precision that does not exist, names that are none, or a name that no node with weights has. The first
            call tells of weights that are NaN, infinite or too large.
        """
        name = dtype_name(dtype)
        precision = Precision(name, checked_products(name, products), checked_keep(keep))
        expect_names(self.simplified, precision)
        from .model import Model

        return Model(self.graph.replace(precision=precision), self._threads)

    @property
    def dtype(self) -> str:
        """What the weights are held in."""
        return self.graph.precision.dtype

    def summary(self) -> str:
        """What the model computes, a line for each node that is left when it has been simplified.

        Of lower precisions also what the weights are held in, and what of them stays float32.
        """
        return "\n".join((str(self.simplified), *(() if self.dtype == "float32" else (self.in_words(),))))

    def in_words(self, most: int = 5) -> str:
        """Such as ``int8 weights; float32 stays: head (Dense) 12.3%``: the share of all weights, the largest first."""
        precision = self.graph.precision
        stays = {} if self.dtype == "float32" else in_float32(self.simplified, precision)
        named = [f"{title} {share:.1%}" for title, share in stays.items()]
        if len(named) > most:
            rest = sum(list(stays.values())[most:])
            named[most:] = [f"{len(named) - most} more nodes {rest:.1%}"]
        return f"{precision} weights" + (f"; float32 stays: {', '.join(named)}" if named else "")
