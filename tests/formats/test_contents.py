"""Every LSTM of a file at once, and lists of cells as one stack."""

import tracemalloc

import numpy as np
import pytest
import reference

import fusedlstm as fl
from fusedlstm import formats


def cell(dot, size, hidden, rng, suffix=""):
    shapes = {"weight_ih": (4 * hidden, size), "weight_hh": (4 * hidden, hidden), "bias_ih": (4 * hidden,)}
    shapes["bias_hh"] = shapes["bias_ih"]
    return {f"{dot}{name}{suffix}": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def save(path, *cells):
    np.savez(path, **{name: array for one in cells for name, array in one.items()})
    return path


@pytest.fixture
def rng():
    return np.random.default_rng(2)


def test_load_all(tmp_path, rng):
    path = save(tmp_path / "a.npz", cell("enc.", 3, 4, rng, "_l0"), cell("dec.", 5, 2, rng), {"lin.weight": np.ones(3)})
    found = fl.LSTM.load_all(path)
    assert {prefix: (lstm.input_size, lstm.hidden_size) for prefix, lstm in found.items()} == {
        "enc": (3, 4),
        "dec": (5, 2),
    }
    x = rng.normal(size=(2, 6, 3)).astype(np.float32)
    np.testing.assert_array_equal(found["enc"](x)[0], fl.LSTM.load(path, "enc")(x)[0])
    assert all(lstm.batch_first for lstm in found.values())
    assert not any(lstm.batch_first for lstm in fl.LSTM.load_all(path, batch_first=False).values())


def test_one_that_is_refused(tmp_path, rng):
    path = save(tmp_path / "a.npz", cell("enc.", 3, 4, rng), cell("dec.", 3, 4, rng), {"dec.bias": np.ones(16)})
    with pytest.warns(UserWarning, match=r"^left out: .*a\.npz: dec\.bias: .*another cell.*LSTM 'dec'") as told:
        assert list(fl.LSTM.load_all(path)) == ["enc"]
    assert len(told) == 1 and told[0].filename == __file__
    assert fl.LSTM.load(path, "enc").hidden_size == 4
    with pytest.raises(fl.FormatError, match=r"found 2, of which only 'enc' can be read: .*prefix='enc'"):
        fl.LSTM.load(path)


def test_all_that_are_refused(tmp_path, rng):
    path = save(tmp_path / "a.npz", *(cell(f"{k}.", 3, 4, rng) | {f"{k}.bias": np.ones(16)} for k in "ab"))
    with pytest.raises(fl.FormatError, match=r"a\.npz: a\.bias: .*LSTM 'a'"):
        fl.LSTM.load_all(path)
    with pytest.raises(fl.FormatError, match=r"found 2, of which none can be read: 'a', 'b'"):
        fl.LSTM.load(path)


def test_no_lstm(tmp_path):
    with pytest.raises(fl.FormatError, match="expected an LSTM, found none"):
        fl.LSTM.load_all(save(tmp_path / "a.npz", {"x": np.ones(3)}))


def test_two_thousand_names_for_the_same_bytes(tmp_path):
    torch = pytest.importorskip("torch")
    state = torch.nn.LSTMCell(64, 64).state_dict()
    torch.save({f"{k}.{name}": value for k in range(2000) for name, value in state.items()}, tmp_path / "a.pt")
    tracemalloc.start()
    try:
        with pytest.raises(
            fl.FormatError, match=r"a\.pt: expected at most \d+ parameters in all LSTMs .*found more by '"
        ):
            fl.LSTM.load_all(tmp_path / "a.pt")
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dot", ["decoder.cells.", ""])
def test_a_list_of_cells(tmp_path, rng, dot):
    torch = pytest.importorskip("torch")
    cells = torch.nn.ModuleList([torch.nn.LSTMCell(3, 4), torch.nn.LSTMCell(4, 4), torch.nn.LSTMCell(4, 4)])
    torch.save({dot + name: value for name, value in cells.state_dict().items()}, tmp_path / "a.pt")
    assert list(formats.open(tmp_path / "a.pt").expect(fl.LSTMWeights)) == [f"{dot}{k}" for k in range(3)]
    assert len(fl.LSTM.load_all(tmp_path / "a.pt")) == 3
    lstm = fl.LSTM.load(tmp_path / "a.pt", dot.removesuffix("."))
    assert lstm.num_layers == 3
    x = torch.randn(2, 6, 3)
    state, y_ = [None] * 3, []
    for step in x.unbind(1):
        for k, one in enumerate(cells):
            state[k] = one(step, state[k])
            step = state[k][0]
        y_.append(step)
    y, (h, c) = lstm(x.numpy())
    np.testing.assert_allclose(y, torch.stack(y_, 1).detach(), rtol=0, atol=1e-6)
    for ours, which in ((h, 0), (c, 1)):
        np.testing.assert_allclose(ours, torch.stack([one[which] for one in state]).detach(), rtol=0, atol=1e-6)


def test_cells_of_several_sizes(tmp_path, rng):
    cells = [cell(f"{k}.", size, hidden, rng) for k, (size, hidden) in enumerate([(3, 6), (6, 2), (2, 5)])]
    x = rng.normal(size=(2, 6, 3)).astype(np.float32)
    y = x
    path = save(tmp_path / "a.npz", *cells)
    for k in range(3):
        y, _ = reference.lstm(formats.open(path).load(fl.LSTMWeights, str(k)), y)
    np.testing.assert_allclose(fl.LSTM.load(path, "")(x)[0], y, rtol=0, atol=1e-6)


def test_lists_that_are_no_stack(tmp_path, rng):
    twice = save(tmp_path / "d.npz", cell("cells.0.", 3, 4, rng), cell("cells/0.", 3, 4, rng))
    with pytest.raises(fl.FormatError, match="expected an LSTM called 'cells', found 'cells.0', 'cells/0'"):
        fl.LSTM.load(twice, "cells")
    gap = save(tmp_path / "a.npz", cell("cells.0.", 3, 4, rng), cell("cells.2.", 4, 4, rng))
    with pytest.raises(fl.FormatError, match="expected an LSTM called 'cells', found 'cells.0', 'cells.2'"):
        fl.LSTM.load(gap, "cells")
    unfit = save(tmp_path / "b.npz", cell("cells.0.", 3, 4, rng), cell("cells.1.", 3, 4, rng))
    with pytest.raises(fl.FormatError, match=r"layers\[1\].*expected an input size of 4, found 3"):
        fl.LSTM.load(unfit, "cells")
    whole = save(tmp_path / "c.npz", cell("rnns.0.", 3, 4, rng, "_l0"), cell("rnns.0.", 4, 4, rng, "_l1"))
    with pytest.raises(
        fl.FormatError, match="rnns: expected a list of cells to stack, found something else as number 0"
    ):
        fl.LSTM.load(whole, "rnns")
