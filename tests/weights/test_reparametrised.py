"""Weights that PyTorch keeps as parts: its own numbers, whatever the stale copy beside them says."""

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
import torch_models
from torch.nn.utils import parametrizations, parametrize, prune

import fusedlstm as fl
from fusedlstm.weights import state_dict as _state_dict
from fusedlstm.weights.named import Named

NAMES = ["weight_ih_l0", "weight_hh_l0", "weight_hr_l0", "weight_hh_l1_reverse", "bias_hh_l0"]


def lstm():
    torch.manual_seed(3)
    return torch.nn.LSTM(4, 5, 2, bidirectional=True, proj_size=3)


def plain(module):
    """The same module with its weights as they are at the moment."""
    copy = torch.nn.LSTM(4, 5, 2, bidirectional=True, proj_size=3)
    with torch.no_grad():
        for name, p in copy.named_parameters():
            p.copy_(getattr(module, name))
    return copy


def named(state):
    return Named({name: array.shape for name, array in state.items()}, state.__getitem__)


def load(state, tmp_path, prefix=None):
    torch.save(state, tmp_path / "a.pt")
    return fl.LSTM.load(tmp_path / "a.pt", prefix)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("apply", [parametrizations.weight_norm, torch.nn.utils.weight_norm], ids=["new", "old"])
@pytest.mark.parametrize("dim", [0, 1, -1, None])
@pytest.mark.parametrize("name", NAMES)
def test_weight_norm(tmp_path, apply, dim, name):
    if name.startswith("bias") and dim == 1:
        pytest.skip("a bias has one dimension")
    module = apply(lstm(), name, dim)
    length, direction = (p for n, p in module.named_parameters() if n in (f"{name}_g", f"{name}_v") or f".{name}." in n)
    with torch.no_grad():  # fresh from `apply`, it would be the plain weight
        length.copy_(torch.rand_like(length) + 0.5)
        direction.copy_(torch.randn_like(direction))
    module.train()(torch.zeros(1, 1, 4))  # the old way computes the weight before each pass
    loaded = load(module.state_dict(), tmp_path)
    k, d = int("_l1" in name), int("reverse" in name)
    expected = getattr(module, name).detach().numpy()
    if not name.startswith("bias"):
        found = getattr(loaded.weights.layers[k][d], name.partition("_l")[0])
        np.testing.assert_allclose(found, expected, rtol=3e-7, atol=0)
    torch_models.check(plain(module), loaded)


def test_several_at_once(tmp_path):
    module = lstm()
    for name, _ in list(module.named_parameters()):
        if name.startswith("weight"):
            parametrizations.weight_norm(module, name)
    state = {f"enc.{name}": value for name, value in module.state_dict().items()}
    torch_models.check(plain(module), load(state, tmp_path, "enc"))
    torch_models.check(plain(module), fl.LSTM.from_torch(module))


@pytest.mark.parametrize("name", NAMES)
def test_pruning(tmp_path, name):
    module = prune.random_unstructured(lstm(), name, amount=0.5)
    assert (module.state_dict()[f"{name}_mask"] == 0).any()
    torch_models.check(plain(module), load(module.state_dict(), tmp_path))


@pytest.mark.parametrize("wrapped", ["on the module", "on its wrapper", "on the wrapper, a copy left"])
def test_weight_drop(tmp_path, wrapped):
    """AWD-LSTM: its first authors rename the parameter, fastai keeps it on a wrapper beside a copy."""
    module = lstm()
    state = {f"rnns.0.module.{name}": value for name, value in module.state_dict().items()}
    raw = state.pop("rnns.0.module.weight_hh_l0")
    state["rnns.0.module.weight_hh_l0_raw" if wrapped == "on the module" else "rnns.0.weight_hh_l0_raw"] = raw
    if "copy" in wrapped:
        state["rnns.0.module.weight_hh_l0"] = torch.full_like(raw, torch.nan)
    torch_models.check(module, load(state, tmp_path, "rnns.0.module"))


def test_cells(tmp_path):
    cell = parametrizations.weight_norm(torch.nn.LSTMCell(4, 5), "weight_hh")
    copy = torch.nn.LSTMCell(4, 5)
    with torch.no_grad():
        for name, p in copy.named_parameters():
            p.copy_(getattr(cell, name))
    torch_models.check(copy, load(cell.state_dict(), tmp_path))


class Sign(torch.nn.Module):
    def forward(self, x):
        return x.sign()


OTHERS = {
    "spectral norm": lambda module: parametrizations.spectral_norm(module, "weight_hh_l0"),
    "the old spectral norm": lambda module: torch.nn.utils.spectral_norm(module, "weight_hh_l0"),
    "orthogonal": lambda module: parametrizations.orthogonal(module, "weight_hr_l0"),
    "one's own": lambda module: parametrize.register_parametrization(module, "weight_hh_l0", Sign()),
    "one's own of a bias": lambda module: parametrize.register_parametrization(module, "bias_hh_l0", Sign()),
}


@pytest.mark.parametrize("other", OTHERS)
def test_others_are_refused(tmp_path, other):
    state = OTHERS[other](lstm()).state_dict()
    found = "spectral norm" if "spectral" in other else "(weight|bias)_h._l0 in the parts .*original"
    with pytest.raises(fl.FormatError, match=f"found {found}"):
        fl.LSTM.from_torch(OTHERS[other](lstm()))
    with pytest.raises(fl.FormatError, match=rf"(weight|bias)_h._l0.*: expected a plain.*, found {found}"):
        load(state, tmp_path)


def arrays(**extra):
    state = {"weight_ih_l0": (8, 3), "bias_ih_l0": (8,), "bias_hh_l0": (8,), **extra}
    return {f"a.{name}": np.ones(shape, np.float32) for name, shape in state.items()}


@pytest.mark.parametrize(
    "parts, message",
    [
        ({"weight_hh_l0_g": (8, 1)}, "a.weight_hh_l0_g: .*found weight_hh_l0 in the parts g"),
        ({"weight_hh_l0_v": (8, 2)}, "a.weight_hh_l0_v: .*in the parts v"),
        ({"weight_hh_l0_orig": (8, 2)}, "a.weight_hh_l0_orig: .*in the parts orig"),
        ({"weight_hh_l0_raw": (8, 2), "weight_hh_l0_mask": (8, 2)}, "in the parts mask, raw"),
        ({"weight_hh_l0_orig": (8, 2), "weight_hh_l0_mask": (8, 1)}, r"a.weight_hh_l0_mask: expected shape \(8, 2\)"),
        ({"weight_hh_l0_g": (8, 2), "weight_hh_l0_v": (8, 2)}, "a.weight_hh_l0_g: expected the lengths of a weight norm"),
        ({"weight_hh_l0_g": (1, 1), "weight_hh_l0_v": (8, 2)}, "a.weight_hh_l0_g: expected the lengths of a weight norm"),
        ({"weight_hh_l0_g": (8, 1), "weight_hh_l0_v": (8, 3)}, "a.weight_hh_l0: expected shape"),
        ({"weight_hh_l0_raw": (6, 2)}, "a.weight_hh_l0: expected shape"),
        ({"weight_hh_l0_orig": (8, 2), "weight_hh_l0_mask": (8, 2), "weight_hh_l0": (8, 2), "bias_ih_l0_raw": (4,)}, "bias_ih"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit(parts, message):
    state = arrays(**parts)
    (read,) = _state_dict.lstms(named(state)).values()
    with pytest.raises(fl.FormatError, match=message):
        read()


def test_integers_among_the_parts():
    state = arrays(weight_hh_l0_orig=(8, 2)) | {"a.weight_hh_l0_mask": np.ones((8, 2), np.int8)}
    (read,) = _state_dict.lstms(named(state)).values()
    with pytest.raises(fl.FormatError, match="a.weight_hh_l0_mask: expected a floating-point tensor, found dtype int8"):
        read()
