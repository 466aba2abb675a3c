"""Weight files: one module per format, recognised by content.

A format module has

- ``NAME``: what to call it in messages,
- ``matches(path, head) -> bool``: whether the file is of this format, judged by content
  (`head` is its first 512 bytes),
- ``read(path) -> dict[str, Callable[[], LSTMWeights]]``: every LSTM in the file by its prefix, the
  source framework's own name for it (``""`` at the root). The weights are built when called, so one
  LSTM that is refused does not stand in the way of another. The same callable under several names is
  one LSTM: the first is listed, each loads it.

- optionally ``read_conv(path)``, the same for ConvLSTMs.

It raises :class:`FormatError` without the file's name, which is added here, and imports the library
it needs inside its functions (`containers.need` names the extra). Modules whose name starts with an underscore are
parts that several formats share, not formats; one format never imports another.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from ..errors import FormatError
from ..weights import ConvLSTMWeights, LSTMWeights

Reader = Callable[[], LSTMWeights]
T = TypeVar("T")
Readers = dict[str, Callable[[], T]]

_READ = {"LSTM": "read", "ConvLSTM": "read_conv"}  # the class that loads it, and the format module's function
_A = {"LSTM": "an LSTM", "ConvLSTM": "a ConvLSTM"}

# One line per format; the first that matches reads the file.
FORMATS = (
    "native.safetensors",
    "torch.script",
    "torch.export",
    "torch.checkpoint",
    "keras.archive",
    "numpy.elmo",
    "keras.hdf5",
    "numpy.npz",
    "tflite.lstm",
    "onnx.lstm",
    "flax.msgpack",
    "audio.models",
)

MAX_PARAMETERS, FREE_PARAMETERS = 16, 1 << 20
"""Of all LSTMs together, for each byte of their file and besides: names may share bytes, as tied modules do."""


def find(path: str | os.PathLike[str]) -> dict[str, Reader]:
    """Every LSTM in a weights file, by prefix.

    Raises
    ------
    OSError
        The file cannot be read (missing, a directory, no permission).
    ImportError
        The format needs a library that is not installed; the message names the extra.
    FormatError
        The file is damaged, hostile, of an unknown format, or holds no LSTM.
    """
    return _listed(_read(Path(path), "LSTM"))


def find_any(path: str | os.PathLike[str]) -> tuple[Readers[LSTMWeights], Readers[ConvLSTMWeights]]:
    """Every LSTM and every ConvLSTM in a weights file; raises as `find` does if there is neither."""
    module = recognise(Path(path))
    lstms, conv_lstms = (_listed(_found(Path(path), module, kind)) for kind in _READ)
    return (lstms if lstms or conv_lstms else find(path)), conv_lstms


def load(path: str | os.PathLike[str], prefix: str | None = None) -> LSTMWeights:
    """The weights of the LSTM called `prefix`, or of the only one in the file."""
    weights: LSTMWeights = _load(Path(path), prefix, "LSTM")
    return weights


def load_conv(path: str | os.PathLike[str], prefix: str | None = None) -> ConvLSTMWeights:
    """The weights of the ConvLSTM called `prefix`, or of the only one in the file."""
    weights: ConvLSTMWeights = _load(Path(path), prefix, "ConvLSTM")
    return weights


def _load(path: Path, prefix: str | None, kind: str) -> Any:
    found = _read(path, kind)
    if prefix is not None and prefix not in found:
        for other in _READ.keys() - {kind}:
            if prefix in _found(path, recognise(path), other):
                raise FormatError(
                    f"{path}: expected {_A[kind]} called {prefix!r}, found {_A[other]} (use {other}.load)"
                )
    return _guarded(path, "file", lambda: choose(found, prefix, kind)())


def load_all(path: str | os.PathLike[str]) -> dict[str, LSTMWeights]:
    """The weights of every LSTM in a file, by prefix."""
    return _load_all(Path(path), "LSTM")


def load_all_conv(path: str | os.PathLike[str]) -> dict[str, ConvLSTMWeights]:
    """The weights of every ConvLSTM in a file, by prefix."""
    return _load_all(Path(path), "ConvLSTM")


def _load_all(path: Path, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    left = limit = FREE_PARAMETERS + MAX_PARAMETERS * path.stat().st_size
    for prefix, read in _listed(_read(path, kind)).items():
        try:
            found[prefix] = read()
        except FormatError as error:
            raise FormatError(f"{error} ({kind} {prefix!r})") from error
        left -= found[prefix].num_parameters
        if left < 0:
            raise FormatError(
                f"{path}: expected at most {limit} parameters in all {kind}s of a file of this size, found more by "
                f"{prefix!r}, which share their bytes; load one by its prefix"
            )
    return found


def choose(found: Readers[Any], prefix: str | None, kind: str = "LSTM") -> Callable[[], Any]:
    """The LSTM called `prefix`, or the only one; those that are numbered under `prefix`, as one stack."""
    listed = _listed(found)
    names = ", ".join(repr(name) for name in listed)
    if not found:
        raise FormatError(f"expected {_A[kind]}, found none")
    if prefix is None and len(listed) > 1:
        raise FormatError(f"expected one {kind}, found {len(listed)}; choose one with prefix=: {names}")
    if kind == "LSTM" and prefix is not None and prefix not in found and (stack := _stack(found, prefix)):
        return stack
    if prefix is not None and prefix not in found:
        raise FormatError(f"expected {_A[kind]} called {prefix!r}, found {names}")
    return next(iter(found.values())) if prefix is None else found[prefix]


def _stack(found: dict[str, Reader], prefix: str) -> Reader | None:
    """``cells.0``, ``cells.1``, …: a list of cells is a stack if its own name is asked for, and no number is missing.

    TensorFlow 1's MultiRNNCell calls them ``cell_0/lstm_cell`` and so on.
    """
    name = re.compile(
        rf"{re.escape(prefix)}{'[./]' if prefix else ''}(?:cell_)?(0|[1-9][0-9]{{0,4}})(?:/\w*lstm_cell)?"
    )
    numbered = [(int(match[1]), reader) for full, reader in found.items() if (match := name.fullmatch(full))]
    members = dict(numbered)
    if not members or sorted(members) != list(range(len(numbered))):
        return None

    def read() -> LSTMWeights:
        parts = [members[k]() for k in range(len(members))]
        for k, part in enumerate(parts):
            plain = LSTMWeights(part.layers, part.batch_first)
            other = any(getattr(part, option.name) != getattr(plain, option.name) for option in fields(part))
            if other or part.num_layers > 1 or part.bidirectional:
                raise FormatError(f"{prefix}: expected a list of cells to stack, found something else as number {k}")
        return replace(parts[0], layers=[layer for part in parts for layer in part.layers])

    return read


def recognise(path: Path) -> ModuleType:
    """The format module for a file, judged by its content."""
    if (path / "saved_model.pb").is_file():
        raise FormatError(
            f"{path}: expected a weights file, found a TensorFlow SavedModel directory, which has no variable names; "
            'load it in TensorFlow and save it again: tf_keras.models.load_model(directory).save("model.h5")'
        )
    with open(path, "rb") as file:
        head = file.read(512)
    for name in FORMATS:
        module = import_module(f".{name}", __name__)
        if _guarded(path, module.NAME, lambda module=module: module.matches(path, head)):  # type: ignore[misc]
            return module
    raise FormatError(
        f"{path}: expected a weights file (PyTorch, safetensors, Keras, ONNX, TensorFlow Lite, Flax, npz or JSON), "
        f"found {'an empty file' if not head else f'unknown content starting with {head[:8]!r}'}"
    )


def _read(path: Path, kind: str) -> Readers[Any]:
    module = recognise(path)
    found = _found(path, module, kind)
    if not found:
        others = {other: ", ".join(map(repr, _found(path, module, other))) for other in _READ.keys() - {kind}}
        hint = "".join(f"; found {other} {names} (use {other}.load)" for other, names in others.items() if names)
        raise FormatError(f"{path}: expected {_A[kind]}, found none in this {module.NAME}{hint}")
    return found


def _found(path: Path, module: ModuleType, kind: str) -> Readers[Any]:
    """What a format module finds of one kind, guarded."""
    if not hasattr(module, _READ[kind]):
        return {}
    found: Readers[Any] = _guarded(path, module.NAME, lambda: getattr(module, _READ[kind])(path))
    named = {reader: _named(path, module.NAME, prefix, reader, kind) for prefix, reader in _listed(found).items()}
    return {prefix: named[reader] for prefix, reader in found.items()}


def _listed(found: Readers[T]) -> Readers[T]:
    """Each LSTM once, by its first name."""
    names: dict[Callable[[], T], str] = {}
    for prefix, reader in found.items():
        names.setdefault(reader, prefix)
    return {prefix: reader for reader, prefix in names.items()}


def _named(path: Path, format_name: str, prefix: str, reader: Callable[[], T], kind: str) -> Callable[[], T]:
    return lambda: _guarded(path, f"{format_name}, {kind} {prefix!r}" if prefix else format_name, reader)


def _guarded(path: Path, what: str, run: Callable[[], T]) -> T:
    """Run a reader so that nothing but the documented errors comes out of a bad file."""
    try:
        return run()
    except (ImportError, MemoryError):
        raise
    except (FormatError, ValueError, TypeError) as error:
        if isinstance(error, FormatError) and str(error).startswith(f"{path}: "):
            raise
        raise FormatError(f"{path}: {error}") from error
    except Exception as error:  # whatever a library says of a damaged file
        raise FormatError(f"{path}: damaged {what} ({type(error).__name__}: {error})") from error
