"""A word on what a file is when it is none of ours, and the way out."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import FormatError
from .containers.source import Source

_KNOWN = "PyTorch, safetensors, Keras, ONNX, TensorFlow Lite, Flax, npz or JSON"
_NPZ = (
    "in TensorFlow, save its variables by their names: reader = tf.train.load_checkpoint(path); "
    'numpy.savez("weights.npz", **{name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()})'
)
_SAVED_MODEL = (
    "which has no variable names; load it in TensorFlow and save it again: "
    'tf_keras.models.load_model(directory).save("model.h5")'
)
_ORBAX = (
    "an orbax checkpoint (of JAX); where it was made: params = orbax.checkpoint.StandardCheckpointer().restore("
    "os.path.abspath({!r})), then fusedlstm.LSTM.from_flax(params)"
)
_DISTRIBUTED = (
    "a checkpoint of torch.distributed; in PyTorch: from torch.distributed.checkpoint.format_utils import "
    'dcp_to_torch_save, then dcp_to_torch_save({!r}, "checkpoint.pt")'
)
_OPENVINO = "OpenVINO's description of a model; load the file that it was converted from (ONNX, PyTorch, Keras)"
_UNPACK = "unpack it first, and load the weights file that comes out"
_TABLE = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # the end of a TensorFlow checkpoint's index

# By how a file starts.
_HEADS = (
    (rb"version https://git-lfs", "a Git LFS pointer in the place of the file; fetch it: git lfs pull"),
    (
        rb"(?i)\s*(?:<!doctype html|<html)",
        "a web page in the place of the file; download the file itself (the raw link)",
    ),
    (rb"(?s)(?:\s*<\?xml.*?\?>)?\s*<net\b", _OPENVINO),
    (rb"\s*<", "XML or a web page, which holds no weights"),
    (rb"\x1f\x8b", f"a gzip file; {_UNPACK} (tar xf FILE, or gunzip FILE)"),
    (rb"BZh", f"a bzip2 file; {_UNPACK} (tar xf FILE, or bunzip2 FILE)"),
    (rb"\xfd7zXZ\x00", f"an xz file; {_UNPACK} (tar xf FILE, or unxz FILE)"),
    (rb"\x28\xb5\x2f\xfd", f"a Zstandard file; {_UNPACK} (unzstd FILE)"),
    (rb"7z\xbc\xaf\x27\x1c", f"a 7-Zip archive; {_UNPACK}"),
    (rb"Rar!\x1a\x07", f"a RAR archive; {_UNPACK}"),
    (
        rb"\x93NUMPY",
        "NumPy arrays without names (.npy, or Equinox's tree_serialise_leaves); save them by their names: "
        'numpy.savez("weights.npz", weight_ih_l0=..., weight_hh_l0=..., bias_ih_l0=..., bias_hh_l0=...)',
    ),
    (rb"(?s).{4}ORTM", "a model in ONNX Runtime's own format (.ort); load the .onnx file that it was made from"),
    (rb"\x12\x01\x00\x00\x00\x00\x00\x00\x00{8}", "parameters of MXNet; save them by their names with numpy.savez"),
    (
        rb"x[\x01\x5e\x9c\xda]",
        "data that zlib compressed, as joblib.dump(..., compress=...) does; where it was made: "
        'pickle.dump(joblib.load(path), open("weights.pkl", "wb"))',
    ),
    (rb"GGUF", "a GGUF file, which holds no LSTM"),
)
# By how its name ends, where its bytes do not tell.
_NAMES = (
    (r"saved_model\.pb", f"the graph of a TensorFlow SavedModel, {_SAVED_MODEL}"),
    (r".+\.(?:data-\d+-of-\d+|index)", f"a part of a TensorFlow checkpoint; {_NPZ}"),
    (r".+\.(?:mlmodel|mlpackage)", "a Core ML model; load the file that it was converted from (PyTorch, Keras, ONNX)"),
    (r".+\.pb", "a TensorFlow graph; load the Keras file, or save its variables by their names with numpy.savez"),
    (r".+\.ya?ml", "settings, which hold no weights"),
)


def words(source: Source) -> str:
    """What to say of a file that no format knows."""
    return f"expected a weights file ({_KNOWN}), found {_what(source)}"


def refuse_prefix(path: Path) -> None:
    """Refuse the bare prefix of a TensorFlow checkpoint, which is no file, with the way out."""
    if path.name and not path.exists() and path.with_name(f"{path.name}.index").is_file():
        raise FormatError(f"expected a file, found the prefix of a TensorFlow checkpoint; {_NPZ}")


def refuse_folder(path: Path) -> None:
    """Refuse folders that are one checkpoint of a framework, which has to be asked."""
    if (path / "saved_model.pb").is_file():
        raise FormatError(f"expected a weights file, found a TensorFlow SavedModel directory, {_SAVED_MODEL}")
    if (path / ".metadata").is_file() and any(path.glob("*.distcp")):
        raise FormatError(f"expected a weights file, found {_DISTRIBUTED.format(str(path))}")
    for marker in ("_METADATA", "manifest.ocdbt"):
        for inside in ("", "*/", "*/*/"):
            if found := next(path.glob(f"{inside}{marker}"), None):
                raise FormatError(f"expected a weights file, found {_ORBAX.format(str(found.parent))}")
    if (path / "Manifest.json").is_file() and path.suffix == ".mlpackage":
        raise FormatError(f"expected a weights file, found {dict(_NAMES)[_NAMES[2][0]]}")
    if next(path.glob("*.data-?????-of-?????"), None) and next(path.glob("*.index"), None):
        raise FormatError(f"expected a weights file, found the folder of a TensorFlow checkpoint; {_NPZ}")


def _what(source: Source) -> str:
    head = source.head
    if not source.size:
        return "an empty file"
    if head[257:262] == b"ustar":
        return _tar(source)
    for pattern, what in _HEADS:
        if re.match(pattern, head):
            return what
    name = Path(source.name).name
    if source.size > 48 and bytes(source.map()[-8:]) == _TABLE:
        return f"the index of a TensorFlow checkpoint; {_NPZ}"
    for ending, what in _NAMES:
        if re.fullmatch(ending, name, re.IGNORECASE):
            return what
    if head.startswith(b"PK\x05\x06"):
        return "an empty zip archive"
    if head.startswith(b"PK\x03\x04"):
        return "a zip archive of files, none of which is one"
    if source.path is None and source.size < 4096 and _is_file(head):
        return f"the name of a file as bytes; give it as text: {head.decode()!r}"
    return f"unknown content starting with {head[:8]!r}"


def _tar(source: Source) -> str:
    """A tar archive by its members' names, of which the first hundred are looked at; nothing is unpacked."""
    data, at = source.map(), 0
    names: list[str] = []
    while at + 512 <= len(data) and len(names) < 100:
        header = bytes(data[at : at + 512])
        name = header[:100].partition(b"\0")[0].decode("utf-8", "replace")
        size = header[124:136].strip(b" \0")
        if not name or not re.fullmatch(rb"[0-7]{1,11}", size):
            break
        names.append(name)
        at += 512 + (int(size, 8) + 511) // 512 * 512
    if {"storages", "tensors", "pickle"} <= {name.rstrip("/") for name in names}:
        return "a tar archive of an early PyTorch; there: torch.save(torch.load(path, weights_only=False), new_path)"
    weights = [name for name in names if re.search(r"\.(?:pt|pth|ckpt|bin|safetensors|h5|keras|onnx|npz)$", name)]
    inside = f", which holds {', '.join(map(repr, weights[:4]))}" if weights else ""
    return f"a tar archive{inside}; {_UNPACK} (tar xf FILE)"


def _is_file(head: bytes) -> bool:
    try:
        return Path(head.decode()).is_file()
    except (UnicodeDecodeError, ValueError, OSError):
        return False
