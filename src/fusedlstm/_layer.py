"""What an LSTM and a ConvLSTM have in common: weights, the files that they come from and go to, the engine's form."""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

from . import formats
from ._arguments import thread_count
from ._assumed import settled, tell_axes, untold
from .formats import Config, Given
from .weights import ConvLSTMWeights, LSTMWeights
from .weights.checked import expect_type

Weights = TypeVar("Weights", LSTMWeights, ConvLSTMWeights)
Self = TypeVar("Self", bound="Layer[Any]")


class Layer(Generic[Weights]):
    """Trained weights, packed and ready to run."""

    __slots__ = ("_core", "_threads", "_untold", "weights")

    weights: Weights
    _kind: ClassVar[type[Any]]  # of the weights

    def __init__(self, weights: Weights, threads: int | None = None) -> None:
        expect_type("weights", weights, self._kind)
        self._hold(weights, threads)

    @classmethod
    def _of(cls: type[Self], weights: Any, threads: int | None) -> Self:
        """Of weights that need nothing more, such as rounding."""
        one = cls.__new__(cls)
        one._hold(weights, threads)
        return one

    @classmethod
    def load_all(
        cls: type[Self], path: Given, *, config: Config | None = None, threads: int | None = None
    ) -> dict[str, Self]:
        """Load all of a file, by the prefix under which `load` finds each.

        Parameters
        ----------
        path, config, threads
            As for `load`.

        Raises
        ------
        OSError, ImportError, FormatError
            As for `load`; FormatError where none can be read: what is refused is left out, and a warning says why.
        """
        contents = formats.open(path, config)
        found = settled(cls.__name__, contents.load_all(cls._kind), contents.file)
        return {prefix: cls(weights, threads) for prefix, weights in found.items()}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the native form, a self-describing safetensors file that `load` reads back bit for bit.

        A file that is there is replaced when the new one is whole, and leaves its mode and owner. What was assumed of
        the weights is stated in it: whoever loads it is not told again.

        Raises
        ------
        OSError
            The file cannot be written, or what is there is no regular file.
        ValueError
            The name has the suffix of another format.
        """
        from .formats.native.safetensors import save

        tell_axes(self._untold)
        save(self.weights, path)

    def __repr__(self) -> str:
        """Show the sizes, and what is not the default."""
        assumed = "+".join(one.argument for one in self.weights.assumed)
        threads = "" if self.threads is None else f", threads={self.threads}"
        return f"{type(self).__name__}({', '.join(self._shown())}{threads}{assumed and f', assumed={assumed}'})"

    @property
    def threads(self) -> int | None:
        """The most threads a call uses. None: as many as `set_num_threads` says."""
        return self._threads

    def __reduce__(self) -> Any:
        """Pickle the weights; packing is done again when unpickled."""
        return type(self), (self.weights, self.threads)

    def _hold(self, weights: Weights, threads: int | None) -> None:
        """Keep them, packed."""
        self._threads = thread_count("threads", threads)
        self.weights, self._untold = weights, untold(weights)
        self._core = self._packed()
        self._core.threads = self.threads or 0

    @abstractmethod
    def _packed(self) -> Any:
        """The engine's form."""

    @abstractmethod
    def _shown(self) -> list[str]:
        """What `repr` says."""
