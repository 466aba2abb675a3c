"""Arrays that become longer in their place: however large they are, nobody waits for a copy."""

from __future__ import annotations

import errno
import mmap
from typing import Any

import numpy as np
import numpy.typing as npt


class Growing:
    """Rows, zeros at first, in pages of their own, which the system moves without reading them (Linux: mremap).

    Where it cannot, growing copies. Not safe to share between threads without a lock.
    """

    array: npt.NDArray[Any]
    """(rows, columns). Do not keep it: after `grow` it is another one."""

    def __init__(self, rows: int, columns: int, dtype: npt.DTypeLike) -> None:
        self._columns, self._dtype = columns, np.dtype(dtype)
        self._memory = _pages(self._bytes(rows))
        self._look()

    def grow(self, rows: int) -> None:
        """Add rows of zeros, up to so many in all."""
        del self.array  # the system moves pages only where nobody looks at them
        try:
            self._memory.resize(self._bytes(rows))
        except (BufferError, OSError, SystemError, ValueError):
            larger = _pages(self._bytes(rows))
            larger[: len(self._memory)] = self._memory[:]
            self._memory = larger
        finally:
            self._look()

    def _bytes(self, rows: int) -> int:
        return rows * self._columns * self._dtype.itemsize

    def _look(self) -> None:
        count = len(self._memory) // self._bytes(1)
        flat = np.frombuffer(self._memory, self._dtype, count * self._columns)
        self.array = flat.reshape(count, self._columns)


def _pages(size: int) -> mmap.mmap:
    try:
        if hasattr(mmap, "MAP_PRIVATE"):  # a forked child has its own
            return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return mmap.mmap(-1, size)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        raise MemoryError(f"expected {size} bytes of memory, found less") from error
