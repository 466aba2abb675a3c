"""Where a file may come from: a path, bytes, a file object, a mapping, standard input; a folder or zip that holds one."""

import io
import json
import os
import pathlib
import pickle
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

import fusedlstm as fl

DATA = pathlib.Path(__file__).parents[1] / "data"
FILES = [
    "pytorch_checkpoint.pt",
    "pytorch_state_dict.npz",
    "pytorch_bfloat16.safetensors",
    "keras2.h5",
    "keras3.keras",
    "keras3.weights.h5",
    "flax_linen.msgpack",
    "onnx_torch.onnx",
]


@pytest.mark.filterwarnings("ignore::fusedlstm.AssumptionWarning")
@pytest.mark.parametrize("file", FILES)
def test_bytes_and_file_objects(file):
    expected = fl.LSTM.load_all(DATA / file)
    data = (DATA / file).read_bytes()
    with open(DATA / file, "rb") as opened:
        for source in (data, bytearray(data), memoryview(data), io.BytesIO(data), opened):
            found = fl.LSTM.load_all(source)
            assert list(found) == list(expected)
            for name, lstm in found.items():
                for ours, theirs in zip(
                    lstm.weights.layers[0][0].arrays.values(), expected[name].weights.layers[0][0].arrays.values()
                ):
                    np.testing.assert_array_equal(ours, theirs)


def test_their_names_in_messages(tmp_path):
    for source, name in ((b"hello", "<bytes>"), (io.BytesIO(b"hello"), "<bytes>")):
        with pytest.raises(fl.FormatError, match=f"^{name}: expected a weights file"):
            fl.LSTM.load(source)
    (tmp_path / "a.pt").write_bytes(b"hello")
    with (
        open(tmp_path / "a.pt", "rb") as file,
        pytest.raises(fl.FormatError, match=r"^.*a\.pt: expected a weights file"),
    ):
        fl.LSTM.load(file)


def test_what_is_no_source(tmp_path):
    (tmp_path / "a.pt").write_text("hello")
    with open(tmp_path / "a.pt") as file, pytest.raises(TypeError, match="open in binary mode"):
        fl.LSTM.load(file)
    for source in (3, None, {"weight_ih_l0": 1}, ["a.pt"]):
        with pytest.raises(TypeError, match="expected a path, bytes or a binary file object, found"):
            fl.LSTM.load(source)
    path = str(DATA / "keras2.h5").encode()
    with pytest.raises(fl.FormatError, match="the name of a file as bytes; give it as text"):
        fl.LSTM.load(path)


# -- mappings ---------------------------------------------------------------------------------------------------------


def cell(dot="", size=3, hidden=2, suffix="_l0"):
    rng = np.random.default_rng(size)
    shapes = {"weight_ih": (4 * hidden, size), "weight_hh": (4 * hidden, hidden)}
    shapes |= dict.fromkeys(("bias_ih", "bias_hh"), (4 * hidden,))
    return {f"{dot}{name}{suffix}": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_a_mapping():
    arrays = {**cell("enc."), **cell("dec.", 4)}
    x = np.ones((2, 5, 3), np.float32)
    y = fl.LSTM.from_state_dict(arrays, "enc", batch_first=True)(x)[0]
    for nested in ({"state_dict": arrays}, {"a": {"b": arrays}}, {"enc": cell(), "dec": cell("", 4)}):
        np.testing.assert_array_equal(fl.LSTM.from_state_dict(nested, "enc", batch_first=True)(x)[0], y)
    lists = {name: array.tolist() for name, array in cell().items()}
    np.testing.assert_array_equal(fl.LSTM.from_state_dict(lists, batch_first=True)(x)[0], y)
    assert fl.LSTM.from_state_dict(cell(), batch_first=False).batch_first is False
    with pytest.raises(fl.FormatError, match="^expected one LSTM, found 2; choose one with prefix=: 'enc', 'dec'"):
        fl.LSTM.from_state_dict(arrays)
    with pytest.raises(TypeError, match="expected a mapping of names to arrays, found list"):
        fl.LSTM.from_state_dict([])
    with pytest.raises(fl.FormatError, match="bias_hh_l0: expected a tensor or numbers, found object"):
        fl.LSTM.from_state_dict({**cell(), "bias_hh_l0": object()})
    with pytest.raises(fl.FormatError, match="^expected an LSTM, found none in this mapping; it holds no tensors"):
        fl.LSTM.from_state_dict({})


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_a_mapping_of_tensors(dtype):
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(3, 4, 2).to(getattr(torch, dtype))
    lstm = fl.LSTM.from_state_dict(module.state_dict(), batch_first=True)
    np.testing.assert_array_equal(lstm.weights.layers[1][0].weight_hh, module.weight_hh_l1.detach().float().numpy())
    needs_grad = dict(module.named_parameters())
    assert fl.LSTM.from_state_dict(needs_grad, batch_first=True).num_layers == 2
    with pytest.raises(fl.FormatError, match="weight_ih_l0: .*meta device"):
        fl.LSTM.from_state_dict(torch.nn.LSTM(3, 4, device="meta").state_dict())


# -- folders and zip archives -----------------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path):
    """Two files with an LSTM each, one with none."""
    folder = tmp_path / "files"
    folder.mkdir()
    np.savez(folder / "one.npz", **cell())
    np.savez(folder / "two.npz", **cell("", 4))
    np.savez(folder / "none.npz", x=np.ones(3))
    return folder


def place(tmp_path, kind, files, name="model"):
    """Files in a folder, deep in one, or in a zip."""
    target = tmp_path / f"{name}{'.zip' if kind == 'zip' else ''}"
    if kind == "zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in files.items():
                archive.writestr(member, content)
        return target
    for member, content in files.items():
        path = target / ("data/inner" if kind == "deep" else ".") / member
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return target


@pytest.mark.parametrize("kind", ["folder", "deep", "zip"])
def test_the_one_that_holds_an_lstm(tmp_path, weights, kind):
    files = {"policy.npz": (weights / "one.npz").read_bytes(), "optimizer.npz": (weights / "none.npz").read_bytes()}
    files |= {
        "config.json": b"{}",
        "data": b"x",
        "README.md": b"# hello",
        "broken.pt": b"no such thing",
        "._policy.npz": b"",
    }
    lstm = fl.LSTM.load(place(tmp_path, kind, files))
    assert lstm.input_size == 3
    assert list(fl.load_tensors(place(tmp_path, kind, files), "weight_ih_l0")) == ["weight_ih_l0"]


@pytest.mark.parametrize("kind", ["folder", "deep", "zip"])
def test_several_are_named(tmp_path, weights, kind):
    files = {f"{name}.npz": (weights / f"{name}.npz").read_bytes() for name in ("one", "two", "none")}
    with pytest.raises(fl.FormatError, match=r"found 2; load one of them: '.*one\.npz', '.*two\.npz'"):
        fl.LSTM.load(place(tmp_path, kind, files))


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_none_that_can_be_read(tmp_path, kind):
    with pytest.raises(
        fl.FormatError, match=r"weights file .* that can be read; a\.pt cannot \(nor can 'b\.onnx'\): expected"
    ):
        fl.LSTM.load(place(tmp_path, kind, {"a.pt": b"hello", "b.onnx": b"hello"}))
    with pytest.raises((fl.FormatError, OSError)):
        fl.LSTM.load(place(tmp_path, kind, {"README.md": b"hello"}, "other"))
    with pytest.raises(fl.FormatError, match=r"expected an LSTM, found none in this NumPy archive"):
        buffer = io.BytesIO()
        np.savez(buffer, x=np.ones(3))
        fl.LSTM.load(place(tmp_path, kind, {"a.npz": buffer.getvalue()}, "third"))


def test_an_archive_in_an_archive_stays_closed(tmp_path, weights):
    inner = place(tmp_path, "zip", {"one.npz": (weights / "one.npz").read_bytes()}, "inner").read_bytes()
    with pytest.raises(fl.FormatError):
        fl.LSTM.load(place(tmp_path, "zip", {"a.pt": inner}, "outer"))


def test_a_message_has_the_members_name(tmp_path, weights):
    path = place(tmp_path, "zip", {"one.npz": (weights / "one.npz").read_bytes()})
    with pytest.raises(fl.FormatError, match=r"model\.zip/one\.npz: expected an LSTM called 'x'"):
        fl.LSTM.load(path, "x")


# -- shards -----------------------------------------------------------------------------------------------------------


def sharded(folder, suffix, cut, save):
    """A checkpoint of two layers in two files, cut anywhere, and its index."""
    tensors = {
        **cell("lstm."),
        **{name.replace("_l0", "_l1"): array for name, array in cell("lstm.", 2).items()},
        "fc.weight": np.ones((2, 2), np.float32),
    }
    stem = f"model-{{:05}}-of-00002.{suffix}"
    names, index = list(tensors), {}
    for number, part in enumerate((names[:cut], names[cut:]), 1):
        save({name: tensors[name] for name in part}, folder / stem.format(number))
        index |= dict.fromkeys(part, stem.format(number))
    path = folder / f"model.{suffix}.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": index}))
    return path, tensors


def save_safetensors(tensors, path):
    from safetensors.numpy import save_file

    save_file(tensors, path, metadata={"format": "pt"})


def save_torch(tensors, path):
    torch = pytest.importorskip("torch")
    torch.save({name: torch.tensor(array) for name, array in tensors.items()}, path)


@pytest.mark.parametrize("suffix, save", [("safetensors", save_safetensors), ("bin", save_torch)])
@pytest.mark.parametrize("cut", [1, 4, 6, 8])
def test_shards(tmp_path, suffix, save, cut):
    index, tensors = sharded(tmp_path, suffix, cut, save)
    whole = fl.LSTM.from_state_dict(tensors, batch_first=True)
    x = np.ones((2, 5, 3), np.float32)
    for source in (index, tmp_path):
        lstm = fl.LSTM.load(source, batch_first=True)
        assert lstm.num_layers == 2
        np.testing.assert_array_equal(lstm(x)[0], whole(x)[0])
        np.testing.assert_array_equal(fl.load_tensors(source)["fc.weight"], tensors["fc.weight"])
    for number in (1, 2):
        part = tmp_path / f"model-0000{number}-of-00002.{suffix}"
        with pytest.raises(fl.FormatError, match=rf"found one of 2 files of it; load the index .*: .*{index.name}$"):
            fl.LSTM.load(part)
    index.unlink()
    with pytest.raises(
        fl.FormatError, match=r"found file 2 of 2; put all of them into one folder with their index, model\."
    ):
        fl.LSTM.load(part)


def test_shards_of_other_names(tmp_path):
    index, _ = sharded(tmp_path, "safetensors", 4, save_safetensors)
    text = index.read_text()
    for number in (1, 2):
        (tmp_path / f"model-0000{number}-of-00002.safetensors").rename(tmp_path / f"part{number}.safetensors")
        text = text.replace(f"model-0000{number}-of-00002", f"part{number}")
    index.write_text(text)
    assert fl.LSTM.load(index).num_layers == 2
    with pytest.raises(fl.FormatError, match="found one of 2 files of it"):
        fl.LSTM.load(tmp_path / "part1.safetensors")


def change(index, edit):
    said = json.loads(index.read_text())
    edit(said["weight_map"])
    index.write_text(json.dumps(said))


@pytest.mark.parametrize(
    "edit, message",
    [
        (
            lambda table: table.update(x="missing.safetensors"),
            r"missing\.safetensors: expected this file beside the index",
        ),
        (lambda table: table.update(x="../../etc/passwd"), "expected the name of a file beside the index, found"),
        (lambda table: table.update(x="/etc/passwd"), "expected the name of a file beside the index, found"),
        (lambda table: table.update(x=".."), "expected the name of a file beside the index, found"),
        (lambda table: table.update(x=3), "weight_map: expected a file for each tensor's name"),
        (lambda table: table.pop("fc.weight"), "fc.weight: expected in no file by the index"),
        (
            lambda table: table.update(x="model-00001-of-00002.safetensors"),
            "x: expected in .* by the index, found none",
        ),
        (
            lambda table: table.update({"fc.weight": "model-00001-of-00002.safetensors"}),
            "fc.weight: expected in 'model-00001",
        ),
    ],
)
def test_an_index_that_lies(tmp_path, edit, message):
    index, _ = sharded(tmp_path, "safetensors", 4, save_safetensors)
    change(index, edit)
    with pytest.raises(fl.FormatError, match=message):
        fl.LSTM.load(index)


def test_an_index_in_memory(tmp_path):
    index, _ = sharded(tmp_path, "safetensors", 4, save_safetensors)
    with pytest.raises(fl.FormatError, match="found an index of 2 files, which lie beside it; load it by its path"):
        fl.LSTM.load(index.read_bytes())


# -- the command line -------------------------------------------------------------------------------------------------


def test_standard_input(weights):
    code = "import sys; from fusedlstm.cli import main; sys.argv = ['fusedlstm', *sys.argv[1:]]; main()"
    command = [sys.executable, "-c", code, "info", "-"]
    found = subprocess.run(command, input=(weights / "one.npz").read_bytes(), capture_output=True, text=False)
    assert b"<stdin>: NumPy archive" in found.stdout and b"3" in found.stdout, found.stderr
    found = subprocess.run(command, input=b"hello", capture_output=True)
    assert found.returncode == 1 and b"<stdin>: expected a weights file" in found.stderr
    target = weights / "out.safetensors"
    command = [sys.executable, "-c", code, "convert", "-", str(target)]
    subprocess.run(command, input=(weights / "one.npz").read_bytes(), check=True, capture_output=True)
    assert fl.LSTM.load(target).input_size == 3


# -- what is none of ours ---------------------------------------------------------------------------------------------


def tar(path, *names):
    with tarfile.open(path, "w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    return path.read_bytes()


def test_words(tmp_path):
    import gzip
    import zlib

    table = b"\x00" * 60 + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
    for name, content, words in (
        (
            "a.pt",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n",
            "Git LFS pointer .*git lfs pull",
        ),
        ("a.h5", b"<!DOCTYPE html><html><body>404</body></html>", "a web page in the place of the file"),
        ("a.h5", b"\n <html lang='en'>", "a web page in the place of the file"),
        ("model.xml", b'<?xml version="1.0"?>\n<net name="m" version="11">', "OpenVINO"),
        ("model.xml", b'<net name="m" version="11">', "OpenVINO"),
        ("a.pt.gz", gzip.compress(b"x" * 100), "a gzip file; unpack it"),
        ("a.bz2", b"BZh91AY&SY", "a bzip2 file; unpack it"),
        ("a.xz", b"\xfd7zXZ\x00\x00", "an xz file"),
        ("a.zst", b"\x28\xb5\x2f\xfd\x00", "a Zstandard file"),
        (
            "a.nemo",
            tar(tmp_path / "t.tar", "./model_weights.ckpt", "model_config.yaml"),
            "tar archive, which holds './model_weights.ckpt'; unpack",
        ),
        (
            "old.pt",
            tar(tmp_path / "t.tar", "sys_info", "pickle", "tensors", "storages"),
            r"early PyTorch; there: torch\.save",
        ),
        ("m.ort", b"\x1c\x00\x00\x00ORTM" + bytes(20), r"ONNX Runtime's own format \(\.ort\); load the \.onnx"),
        ("saved_model.pb", b"\x08\x01\x12\x05hello", "the graph of a TensorFlow SavedModel"),
        ("frozen.pb", b"\x0a\x05hello", "a TensorFlow graph"),
        ("model.ckpt-7.index", table, "the index of a TensorFlow checkpoint; .*tf.train.load_checkpoint"),
        ("model.ckpt-7.data-00000-of-00001", bytes(100), "a part of a TensorFlow checkpoint"),
        ("m.mlmodel", b"\x08\x04\x12\x05hello", "a Core ML model"),
        ("a.npy", b"\x93NUMPY\x01\x00", "NumPy arrays without names"),
        ("a.params", b"\x12\x01" + bytes(20), "parameters of MXNet"),
        ("a.joblib", zlib.compress(b"x" * 100), r"zlib compressed, as joblib.dump.*pickle.dump\(joblib.load\(path\)"),
        ("a.yaml", b"a: 1", "settings, which hold no weights"),
        ("a.bin", b"\x01\x02\x03", "unknown content starting with"),
        ("a.pt", b"", "an empty file"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(fl.FormatError, match=f"expected a weights file .*, found .*{words}"):
            fl.LSTM.load(tmp_path / name)


def test_what_joblib_writes(tmp_path):
    """A pickle with the bytes of arrays between its opcodes."""
    head = b"\x80\x04}\x8c\x01w\x8c\x13joblib.numpy_pickle\x8c\x11NumpyArrayWrapper\x93)\x81"
    (tmp_path / "a.joblib").write_bytes(head + b"\x0b" + b"\xff" * 11 + bytes(64) + b"s.")
    with pytest.raises(fl.FormatError, match=r"found what joblib.dump writes, .*pickle.dump\(joblib.load\(path\)"):
        fl.LSTM.load(tmp_path / "a.joblib")


def test_the_advice_for_joblib(tmp_path, monkeypatch):
    """The line, run."""
    joblib = pytest.importorskip("joblib")
    arrays = {
        f"rnn.{name}_l0": np.ones(shape, np.float32) for name, shape in (("weight_ih", (8, 3)), ("weight_hh", (8, 2)))
    }
    arrays |= {f"rnn.bias_{one}_l0": np.ones(8, np.float32) for one in ("ih", "hh")}
    monkeypatch.chdir(tmp_path)
    for compress in (0, 3):
        joblib.dump(arrays, "a.joblib", compress=compress)
        with pytest.raises(fl.FormatError, match="joblib") as caught:
            fl.LSTM.load("a.joblib")
        line = str(caught.value).split("where it was made: ")[1]
        exec(line, {"pickle": __import__("pickle"), "joblib": joblib, "path": "a.joblib"})
        assert fl.LSTM.load("weights.pkl", batch_first=True).hidden_size == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"class_name": "Sequential", "config": {"layers": []}},
            r'architecture of a Keras .*LSTM.load\("weights.h5", config=',
        ),
        ({"weightsManifest": [], "modelTopology": {}}, "a model of TensorFlow.js; .*tensorflowjs_converter"),
    ],
)
def test_json_without_weights(content, words, tmp_path):
    (tmp_path / "model.json").write_text(json.dumps(content))
    for load in (fl.LSTM.load, fl.Model.load):
        with pytest.raises(fl.FormatError, match=words):
            load(tmp_path / "model.json")


def test_the_prefix_of_a_checkpoint(tmp_path):
    (tmp_path / "model.ckpt-7.index").write_bytes(b"x")
    with pytest.raises(fl.FormatError, match="found the prefix of a TensorFlow checkpoint; in TensorFlow, save"):
        fl.LSTM.load(tmp_path / "model.ckpt-7")
    with pytest.raises(FileNotFoundError):
        fl.LSTM.load(tmp_path / "model.ckpt")


def test_the_folder_of_torch_distributed(tmp_path, monkeypatch):
    """The two lines of the advice, run."""
    torch = pytest.importorskip("torch")
    from torch.distributed import checkpoint

    module = torch.nn.LSTM(3, 4)
    state = {f"rnn.{name}": value for name, value in module.state_dict().items()}
    folder = tmp_path / "dcp"
    checkpoint.save(state, checkpoint_id=str(folder), no_dist=True)
    with pytest.raises(fl.FormatError, match="found a checkpoint of torch.distributed") as caught:
        fl.LSTM.load(folder)
    monkeypatch.chdir(tmp_path)
    first, second = str(caught.value).split("in PyTorch: ")[1].split(", then ")
    exec(f"{first}\n{second}")
    lstm = fl.LSTM.load("checkpoint.pt", batch_first=True)
    np.testing.assert_array_equal(lstm.weights.layers[0][0].weight_hh, module.weight_hh_l0.detach().numpy())


@pytest.mark.parametrize("inside", ["", "1/default"])
def test_the_folder_of_orbax(tmp_path, inside):
    """The two lines of the advice, run."""
    ocp = pytest.importorskip("orbax.checkpoint")
    params = {
        "dense_i": {"kernel": np.ones((3, 8), np.float32)},
        "dense_h": {"kernel": np.ones((2, 8), np.float32), "bias": np.ones(8, np.float32)},
    }
    folder = tmp_path / "orbax"
    with ocp.StandardCheckpointer() as saver:
        saver.save(folder / inside if inside else folder, params)
    with pytest.raises(fl.FormatError, match="found an orbax checkpoint") as caught:
        fl.LSTM.load(folder)
    first, second = str(caught.value).split("where it was made: ")[1].split(", then ")
    space = {"orbax": __import__("orbax.checkpoint"), "os": os, "fusedlstm": fl}
    exec(f"{first}\nlstm = {second}", space)
    assert space["lstm"].hidden_size == 2


def test_the_advice_for_a_tensorflow_checkpoint(tmp_path):
    """Three kinds of its files, and its folder, say the same lines; run."""
    tf = pytest.importorskip("tensorflow")
    tf1 = tf.compat.v1
    graph = tf1.Graph()
    with graph.as_default():
        tf1.disable_resource_variables()
        rng = np.random.default_rng(0)
        arrays = {"kernel": rng.normal(size=(5, 8)), "bias": rng.normal(size=8)}
        for name, array in arrays.items():
            tf1.get_variable(f"rnn/lstm_cell/{name}", initializer=array.astype(np.float32))
        with tf1.Session() as session:
            session.run(tf1.global_variables_initializer())
            path = tf1.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    for source in (path, f"{path}.index", f"{path}.data-00000-of-00001", tmp_path):
        with pytest.raises(fl.FormatError, match="TensorFlow checkpoint; in TensorFlow, save its variables") as caught:
            fl.LSTM.load(source)
    code = str(caught.value).split("by their names: ")[1]
    os.chdir(tmp_path)
    exec(code.replace("; ", "\n"), {"tf": tf, "numpy": np, "path": path})
    lstm = fl.LSTM.load("weights.npz", batch_first=True, config={})
    assert (lstm.input_size, lstm.hidden_size) == (3, 2)


def test_a_pickle_of_parameters_of_jax(tmp_path):
    """The advice, run."""
    flax = pytest.importorskip("flax")
    params = {
        "dense_i": {"kernel": np.ones((3, 8), np.float32)},
        "dense_h": {"kernel": np.ones((2, 8), np.float32), "bias": np.ones(8, np.float32)},
    }
    path = tmp_path / "params.pkl"
    path.write_bytes(pickle.dumps(flax.core.freeze(params)))
    with pytest.raises(fl.FormatError, match="a pickled object of JAX") as caught:
        fl.LSTM.load(path)
    code = str(caught.value).split("where it was made: ")[1].split(", or save")[0]
    assert eval(code, {"fusedlstm": fl, "pickle": pickle, "path": path}).hidden_size == 2
    path.write_bytes(pickle.dumps(params))  # plain dictionaries are read as they are
    assert fl.LSTM.load(path, batch_first=True, config={}).hidden_size == 2


def test_a_pickle_of_a_keras_model(tmp_path, monkeypatch):
    """The advice, run."""
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(2, name="enc")])
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(model))
    with pytest.raises(fl.FormatError, match="a pickled Keras model") as caught:
        fl.LSTM.load(path)
    monkeypatch.chdir(tmp_path)
    exec(str(caught.value).split("where it was made: ")[1], {"pickle": pickle, "path": path})
    assert fl.LSTM.load("model.keras", "enc").hidden_size == 2
