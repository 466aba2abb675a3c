"""Whole models in float16, bfloat16 and int8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy.typing as npt

from .graph import Graph, Precision, expect_names
from .weights.lstm import checked_products
from .weights.precision import dtype_name

if TYPE_CHECKING:
    from .model import Model


class InPrecision:
    """What of a model is about its weights' precision."""

    graph: Graph
    simplified: Graph
    _threads: int | None

    def astype(self, dtype: npt.DTypeLike, products: str | None = None, *, keep: Sequence[str] = ()) -> Model:
        """Round the weights of LSTMs, GRUs, dense layers, convolutions and embeddings: less memory to read, so faster.

        Embeddings gain where their tables are larger than the caches, and take as long or longer where they are not.
        Biases, normalisations and convolutions of few outputs in each group stay float32; so does what is
        computed, unless `products` says otherwise.

        Parameters
        ----------
        dtype : str or dtype
            ``"float32"``, ``"float16"``, ``"bfloat16"`` or ``"int8"`` (a scale for each row of a matrix). What the file
            has is rounded, whatever this model was rounded to.
        products : str, optional
            What the inputs of products are rounded to, as in `LSTM.astype`. Default: what adds no error.
        keep : sequence of str
            Nodes that stay in float32: by name (`profile` shows them), a part of it between slashes or dots, or a glob.

        Raises
        ------
        ValueError
            A precision that does not exist, or a name that no node with weights has. The first call tells of weights
            that are NaN, infinite or too large.
        """
        if isinstance(keep, str):
            raise TypeError(f"keep: expected a sequence of names such as [{keep!r}], found a string")
        name = dtype_name(dtype)
        precision = Precision(name, checked_products(name, products), tuple(keep))
        expect_names(self.simplified, precision.keep)
        from .model import Model

        return Model(self.graph.replace(precision=precision), self._threads)

    @property
    def dtype(self) -> str:
        """What the weights are held in."""
        return self.graph.precision.dtype
