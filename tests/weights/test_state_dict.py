"""PyTorch's parameter names: what is an LSTM, what is none, and what is a broken one."""

import numpy as np
import pytest

from fusedlstm import FormatError
from fusedlstm.weights import state_dict as _state_dict
from fusedlstm.weights.named import Named


def arrays(layers=1, directions=1, size=3, hidden=2, output=2, biases=("bias_ih", "bias_hh"), rows=8, dot=""):
    """A state dict of random numbers, as nn.LSTM names them."""
    rng = np.random.default_rng(0)
    out = {}
    for k in range(layers):
        for suffix in (f"_l{k}", f"_l{k}_reverse")[:directions]:
            out[f"{dot}weight_ih{suffix}"] = rng.normal(size=(rows, directions * output if k else size))
            out[f"{dot}weight_hh{suffix}"] = rng.normal(size=(rows, output))
            out.update({f"{dot}{bias}{suffix}": rng.normal(size=rows) for bias in biases})
            if output != hidden:
                out[f"{dot}weight_hr{suffix}"] = rng.normal(size=(output, hidden))
    return out


def find(state):
    return _state_dict.lstms(Named({name: array.shape for name, array in state.items()}, state.__getitem__))


def refused(state, match):
    (read,) = find(state).values()
    with pytest.raises(FormatError, match=match):
        read()


@pytest.mark.parametrize("biases", [(), ("bias",), ("bias_ih", "bias_hh")])
@pytest.mark.parametrize("output", [1, 2])
@pytest.mark.parametrize("directions", [1, 2])
def test_whole(directions, output, biases):
    state = arrays(12, directions, output=output, biases=biases, dot="a.b.")
    weights = find(state)["a.b"]()
    assert (weights.num_layers, weights.bidirectional, weights.proj_size) == (12, directions == 2, output % 2)
    one, suffix = weights.layers[11][-1], "_l11_reverse" if directions == 2 else "_l11"
    np.testing.assert_array_equal(one.weight_hh, np.float32(state[f"a.b.weight_hh{suffix}"]))
    if biases:
        total = sum(np.float32(state[f"a.b.{bias}{suffix}"]) for bias in biases)
        assert total.dtype == np.float32
        np.testing.assert_array_equal(one.bias, total)
    else:
        assert one.bias is None


def test_biases_are_rounded_before_they_are_added():
    """As in a model that is converted to float32 and then run."""
    state = {**arrays(), "bias_ih_l0": np.full(8, 1.0), "bias_hh_l0": np.full(8, 2.0**-24 * 1.0000001)}
    assert (find(state)[""]().layers[0][0].bias == np.float32(1) + np.float32(2.0**-24 * 1.0000001)).all()


@pytest.mark.parametrize("rows", [2, 6], ids=["RNN", "GRU"])
def test_other_recurrent_layers(rows):
    assert find(arrays(2, 2, rows=rows)) == {}
    cell = {name.removesuffix("_l0"): array for name, array in arrays(rows=rows).items()}
    assert find(cell) == {}
    assert list(find({**arrays(rows=rows, dot="a."), **arrays(dot="b.")})) == ["b"]


def test_other_layers():
    assert (
        find({"weight": np.zeros((8, 2)), "bias": np.zeros(8), "x.weight": np.zeros(3), "bias_l0": np.zeros(2)}) == {}
    )


@pytest.mark.parametrize(
    "lost", [n for n in arrays(3, 2, output=1) if n not in ("weight_hr_l0", "bias_ih_l0", "bias_hh_l0")]
)
def test_a_missing_tensor(lost):
    state = arrays(3, 2, output=1)
    del state[lost]
    refused(state, f"^{lost}: expected a tensor, found none")


@pytest.mark.parametrize("lost", ["bias_ih_l0", "bias_hh_l0"])
def test_one_bias_without_the_other(lost):
    state = arrays()
    del state[lost]
    refused(state, f"^{lost}: expected a tensor, found none")


@pytest.mark.parametrize("lost", ["bias_ih_l0 bias_hh_l0", "weight_hr_l0"])
def test_what_the_first_layer_lacks_alone(lost):
    state = arrays(2, output=1)
    for name in lost.split():
        del state[name]
    refused(state, "weight_hh_l0: expected shape|bias_ih_l1: expected no such tensor")


def test_a_missing_layer():
    state = arrays(3, output=1)
    refused({n: a for n, a in state.items() if "_l1" not in n}, "^weight_ih_l1: expected a tensor, found none")
    refused({n: a for n, a in state.items() if "_l0" not in n}, "^weight_ih_l0: expected a tensor, found none")
    refused(
        {n: a for n, a in state.items() if n not in ("weight_ih_l2", "weight_hh_l2")}, "^weight_ih_l2: expected a te"
    )
    state = arrays(2, 2)
    refused(
        {n: a for n, a in state.items() if not n.endswith("_l1_reverse")}, "^weight_ih_l1_reverse: expected a tensor"
    )


@pytest.mark.parametrize("change", ["rows", "columns", "rank", "empty"])
def test_a_wrong_shape(change):
    for name, array in arrays(2, 2, output=1).items():
        wrong = {
            "rows": np.concatenate([array, array]),
            "columns": np.concatenate([array, array], -1),
            "rank": array[None],
            "empty": array[:0],
        }[change]
        refused({**arrays(2, 2, output=1), name: wrong}, r"^\w+: expected (shape|no such)")


def test_both_kinds_of_bias():
    refused({**arrays(), "bias_l0": np.zeros(8)}, "bias_ih_l0: expected no such tensor beside")


def test_names_of_a_layer_and_of_a_cell():
    cell = {name.removesuffix("_l0"): array for name, array in arrays().items()}
    refused({**arrays(), **cell}, "weight_ih: expected the names of nn.LSTM or of nn.LSTMCell, found both")


@pytest.mark.parametrize(
    "name",
    ["bias", "bias_s", "weight_ch", "weight_sh", "peephole_i", "w_ci", "W_f_diag", "layernorm_i.weight", "ln1.bias"],
)
@pytest.mark.parametrize("suffix", ["", "_l0"])
def test_other_cells(name, suffix):
    """Leaving a tensor out that a cell needs would give other numbers without a word."""
    state = {f"a.{key.removesuffix('_l0')}{suffix}": array for key, array in arrays().items()}
    refused({**state, f"a.{name}": np.zeros(8)}, f"a.{name}: expected the tensors of nn.LSTM or nn.LSTMCell alone")
    assert list(find({**state, f"b.{name}": np.zeros(8)})) == ["a"]


def test_ea_lstm():
    """Kratzert et al. 2019: its own layout transposed, NeuralHydrology's as a GRU's; an input gate of the static inputs."""
    own = {"weight_ih": (3, 6), "weight_hh": (2, 6), "weight_sh": (4, 2), "bias": (6,), "bias_s": (2,)}
    refused({f"lstm.{name}": np.zeros(shape) for name, shape in own.items()}, "lstm.*another cell.*EA-LSTM")
    hydrology = {"dynamic_gates.weight_ih": (6, 3), "dynamic_gates.weight_hh": (6, 2), "dynamic_gates.bias": (6,)}
    hydrology |= {"input_gate.weight": (2, 4), "input_gate.bias": (2,)}
    for dot in ("", "ealstm."):
        refused(
            {dot + name: np.zeros(shape) for name, shape in hydrology.items()}, "expected four gates, .*EA-LSTM's three"
        )


def test_integers():
    refused({**arrays(), "weight_hh_l0": np.zeros((8, 2), np.int8)}, "weight_hh_l0: expected a floating-point.*int8")


def test_bfloat16():
    bits = np.array([0x3F80, 0xBF80, 0x0001, 0x8000, 0x7F80, 0x7FC1], np.uint16)
    expected = np.array([0x3F800000, 0xBF800000, 0x00010000, 0x80000000, 0x7F800000, 0x7FC10000], np.uint32)
    np.testing.assert_array_equal(_state_dict.bfloat16(bits).view(np.uint32), expected)
