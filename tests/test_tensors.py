"""load_tensors: every tensor of any container as NumPy, as safely as the rest."""

import pathlib

import numpy as np
import pytest

import fusedlstm as fl

DATA = pathlib.Path(__file__).parent / "data"


@pytest.mark.parametrize(
    "file",
    [
        "pytorch_checkpoint.pt",
        "pytorch_state_dict.npz",
        "pytorch_bfloat16.safetensors",
        "keras2.h5",
        "keras3.keras",
        "keras3.weights.h5",
        "flax_linen.msgpack",
        "flax_nnx.msgpack",
        "onnx_torch.onnx",
        "tensorflow1_cells.npz",
        "haiku.npz",
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_weights_of_an_lstm_are_among_them(file):
    arrays = fl.load_tensors(DATA / file)
    assert arrays and all(type(array) is np.ndarray for array in arrays.values())
    lstm = next(iter(fl.LSTM.load_all(DATA / file).values()))
    wanted = np.sort(lstm.weights.layers[0][0].weight_hh, axis=None)
    held = [np.concatenate([array.ravel() for array in arrays.values() if array.dtype.kind == "f"])]
    assert np.isin(wanted, held[0]).all()


def test_prefix():
    file = DATA / "pytorch_checkpoint.pt"
    names = list(fl.load_tensors(file))
    assert list(fl.load_tensors(file, "encoder.weight_ih_l0")) == ["encoder.weight_ih_l0"]
    for prefix in ("encoder", "encoder."):
        chosen = list(fl.load_tensors(file, prefix))
        assert chosen == [name for name in names if name.startswith(prefix)] and chosen
    with pytest.raises(
        fl.FormatError, match=r"pytorch_checkpoint\.pt: expected tensors under 'enc', found none .* but 'encoder"
    ):
        fl.load_tensors(file, "enc")


def test_torch_dtypes(tmp_path):
    torch = pytest.importorskip("torch")
    names = ("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "float16", "float32", "float64")
    state = {name: torch.tensor([0, 1, 1]).to(getattr(torch, name)) for name in (*names, "complex64", "bfloat16")}
    torch.save({"state_dict": {"head.weight": torch.ones(2, 3)}, "all": state}, tmp_path / "a.pt")
    loaded = fl.load_tensors(tmp_path / "a.pt")
    for name in (*names, "complex64"):
        np.testing.assert_array_equal(loaded[name], state[name].numpy())
        assert loaded[name].dtype == state[name].numpy().dtype
    assert loaded["bfloat16"].dtype == np.float32
    assert list(fl.load_tensors(tmp_path / "a.pt", prefix="head.")) == ["head.weight"]


def test_safetensors_dtypes(tmp_path):
    torch, save_file = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch").save_file
    names = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "bfloat16")
    state = {name: torch.tensor([0, 1, 1]).to(getattr(torch, name)) for name in names}
    save_file({**state, "small": torch.ones(2).to(torch.float8_e4m3fn)}, tmp_path / "a.safetensors")
    with pytest.warns(UserWarning, match="left out: .*small: expected .*found F8_E4M3") as told:
        loaded = fl.load_tensors(tmp_path / "a.safetensors")
    assert told[0].filename == __file__
    assert sorted(loaded) == sorted(names)
    for name in names:
        np.testing.assert_array_equal(loaded[name], state[name].to(torch.float64).numpy())
    assert loaded["bfloat16"].dtype == np.float32


def test_onnx_and_tflite_and_json(tmp_path):
    onnx = pytest.importorskip("onnx")
    arrays = {"a": np.arange(3, dtype=np.int64), "b": np.ones((2, 2), np.float16), "c": np.array([True, False])}
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Identity", ["a"], ["y"]),
            onnx.helper.make_node("Constant", [], ["k"], value_float=2.0),
        ],
        "g",
        [],
        [onnx.helper.make_tensor_value_info("y", 7, [3])],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    onnx.save(onnx.helper.make_model(graph), tmp_path / "a.onnx")
    loaded = fl.load_tensors(tmp_path / "a.onnx")
    for name, array in {**arrays, "k": np.float32(2)}.items():
        np.testing.assert_array_equal(loaded[name], array)
    (tmp_path / "a.json").write_text('{"state_dict": {"rec.weight_ih_l0": [[1.5]], "lin.weight": [[2], [3]]}}')
    assert {name: one.tolist() for name, one in fl.load_tensors(tmp_path / "a.json").items()} == {
        "rec.weight_ih_l0": [[1.5]],
        "lin.weight": [[2], [3]],
    }


def test_objects_stay_closed(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"net": torch.nn.Linear(2, 3), "w": torch.ones(2)}, tmp_path / "a.pt")
    assert list(fl.load_tensors(tmp_path / "a.pt")) == ["w"]
    torch.save(torch.nn.Linear(2, 3), tmp_path / "b.pt")
    with pytest.raises(fl.FormatError, match="expected tensors, found none in this PyTorch checkpoint"):
        fl.load_tensors(tmp_path / "b.pt")


def test_many_names_for_the_same_bytes(tmp_path):
    torch = pytest.importorskip("torch")
    one = torch.zeros(1 << 20)
    torch.save({str(k): one for k in range(3000)}, tmp_path / "a.pt")
    with pytest.raises(fl.FormatError, match="expected tensors that a file of this size justifies"):
        fl.load_tensors(tmp_path / "a.pt")
