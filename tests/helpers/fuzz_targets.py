"""What the fuzzer starts from and how it hands it in, for each container; and what a file is asked."""

import contextlib
import io
import json
import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np

from fusedlstm import ConvLSTMWeights, FormatError, LSTMWeights, formats

DATA = Path(__file__).parent.parent / "data"
FOUND = DATA / "fuzz"
"""What it found once, each a file called <container>-<what>."""
STATE = {"weight_ih_l0": np.ones((8, 3), "f4"), "weight_hh_l0": np.ones((8, 2), "f4"), "bias_ih_l0": np.ones(8, "f4")}
STATE["bias_hh_l0"] = STATE["bias_ih_l0"]


def ask_everything(data):
    """All that a file holds is read or refused; nothing else may come of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            contents = formats.open(data)
        except FormatError:
            return
        for readers in (contents.listed(LSTMWeights), contents.listed(ConvLSTMWeights), contents.tensors):
            for read in readers.values():
                with contextlib.suppress(FormatError):
                    read()
        with contextlib.suppress(FormatError):
            contents.whole()


def zipped(**members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return out.getvalue()


def _npy():
    out = []
    for array in (
        *STATE.values(),
        np.zeros((0, 2), ">f8"),
        np.array(3),
        np.zeros(2, [("a", "f4")]),
        np.ones((2, 2), "S3"),
    ):
        file = io.BytesIO()
        np.save(file, array)
        out.append(file.getvalue())
    return out


def _npz():
    out = io.BytesIO(), io.BytesIO()
    np.savez(out[0], **{f"a.{name}": array for name, array in STATE.items()})
    np.savez_compressed(out[1], **STATE)
    return [*(one.getvalue() for one in out), zipped(**{"a.pt": b"x", "__MACOSX__b": b""})]


def _pickles():
    state = {
        "epoch": 3,
        "model": {f"rnn.{name}": array for name, array in STATE.items()},
        "names": ["a", ("b", 1.5, None)],
    }
    with zipfile.ZipFile(DATA / "pytorch_checkpoint.pt") as archive:
        member = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        stored = archive.read(member)
    return [stored, *(pickle.dumps(state, protocol) for protocol in (0, 2, 4, 5))]


def _safetensors():
    header = {f"rnn.{name}": {"dtype": "F32", "shape": list(array.shape)} for name, array in STATE.items()}
    at = 0
    for entry in header.values():
        entry["data_offsets"] = [at, at := at + 4 * int(np.prod(entry["shape"]))]
    native = {"fusedlstm": json.dumps({"version": 1, "batch_first": True})}
    own = {
        "weight_ih_l0": header["rnn.weight_ih_l0"],
        "weight_hh_l0": header["rnn.weight_hh_l0"],
        "__metadata__": native,
    }
    texts = [json.dumps(header).encode(), json.dumps(own).encode(), json.dumps(header).replace("F32", "BF16").encode()]
    files = [struct.pack("<Q", len(text)) + text + bytes(at if k != 1 else 160) for k, text in enumerate(texts)]
    return [*files, (DATA / "native_model_1.safetensors").read_bytes()]


def _hdf5():
    import h5py
    from hdf5_files import many_layers

    out = []
    for names in (
        ("rnn/rnn/kernel:0", "rnn/rnn/recurrent_kernel:0", "rnn/rnn/bias:0"),
        [f"layers/lstm/cell/vars/{k}" for k in range(3)],
    ):
        file = io.BytesIO()
        with h5py.File(file, "w") as group:
            for name, shape in zip(names, ((3, 8), (2, 8), (8,))):
                group[name] = np.ones(shape, "f4")
            group.attrs["layer_names"] = [b"rnn"]
            group.attrs["keras_version"] = "2.21.0"
        out.append(file.getvalue())
    return [*out, many_layers(2)]


def _onnx():
    from onnx_models import model, weights

    names = ("onnx_tf2onnx.onnx", "onnx_torch.onnx")
    stored = [(DATA / name).read_bytes() for name in names if (DATA / name).stat().st_size < 20_000]
    return [*stored, model(*weights()).SerializeToString()]


def _tflite():
    from tflite_models import arrays, many_lstms, model

    return [model(arrays(2, 2)).serialised(), many_lstms(2)]


def _msgpack():
    return [(DATA / f"flax_{which}.msgpack").read_bytes() for which in ("linen", "nnx")]


def _json():
    lists = {f"rec.{name}": array.tolist() for name, array in STATE.items()}
    layer = {
        "type": "lstm",
        "activation": "",
        "shape": [None, None, 2],
        "weights": [np.ones((3, 8)).tolist()] * 2 + [[1.0] * 8],
    }
    nam = {
        "architecture": "LSTM",
        "config": {"input_size": 1, "hidden_size": 1, "num_layers": 1},
        "weights": [0.5] * 16,
    }
    data = {"model_data": {"unit_type": "LSTM", "hidden_size": 2, "input_size": 3}, "state_dict": lists}
    return [json.dumps(one).encode() for one in (data, {"in_shape": [None, None, 3], "layers": [layer]}, nam)]


def _in_checkpoint(data):
    return zipped(a__data__0=bytes(64), **{"a__data.pkl": data, "a__byteorder": b"little"})


def _in_npz(data):
    return zipped(**{"a.npy": data, "weight_ih_l0.npy": data})


def _in_keras(data):
    with zipfile.ZipFile(DATA / "keras3.keras") as archive:
        weights = archive.read("model.weights.h5")
    return zipped(**{"config.json": data, "metadata.json": b'{"keras_version": "3.15.1"}', "model.weights.h5": weights})


def _config():
    with zipfile.ZipFile(DATA / "keras3.keras") as archive:
        return [archive.read("config.json")]


def _programs():
    from torch_programs import Of, exported, torch

    torch.manual_seed(0)
    module = Of(lambda self, x: self.rnn(x)[0].mul_(2)[:, -1].softmax(-1), rnn=torch.nn.LSTM(3, 2, batch_first=True))
    data = exported(module.eval(), (torch.zeros(2, 4, 3),), ({0: torch.export.Dim("batch")},))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [archive.read(name) for name in archive.namelist() if name.endswith("models/model.json")]


def _in_program(data):
    names = [f"rnn.{name}" for name in STATE]
    meta = [{"dtype": 7, "sizes": [{"as_int": size} for size in array.shape], "layout": 7} for array in STATE.values()]
    entries = {}
    for k, (name, one, array) in enumerate(zip(names, meta, STATE.values())):
        strides = [{"as_int": stride // 4} for stride in array.strides]
        one |= {"strides": strides, "storage_offset": {"as_int": 0}}
        entries[name] = {"path_name": f"weight_{k}", "use_pickle": False, "tensor_meta": one}
    weights = {f"a__data__weights__weight_{k}": array.tobytes() for k, array in enumerate(STATE.values())}
    config = {"a__data__weights__model_weights_config.json": json.dumps({"config": entries})}
    return zipped(**{"a__archive_format": b"pt2", "a__models__model.json": data}, **config, **weights)


def _same(data):
    return data


CONTAINERS = {
    "npy": (_npy, _in_npz),
    "zip": (_npz, _same),
    "pickle": (_pickles, _same),
    "checkpoint": (_pickles, _in_checkpoint),
    "hdf5": (_hdf5, _same),
    "protobuf": (_onnx, _same),
    "flatbuffer": (_tflite, _same),
    "safetensors": (_safetensors, _same),
    "msgpack": (_msgpack, _same),
    "json": (_json, _same),
    "keras": (_config, _in_keras),
    "program": (_programs, _in_program),
}
