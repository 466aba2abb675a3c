"""LSTMs and models of what is in memory already: live modules, trees of parameters, state dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from . import formats
from ._assumed import settled
from .formats import Config
from .weights import LSTMWeights

if TYPE_CHECKING:
    from .graph import Graph  # which takes long to import

Self = TypeVar("Self", bound="FromMemory")
Whole = TypeVar("Whole", bound="ModelFromMemory")


class FromMemory:
    """What else an LSTM is made from than a file."""

    __slots__ = ()

    def __init__(self, weights: LSTMWeights, threads: int | None = None) -> None:
        """Of weights."""

    @classmethod
    def from_state_dict(
        cls: type[Self],
        tensors: Mapping[str, Any],
        prefix: str | None = None,
        *,
        batch_first: bool | None = None,
        config: Config | None = None,
        ignore: Sequence[str] = (),
        threads: int | None = None,
    ) -> Self:
        """Take an LSTM from arrays or tensors by their names, as files of a state dict have them.

        Parameters
        ----------
        tensors : mapping of str to array
            NumPy arrays, or tensors of PyTorch, JAX or TensorFlow; dictionaries of them in each other, too.
        prefix, batch_first, config, ignore, threads
            As for `load`.

        Raises
        ------
        TypeError, FormatError
            `tensors` is not a mapping; otherwise as for `load`.
        """
        found = {prefix or "": formats.of_mapping(tensors, config, ignore).load(LSTMWeights, prefix)}
        (weights,) = settled("LSTM", found, "", batch_first).values()
        return cls(weights, threads)

    @classmethod
    def from_torch(cls: type[Self], module: Any, *, threads: int | None = None) -> Self:
        """Take the weights of a ``torch.nn.LSTM`` or ``torch.nn.LSTMCell``; keeps the module's ``batch_first``.

        `threads` is as for `load`.

        Raises
        ------
        TypeError
            `module` is something else.
        """
        from .formats.torch.module import from_module

        return cls(from_module(module), threads)

    @classmethod
    def from_keras(cls: type[Self], layer: Any, *, threads: int | None = None) -> Self:
        """Take the weights of a built Keras layer: ``LSTM``, ``RNN`` of one or several LSTMCells, ``Bidirectional``.

        `threads` is as for `load`.

        Raises
        ------
        TypeError
            `layer` is something else.
        FormatError
            The layer computes something that is not supported; the message names it.
        """
        from .formats.keras.layer import from_layer

        return cls(from_layer(layer), threads)

    @classmethod
    def from_flax(
        cls: type[Self],
        params: Mapping[Any, Any],
        prefix: str | None = None,
        *,
        batch_first: bool | None = None,
        config: Config | None = None,
        threads: int | None = None,
    ) -> Self:
        """Take the weights of a Flax ``LSTMCell`` or ``OptimizedLSTMCell``: alone, in an ``RNN`` or ``Bidirectional``.

        Parameters
        ----------
        params : mapping
            linen: the variables or parameters, as `init` returns them. nnx: ``nnx.state(module)``, or a dict of it.
        prefix : str, optional
            Which LSTM, by its path in the tree without "params", such as ``"encoder/cell"``. Not needed when there is
            only one.
        batch_first, config, threads
            As for `load`: parameters do not say how the model uses them.

        Raises
        ------
        TypeError
            `params` is not a mapping.
        FormatError
            No LSTM, several and `prefix` is not one of them, or parameters that do not fit together.
        """
        from .formats.flax.params import contents

        found = {prefix or "": contents(params, config=config).load(LSTMWeights, prefix)}
        (weights,) = settled("LSTM", found, "", batch_first).values()
        return cls(weights, threads)


class ModelFromMemory:
    """What else a whole model is made from than a file."""

    __slots__ = ()

    def __init__(self, graph: Graph, threads: int | None = None) -> None:
        """Of a graph."""

    @classmethod
    def from_keras(cls: type[Whole], model: Any, *, threads: int | None = None) -> Whole:
        """Take a live Keras model, Sequential or Functional, of Keras 2 or 3 and any backend; `threads` as in `load`.

        Raises
        ------
        TypeError
            `model` is something else.
        FormatError
            It holds a layer that is not supported; the message names it.
        """
        from .formats.keras.model.live import from_model

        return cls(from_model(model), threads)

    @classmethod
    def from_torch(
        cls: type[Whole],
        module: Any,
        example_inputs: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        dynamic_shapes: Any = None,
        outputs: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> Whole:
        """Take a live PyTorch module, through ``torch.export``; what a .pt2 file holds is read in the same way.

        Parameters
        ----------
        module : torch.nn.Module or torch.export.ExportedProgram
            In eval mode; one in training mode is taken as if it were, and a warning tells so.
        example_inputs : tuple, optional
            Tensors or arrays that it is called with, one alone without a tuple; their shapes and types are those of the
            model's inputs. Not needed for a program.
        kwargs : dict, optional
            What it is called with by name.
        dynamic_shapes : dict or tuple, optional
            Sizes that are free, as torch.export takes them: ``{"x": {0: torch.export.Dim("batch")}}``. The number of
            steps of LSTMs, GRUs and RNNs may be among them, which torch.export alone does not allow.
        outputs : sequence of str, optional
            Nodes of the program to cut the model at.
        threads : int, optional
            As for `load`.

        Raises
        ------
        TypeError
            `module` is something else.
        ValueError
            torch.export cannot trace the module.
        FormatError
            It holds an operator that is not supported; the message names it.
        """
        from .formats.torch.whole.live import from_module

        return cls(from_module(module, example_inputs, kwargs, dynamic_shapes, outputs), threads)
