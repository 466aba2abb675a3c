"""Quantised and quantizable LSTMs of PyTorch: the second are floats by other names, the first are refused by name."""

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
import torch_models

import fusedlstm as fl

quantizable = torch.ao.nn.quantizable
pytestmark = pytest.mark.filterwarnings("ignore")


class Net(torch.nn.Module):
    def __init__(self, **options):
        super().__init__()
        torch.manual_seed(0)
        self.lstm = torch.nn.LSTM(6, 5, **options)

    def forward(self, x):
        return self.lstm(x)


def observed(module, split_gates=False):
    """The quantizable form of a float LSTM, with its observers."""
    module.eval().qconfig = torch.ao.quantization.default_qconfig
    return quantizable.LSTM.from_float(module, split_gates=split_gates)


@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2}, {"bidirectional": True, "num_layers": 2}, {"bias": False}], ids=str
)
@pytest.mark.parametrize("split_gates", [False, True])
@pytest.mark.parametrize("prefix", ["lstm.", ""])
def test_quantizable(tmp_path, options, split_gates, prefix):
    net = Net(**options)
    other = observed(net.lstm, split_gates)
    names = list(other.state_dict())
    assert any("activation_post_process" in name for name in names) and any("igates" in name for name in names)
    torch.save({f"{prefix}{name}": value for name, value in other.state_dict().items()}, tmp_path / "a.pt")
    lstm = fl.LSTM.load(tmp_path / "a.pt", batch_first=True)
    torch_models.check(net.lstm, lstm)
    x = torch.randn(7, 2, 6)
    with torch.no_grad():
        y_, (_, c_) = other(x)
    y, (_, c) = lstm(x.numpy().swapaxes(0, 1))
    np.testing.assert_allclose(y.swapaxes(0, 1), y_, rtol=0, atol=1e-5)
    np.testing.assert_allclose(c, c_.reshape(c.shape), rtol=0, atol=1e-5)


@pytest.mark.parametrize("split_gates", [False, True])
def test_quantizable_cell(tmp_path, split_gates):
    cell = quantizable.LSTMCell(6, 5, split_gates=split_gates)
    torch.save({f"cell.{name}": value for name, value in cell.state_dict().items()}, tmp_path / "a.pt")
    x = torch.randn(3, 6)
    h_, c_ = cell(x)
    _, (h, c) = fl.LSTM.load(tmp_path / "a.pt", batch_first=True)(x[:, None].numpy())
    np.testing.assert_allclose(h[0], h_.detach(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(c[0], c_.detach(), rtol=0, atol=1e-6)


def test_parts_that_do_not_fit(tmp_path):
    state = dict(quantizable.LSTMCell(6, 5, split_gates=True).state_dict())
    for change in ({"igates.forget.weight": torch.zeros(4, 6)}, {"igates.forget.weight": None}):
        broken = {name: value for name, value in {**state, **change}.items() if value is not None}
        torch.save({f"cell.{name}": value for name, value in broken.items()}, tmp_path / "a.pt")
        with pytest.raises(
            fl.FormatError, match=r"cell\.igates\..*: expected one such tensor for each of input, forget"
        ):
            fl.LSTM.load(tmp_path / "a.pt")


def test_fake_quantisation_is_refused(tmp_path):
    """It rounds what runs through it, and that is not repeated here."""
    net = Net()
    net.lstm.qconfig = torch.ao.quantization.get_default_qat_qconfig("fbgemm")
    state = quantizable.LSTM.from_float(net.lstm).state_dict()
    if not any("fake_quant_enabled" in name for name in state):
        state["layers.0.layer_fw.cell.gates.activation_post_process.fake_quant_enabled"] = torch.ones(1)
    torch.save({f"lstm.{name}": value for name, value in state.items()}, tmp_path / "a.pt")
    with pytest.raises(fl.FormatError, match=r"lstm\.layers\..*: expected the tensors of nn.LSTM"):
        fl.LSTM.load(tmp_path / "a.pt")


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.LSTMCell])
def test_dynamically_quantised(tmp_path, kind):
    class One(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = kind(6, 5)

    net = torch.ao.quantization.quantize_dynamic(One().eval(), {kind}, dtype=torch.qint8)
    torch.save(net.state_dict(), tmp_path / "a.pt")
    with pytest.raises(
        fl.FormatError, match="'lstm' is a quantised layer, whose weights are packed; save the float model's"
    ):
        fl.LSTM.load(tmp_path / "a.pt")
