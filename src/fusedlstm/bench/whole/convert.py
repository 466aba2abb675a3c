"""A model for the engines that do not read its file: converted once, by the frameworks' own converters.

Each conversion runs in a process of its own, since frameworks choose their backends and threads when they are imported.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from ...formats import open as open_file
from .engine import Feed

KINDS = {
    "ONNX": ("onnx", (".onnx",)), "TensorFlow Lite": ("tflite", (".tflite",)), "Keras file": ("keras", (".keras",)),
    "Keras HDF5 file": ("keras", (".h5", ".hdf5")), "PyTorch exported program": ("pt2", (".pt2",)),
    "safetensors file": ("native", (".safetensors",)),
}  # fmt: skip
"""By what `formats.open` calls a file: what engines call it, and the suffixes that they know it by."""
LONGEST = 600
"""Seconds that a conversion may take."""


class Converted(NamedTuple):
    """One form of the model."""

    kind: str
    path: Path
    how: str
    """By what it was converted; empty: the file itself."""


def kind_of(path: Path) -> tuple[str, tuple[str, ...]]:
    """What kind of file it is, by what is in it, and the suffixes that such have.

    Raises
    ------
    ValueError
        Of another kind, or a folder.
    """
    found = open_file(path).format
    if path.is_dir() or found not in KINDS:
        raise ValueError(f"{path}: expected a file of one of {', '.join(KINDS)}, found {found}")
    return KINDS[found]


def forms(
    path: Path, feed: Feed, folder: Path, wanted: Collection[str] | None = None
) -> tuple[list[Converted], dict[str, str]]:
    """The file, and what can be made of it in `folder` of kinds that are wanted; why the rest could not."""
    kind, suffixes = kind_of(path)
    if path.suffix.lower() not in suffixes:  # engines go by it
        path = Path(shutil.copy(path, folder / f"{path.name}{suffixes[0]}"))
    found, failed = [Converted(kind, path, "")], dict[str, str]()
    for name, way in WAYS.items():
        if path.suffix.lower() not in way.starts or (wanted is not None and way.end not in wanted):
            continue
        missing = [module for module in way.needs if find_spec(module) is None]
        if missing:
            failed[name] = f"needs {', '.join(missing)}"
            continue
        target = folder / f"{path.stem}.{name.replace(' ', '_')}.{way.end}"
        shapes = {one: (list(array.shape), array.dtype.name) for one, array in feed.items()}
        arguments = [sys.executable, "-c", _RUN, name, str(path), str(target), repr(shapes)]
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment |= {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            ran = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=LONGEST)
        except subprocess.TimeoutExpired:
            failed[name] = f"took longer than {LONGEST} s"
            continue
        if ran.returncode == 0 and target.is_file():
            found.append(Converted(way.end, target, name))
        else:
            said = [line for line in ran.stderr.strip().splitlines() if line and not line.startswith(" ")]
            failed[name] = said[-1][:200] if said else f"ended with code {ran.returncode}"
    return found, failed


_RUN = (
    "import sys, ast; from fusedlstm.bench.whole.convert import WAYS; "
    "WAYS[sys.argv[1]].convert(sys.argv[2], sys.argv[3], ast.literal_eval(sys.argv[4]))"
)
Shapes = Mapping[str, tuple[list[int], str]]


class Way(NamedTuple):
    """From one kind of file to another."""

    starts: tuple[str, ...]
    """Suffixes."""
    end: str
    needs: tuple[str, ...]
    convert: Callable[[str, str, Shapes], None]


def _loaded(library: Any, path: str, shapes: Shapes) -> tuple[Any, Any]:
    """A Keras model, and it as a TensorFlow function of the shapes of the call."""
    tensorflow = import_module("tensorflow")
    model = library.models.load_model(path, compile=False)
    specs = [tensorflow.TensorSpec(shape, kind, name) for name, (shape, kind) in shapes.items()]

    def run(*inputs: Any) -> Any:
        return model(list(inputs) if len(inputs) > 1 else inputs[0])

    return model, tensorflow.function(run, specs)


def _tflite(library: Any, path: str, target: str, shapes: Shapes) -> None:
    tensorflow = import_module("tensorflow")
    freeze = import_module("tensorflow.python.framework.convert_to_constants").convert_variables_to_constants_v2
    model, run = _loaded(library, path, shapes)
    frozen = freeze(run.get_concrete_function())  # else variables of loops stay variables
    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([frozen], model)
    Path(target).write_bytes(converter.convert())


def _tf2onnx(library: Any, path: str, target: str, shapes: Shapes) -> None:
    numpy, tf2onnx = import_module("numpy"), import_module("tf2onnx")
    for name, kind in (("object", object), ("bool", bool)):  # names that NumPy 2 no longer has
        if not hasattr(numpy, name):
            setattr(numpy, name, kind)
    _, run = _loaded(library, path, shapes)
    tf2onnx.convert.from_function(run, run.input_signature, opset=17, output_path=target)


def _of(library: str, convert: Callable[[Any, str, str, Shapes], None]) -> Callable[[str, str, Shapes], None]:
    return lambda path, target, shapes: convert(import_module(library), path, target, shapes)


def _torch_onnx(path: str, target: str, shapes: Shapes) -> None:
    torch = import_module("torch")
    torch.onnx.export(torch.export.load(path), dynamo=True).save(target)


_KERAS, _KERAS_2 = (".keras", ".h5", ".hdf5"), (".h5", ".hdf5")
_TO_ONNX = ("tensorflow", "tf2onnx", "onnx")
WAYS = {
    "TFLiteConverter": Way(_KERAS, "tflite", ("keras", "tensorflow"), _of("keras", _tflite)),
    "TFLiteConverter of tf_keras": Way(_KERAS_2, "tflite", ("tf_keras", "tensorflow"), _of("tf_keras", _tflite)),
    "tf2onnx": Way(_KERAS, "onnx", ("keras", *_TO_ONNX), _of("keras", _tf2onnx)),
    "tf2onnx of tf_keras": Way(_KERAS_2, "onnx", ("tf_keras", *_TO_ONNX), _of("tf_keras", _tf2onnx)),
    "torch.onnx": Way((".pt2",), "onnx", ("torch", "onnx", "onnxscript"), _torch_onnx),
}
"""Conversions by what does them; Keras 3 does not load every file of Keras 2."""
