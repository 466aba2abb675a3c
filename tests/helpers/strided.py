"""Small graphs whose tensors lie in memory in any way: transposed, every other element of a larger one, or turned around."""

import numpy as np
from graphs import Builder
from planned import check_planned

from fusedlstm.graph import Value


class Lying:
    """A graph in the making, with inputs that are added as they are needed."""

    def __init__(self, rng):
        self.rng, self.builder, self.fed = rng, Builder(), {}

    def input(self, array):
        """An array that lies in some way."""
        array = np.asarray(array)
        how = self.rng.integers(4) if array.ndim else 0
        if how == 1:
            order = self.rng.permutation(array.ndim)
            return self.builder("Transpose", self._fed(array.transpose(np.argsort(order))), perm=tuple(map(int, order)))
        if how in (2, 3):
            axis, size = int(self.rng.integers(array.ndim)), 0
            size = array.shape[axis]
            wide = np.repeat(array, 2, axis)
            places = slice(None, None, 2) if how == 2 else slice(None, None, -2)
            np.moveaxis(wide, axis, 0)[places] = np.moveaxis(array, axis, 0)
            start, end, step = (0, 2 * size, 2) if how == 2 else (2 * size, -(1 << 40), -2)
            given = [np.array([number]) for number in (start, end, axis, step)]
            return self.builder("Slice", self._fed(wide), *given)
        return self._fed(array)

    def _fed(self, array):
        name = f"x{len(self.fed)}"
        self.fed[name] = np.array(array, order="C")
        self.builder.inputs.append(Value(name, array.dtype, array.shape))
        return name

    def check(self, *outputs, **tolerance):
        """The engine's outputs are those of the operators' meaning."""
        return check_planned(self.builder.graph(*outputs), self.fed, **tolerance)


def check(rng, op, *inputs, outputs=1, rtol=1e-5, atol=1e-6, **attributes):
    """One operator: arrays lie in any way, other inputs (names or tuples of arrays) are constants."""
    graph = Lying(rng)
    names = [
        one
        if isinstance(one, str)
        else graph.builder.const(one[0], np.asarray(one[0]).dtype)
        if isinstance(one, tuple)
        else graph.input(one)
        for one in inputs
    ]
    made = graph.builder(op, *names, outputs=outputs, **attributes)
    try:
        return graph.check(*([made] if outputs == 1 else made), rtol=rtol, atol=atol)
    except AssertionError as error:
        shapes = [np.shape(one[0] if isinstance(one, tuple) else one) for one in inputs]
        raise AssertionError(f"{op} {shapes} {attributes}: {error}") from error


def floats(rng, *shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def some_shape(rng, least=1, most=5, largest=9):
    return tuple(int(size) for size in rng.integers(1, largest + 1, rng.integers(least, most + 1)))
