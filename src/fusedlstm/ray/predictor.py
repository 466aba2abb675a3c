"""class Predictor: whole sequences of a Ray dataset, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._arguments import float32
from ..lstm import LSTM
from .sources import Source, loaded, use_own_cpus

Array = npt.NDArray[Any]

MOST_PADDING = 8
"""A padded batch is cut where its longest row has an eighth more steps than its shortest."""
MOST_NUMBERS = 1 << 22
"""Numbers of x and y in a padded batch: 16 MiB."""


class Predictor:
    """Run a model on a column of sequences; for ``ray.data.Dataset.map_batches``.

    Rows may be of different lengths: they are sorted and cut, so that padding stays below an eighth, and each gets the
    bits that it would have alone. A model (not an LSTM) is called with rows of one shape, without padding.

    Parameters
    ----------
    path : str, path, bytes, LSTM or Model
        What `LSTM.load` reads, from where every node can read it; its content; or a loaded model of one input.
    dtype : str or dtype, optional
        Round the weights, as `astype` does.
    prefix : str, optional
        Which LSTM of the file.
    column : str, optional
        The column of sequences: (time, input) each, or flat lists of time * input numbers. Default: the only one.
    output : str
        The new column: (time, output), flat where the sequence is flat. A model of several outputs gives one for
        each, ``output + "_" + name``.
    last : bool
        Of an LSTM: keep the last step's output alone, (output,).
    keep : sequence of str, optional
        Columns that go on beside the new one. Default: all.

    Examples
    --------
    >>> data = ray.data.read_parquet("sequences")                               # doctest: +SKIP
    >>> data = data.map_batches(                                                # doctest: +SKIP
    ...     fusedlstm.ray.Predictor, fn_constructor_args=("model.safetensors",), num_cpus=1
    ... )
    >>> data.write_parquet("outputs")                                           # doctest: +SKIP
    """

    def __init__(
        self,
        path: Source,
        dtype: npt.DTypeLike | None = None,
        *,
        prefix: str | None = None,
        column: str | None = None,
        output: str = "y",
        last: bool = False,
        keep: Sequence[str] | None = None,
    ) -> None:
        use_own_cpus()
        self.model = loaded(path, prefix, dtype)
        if isinstance(keep, str):
            raise TypeError(f"keep: expected a sequence of names, found the word {keep!r}")
        self._column, self._output, self._last, self._keep = column, output, last, keep
        self._one = False  # whether a model takes one row at a time
        self._apart = False  # whether rows are known not to see each other
        if isinstance(self.model, LSTM):
            if self.model.weights.merge == "none":
                raise ValueError("path: expected an LSTM of one output, found one whose directions stay apart")
        else:
            if len(self.model.inputs) != 1:
                raise ValueError(f"path: expected a model of one input, found {', '.join(self.model.inputs)}")
            (rows,) = (given.shape[0] for given in self.model.inputs.values())
            if rows not in (None, 1):
                raise ValueError(f"path: expected a model with a free number of rows, found one of {rows}")
            self._apart = self._one = rows == 1
            if last:
                raise ValueError("last: expected an LSTM, found a model; cut it there, Model.load(..., outputs=[...])")

    def __call__(self, batch: dict[str, Array]) -> dict[str, Array]:
        """The batch with its outputs.

        Raises
        ------
        TypeError, ValueError
            No such column, or a row that does not fit; the message says which.
        """
        name = _named("column", batch, self._column)
        rows = batch[name]
        made = self._of_lstm(name, rows) if isinstance(self.model, LSTM) else self._of_model(name, rows)
        kept = batch if self._keep is None else {one: batch[_named("keep", batch, one)] for one in self._keep}
        if taken := made.keys() & kept.keys():
            raise ValueError(f"output: expected a new column, found {', '.join(sorted(taken))} there already")
        return {**kept, **made}

    def _of_lstm(self, name: str, rows: Array) -> dict[str, Array]:
        lstm: Any = self.model
        sequences: list[Array] = []
        flat: set[int] = set()
        for k, row in enumerate(rows):
            array = float32(f"{name}, row {k}", _array(f"{name}, row {k}", row))
            if array.ndim == 1 and array.size % lstm.input_size == 0:
                flat.add(k)
                array = array.reshape(-1, lstm.input_size)
            if array.ndim != 2 or array.shape[1] != lstm.input_size:
                expected = f"(time, {lstm.input_size}), or a multiple of {lstm.input_size} numbers"
                raise ValueError(f"{name}, row {k}: expected shape {expected}; found {array.shape}")
            if self._last and not len(array):
                raise ValueError(f"{name}, row {k}: expected one step or more, found none")
            sequences.append(array)
        if len(flat) < len(sequences):  # a list of no steps has the form of the others
            flat = {k for k in flat if len(sequences[k])}
        made: list[Any] = [None] * len(sequences)
        for which in _groups([len(one) for one in sequences], lstm.input_size + lstm.output_size):
            for k, y in zip(which, _run_padded(lstm, [sequences[k] for k in which])):
                made[k] = y[-1].copy() if self._last else y.reshape(-1) if k in flat else y
        return {self._output: _column(made, self._last or (rows.dtype != object and not flat))}

    def _of_model(self, name: str, rows: Array) -> dict[str, Array]:
        model: Any = self.model
        arrays = [_array(f"{name}, row {k}", row) for k, row in enumerate(rows)]
        groups: dict[Any, list[int]] = {}
        for k, array in enumerate(arrays):
            groups.setdefault((array.shape, array.dtype), []).append(k)
        names = [self._output] if len(model.outputs) == 1 else [f"{self._output}_{one}" for one in model.outputs]
        made: list[list[Any]] = [[None] * len(arrays) for _ in names]
        for (shape, _), which in groups.items():
            most = 1 if self._one else max(1, MOST_NUMBERS // max(1, int(np.prod(shape))))
            for start in range(0, len(which), most):
                part = which[start : start + most]
                for column, y in zip(made, self._call(np.stack([arrays[k] for k in part]))):
                    for k, row in zip(part, y):
                        column[k] = row
        return {one: _column(column, len({one.shape for one in arrays}) == 1) for one, column in zip(names, made)}

    def _call(self, x: Array) -> tuple[Array, ...]:
        """Outputs of rows, which are known to lie on the first axis and not to see each other."""
        model: Any = self.model
        made = _tuple(model(x))
        right = all(y.shape[:1] == x.shape[:1] for y in made)
        if right and not self._apart:
            # The first row beside others, and alone: where rows are of many lengths, none may have another beside it.
            first = x[:1]
            others, alone = _tuple(model(np.concatenate([np.zeros_like(first), first, first]))), _tuple(model(first))
            right = all(len(y) == 3 and y[2].tobytes() == one[0].tobytes() for y, one in zip(others, alone))
            self._apart = right
        if not right:
            raise ValueError(
                "path: expected a model whose first axis is that of rows, each for itself; found outputs of a row that "
                "are others beside other rows (is the model time first?)"
            )
        return made


def _named(what: str, batch: dict[str, Array], name: str | None) -> str:
    if name is None and len(batch) == 1:
        return next(iter(batch))
    if name is None or name not in batch:
        raise ValueError(f"{what}: expected one of {', '.join(batch)}, found {name!r}")
    return name


def _array(name: str, row: Any) -> Array:
    """A row as Ray gives it: an array, or lists in lists."""
    if isinstance(row, np.ndarray) and row.dtype != object:
        return row
    if row is None or not np.iterable(row) or isinstance(row, (str, bytes)):
        found = "none" if row is None else type(row).__name__
        raise ValueError(f"{name}: expected a sequence, found {found}")
    try:
        return np.array([np.asarray(step) for step in row])
    except ValueError as error:
        raise ValueError(f"{name}: expected steps of one size, found several ({error})") from error


def _groups(lengths: Sequence[int], width: int) -> Iterator[list[int]]:
    """Rows that run together: of nearly the same length, the shortest first."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    start = 0
    for end in range(1, len(order) + 1):
        if end < len(order):
            first, longest = lengths[order[start]], lengths[order[end]]
            fits = (longest - first) * MOST_PADDING <= longest
            if fits and (end - start + 1) * longest * width <= MOST_NUMBERS:
                continue
        yield order[start:end]
        start = end


def _run_padded(lstm: LSTM, sequences: list[Array]) -> Iterator[Array]:
    """Outputs of each."""
    lengths = [len(one) for one in sequences]
    x = np.zeros((len(sequences), max(1, lengths[-1]), lstm.input_size), np.float32)
    for row, one in zip(x, sequences):
        row[: len(one)] = one
    same = lengths[0] == lengths[-1] > 0
    given = x if lstm.batch_first else x.swapaxes(0, 1)
    made: Any = lstm(given, lengths=None if same else lengths)[0]
    for y, length in zip(made if lstm.batch_first else made.swapaxes(0, 1), lengths):
        yield y[:length]


def _column(rows: list[Any], one_shape: bool) -> Array:
    """What Ray takes as a column: one array where rows are of one shape by their kind, or an array of arrays."""
    if one_shape and rows:
        return np.stack(rows)
    column = np.empty(len(rows), object)
    for k, row in enumerate(rows):
        column[k] = row
    return column


def _tuple(made: Any) -> tuple[Array, ...]:
    return made if isinstance(made, tuple) else (made,)
