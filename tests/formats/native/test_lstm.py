"""The native form of every variant: read back bit for bit, the oldest version that says enough, hostile metadata."""

import json
import struct

import numpy as np
import pytest
import variants
from variants import leaves

import fusedlstm as fl
from fusedlstm import formats


def same(a, b):
    """Everything that an LSTMWeights holds, arrays by their bits."""
    for name in ("batch_first", "merge", "reverse", "flip_output", "padding", "residual"):
        assert getattr(a, name) == getattr(b, name), name
    assert [[one.cell for one in layer] for layer in a.layers] == [[one.cell for one in layer] for layer in b.layers]
    for x, y in zip((one for layer in a.layers for one in layer), (one for layer in b.layers for one in layer)):
        assert x.arrays.keys() == y.arrays.keys()
        for name, array in x.arrays.items():
            assert array.tobytes() == y.arrays[name].tobytes(), name
    assert (a.initial_state is None) == (b.initial_state is None)
    for x, y in zip(leaves(a.initial_state or ()), leaves(b.initial_state or ())):
        assert x.shape == y.shape and x.tobytes() == y.tobytes()


@pytest.mark.parametrize("seed", range(60))
def test_read_back(tmp_path, seed):
    original = variants.random_weights(np.random.default_rng(seed), largest=9)
    fl.LSTM(original).save(tmp_path / "a.safetensors")
    again = fl.LSTM.load(tmp_path / "a.safetensors").weights
    same(original, again)
    assert original.differences == again.differences


def test_plain_models_keep_the_first_version(tmp_path):
    """What older readers can read they should."""
    one = fl.DirectionWeights(np.zeros((8, 3)), np.zeros((8, 2)), np.zeros(8))
    fl.LSTM(fl.LSTMWeights([[one]], batch_first=False)).save(tmp_path / "a")
    assert header(tmp_path / "a")["__metadata__"]["fusedlstm"] == '{"version": 1, "batch_first": false}'


def header(path):
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


@pytest.fixture
def rewritten(tmp_path):
    """Save a model, change its metadata (and the names of its tensors), and give the path of the new file."""
    rng = np.random.default_rng(0)
    cell = fl.Cell(candidate=fl.Activation("elu", 0.5), gate_norm="gates", norm_epsilon=0.001)
    layer = [variants.random_direction(rng, cell, 4, 3, None) for _ in range(2)]
    state = ([np.ones((2, 3))], [np.ones((2, 3))])
    fl.LSTM(fl.LSTMWeights([layer], merge="sum", initial_state=state)).save(tmp_path / "good")

    def rewrite(change=lambda said: None, rename=lambda name: name, text=None):
        data = (tmp_path / "good").read_bytes()
        length = int.from_bytes(data[:8], "little")
        entries = header(tmp_path / "good")
        said = json.loads(entries["__metadata__"]["fusedlstm"])
        change(said)
        entries["__metadata__"]["fusedlstm"] = json.dumps(said) if text is None else text
        new = json.dumps({rename(name): entry for name, entry in entries.items()}).encode()
        (tmp_path / "bad").write_bytes(struct.pack("<Q", len(new)) + new + data[8 + length :])
        return tmp_path / "bad"

    return rewrite


def test_the_rewritten_file_is_good(rewritten):
    assert formats.open(rewritten()).load(fl.LSTMWeights).layers[0][0].cell.candidate == fl.Activation("elu", 0.5)


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(said):
        for key in path:
            said = said[key]
        said[last] = value

    return change


@pytest.mark.parametrize(
    "change, match",
    [
        (put("version", 3), "expected version 1 or 2, found 3"),
        (put("version", True), "expected a JSON object with a version"),
        (put("merge", "max"), "merge: expected one of .*found 'max'"),
        (put("merge", None), "merge: expected a str, found None"),
        (put("reverse", 1), "reverse: expected a bool, found 1"),
        (put("reverse", True), "reverse: expected one direction, found two"),
        (put("padding", "wrap"), "padding: expected one of"),
        (put("residual", [1]), "residual: expected true or false for each layer"),
        (put("residual", [False] * 2), "residual: expected 1 values, found 2"),
        (put("residual", "no"), "residual: expected a list"),
        (put("dropout", 0.5), "expected one of .*found 'dropout'"),
        (put("cells", {}), "cells: expected a list"),
        (put("cells", [3]), "cells: expected a list, found 3"),
        (put("cells", []), "layers: expected at least one layer"),
        (lambda said: said["cells"][0].append({}), "cells: expected one direction or two, found 3"),
        (lambda said: said["cells"].append(said["cells"][0]), "weight_ih_l1: expected a tensor"),
        (put("cells", [[{}, {}]] * 1000), "expected as many layers as tensors at most, found 1000"),
        (put("cells", 0, 0, "sigmoid"), "cell l0: expected an object"),
        (put("cells", 0, 0, "gate_norm", "batch"), "l0: gate_norm: expected one of"),
        (put("cells", 0, 0, "gate_norm", "sides"), "l0: norm_hh: expected with this cell's normalisation"),
        (put("cells", 0, 0, "gate_clip", "3"), "cell l0, gate_clip: expected a float, found '3'"),
        (put("cells", 0, 0, "gate_clip", -1), "l0: gate_clip: expected a number above 0"),
        (put("cells", 0, 0, "gate_clip", 10**400), "damaged|gate_clip"),
        (put("cells", 0, 0, "norm_epsilon", float("nan")), "norm_epsilon: expected 0 or more, found nan"),
        (put("cells", 0, 0, "hidden_zoneout", 1.5), "hidden_zoneout: expected a share from 0 to 1"),
        (put("cells", 0, 0, "coupled", []), "coupled: expected a str"),
        (put("cells", 0, 0, "attention", 1), "cell l0: expected one of .*found 'attention'"),
        (put("cells", 0, 0, "gate", "tanh"), "cell l0, gate: expected an object, found 'tanh'"),
        (put("cells", 0, 0, "candidate", "name", "swoosh"), "l0: activation: expected one of .*found 'swoosh'"),
        (put("cells", 0, 0, "candidate", "alpha", None), "candidate: expected a name, alpha and beta"),
        (put("cells", 0, 0, "candidate", "gamma", 1), "candidate: expected one of alpha, beta, name, found 'gamma'"),
        (put("cells", 0, 0, "candidate", "beta", float("inf")), "expected a finite beta"),
    ],
)
def test_hostile_metadata(rewritten, change, match):
    with pytest.raises(fl.FormatError, match=match):
        formats.open(rewritten(change)).load(fl.LSTMWeights)


@pytest.mark.parametrize("text", ["[" * 500_000, "{" * 10, '{"version": 2' + " " * (1 << 20) + "}", "\ud800"])
def test_hostile_json(rewritten, text):
    with pytest.raises(fl.FormatError, match="expected a JSON object with a version|expected JSON|damaged"):
        formats.open(rewritten(text=text)).load(fl.LSTMWeights)


@pytest.mark.parametrize(
    "before, after, match",
    [
        ("initial_c_l0", "initial_c_l1", "initial_c_l0: expected a tensor"),
        ("initial_c_l0", "c", "initial_c_l0: expected a tensor"),
        ("norm_ih_l0", "peephole_o_l0", r"l0: peephole_o: expected shape \(3,\), found \(12,\)"),
        ("norm_ih_l0_reverse", "norm_ih_l1", "l0_reverse: norm_ih: expected with this cell's normalisation"),
        ("weight_hh_l0", "weight_hh", "weight_hh_l0: expected a tensor, found none of that name"),
    ],
)
def test_tensors_that_do_not_fit(rewritten, before, after, match):
    with pytest.raises(fl.FormatError, match=match):
        formats.open(rewritten(rename=lambda name: after if name == before else name)).load(fl.LSTMWeights)


def test_no_tensor_is_left_out(rewritten):
    """Reading less than the file holds would be another model."""

    def one_layer_less(said):
        said["cells"], said["merge"] = [[said["cells"][0][0]]], "concat"

    with pytest.raises(fl.FormatError, match="expected no such tensor beside 1 layer|initial_state"):
        formats.open(rewritten(one_layer_less)).load(fl.LSTMWeights)


@pytest.mark.parametrize("seed", range(100))
def test_mutated(rewritten, tmp_path, seed):
    """Bytes of the header changed at random: a FormatError, or a model."""
    rng = np.random.default_rng(seed)
    data = bytearray(rewritten().read_bytes())
    length = int.from_bytes(data[:8], "little")
    for _ in range(int(rng.integers(1, 4))):
        data[8 + int(rng.integers(length))] = int(rng.choice(list(b'0123456789"[]{},:.-eE \\truefalsnu_hi')))
    (tmp_path / "mutated").write_bytes(data)
    try:
        weights = formats.open(tmp_path / "mutated").load(fl.LSTMWeights)
    except fl.FormatError:
        return
    fl.LSTM(weights)(np.zeros((1, 2, weights.input_size), np.float32))
