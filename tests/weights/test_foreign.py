"""Tensors beside an LSTM's own: refused by name wherever they lie under it, unless the caller says to leave them out."""

import numpy as np
import pytest

import fusedlstm as fl

OWN = {
    "weight_ih_l0": np.ones((8, 3), np.float32),
    "weight_hh_l0": np.ones((8, 2), np.float32),
    "bias_ih_l0": np.ones(8, np.float32),
    "bias_hh_l0": np.ones(8, np.float32),
}
CELL = {name.removesuffix("_l0"): array for name, array in OWN.items()}
A = np.ones((2, 2), np.float32)


def load(own, path, beside, prefix=None, **options):
    tensors = {f"{path}.{name}" if path else name: array for name, array in own.items()}
    return fl.LSTM.from_state_dict({**tensors, **dict.fromkeys(beside, A)}, prefix, **options)


# Where libraries for adapters, pruning and quantisation keep their tensors, and cells of one's own.
BESIDE = {
    "PEFT": ("m.lstm.base_layer", ["m.lstm.lora_A.default.weight", "m.lstm.lora_B.default.weight"]),
    "PEFT, DoRA": ("lstm.base_layer", ["lstm.lora_magnitude_vector.default.weight"]),
    "PEFT, modules to save": ("lstm.original_module", ["lstm.modules_to_save.default.weight"]),
    "loralib": ("lstm", ["lstm.lora_A", "lstm.lora_B"]),
    "by parameter": ("lstm", ["lstm.weight_hh_l0_lora_A", "lstm.weight_hh_l0_lora_B"]),
    "before the parameter": ("lstm", ["lstm.lora_weight_hh_l0_A"]),
    "beside, flat": ("enc.lstm", ["lora_enc_lstm.lora_down.weight"]),
    "kohya": ("lstm", ["lora_unet_lstm.lora_up.weight"]),
    "LyCORIS": ("lstm", ["lycoris_lstm.lokr_w1"]),
    "LoHa": ("lstm", ["lstm.hada_w1_a"]),
    "IA3": ("lstm", ["lstm.ia3_l"]),
    "a group of adapters": ("enc.lstm", ["adapters.enc.lstm.down.weight"]),
    "a group inside": ("enc.lstm", ["enc.adapters.lstm.down.weight"]),
    "an adapter inside": ("lstm", ["lstm.adapter.down.weight"]),
    "at the root": ("", ["lora_A.default.weight"]),
    "at the root, by parameter": ("", ["weight_ih_l0_lora_A"]),
    "a mask of its own": ("lstm", ["lstm.mask_hh"]),
    "a mask by parameter": ("lstm", ["lstm.weight_hh_l0_pruning_mask"]),
    "a scale": ("lstm", ["lstm.scale"]),
    "a scale by parameter": ("lstm", ["lstm.weight_hh_l0.absmax"]),
    "an extra gate": ("lstm", ["lstm.weight_xg"]),
    "an extra gate as a module": ("lstm", ["lstm.gate.weight"]),
    "a module two deep": ("lstm", ["lstm.highway.gate.weight"]),
    "peepholes": ("lstm", ["lstm.peephole_i"]),
    "a norm": ("lstm", ["lstm.layer_norm.weight"]),
    "another LSTM": ("lstm", ["lstm.inner.weight_ih_l0", "lstm.inner.weight_hh_l0"]),
}


@pytest.mark.parametrize("own", [OWN, CELL], ids=["LSTM", "LSTMCell"])
@pytest.mark.parametrize("kind", BESIDE)
def test_is_refused_by_name(own, kind):
    path, beside = BESIDE[kind]
    with pytest.raises(fl.FormatError, match=rf"^({'|'.join(beside)}): expected the tensors of nn.LSTM"):
        load(own, path, beside, path)


@pytest.mark.parametrize("kind", BESIDE)
def test_the_advice_works(kind):
    """What the message says to write lets the LSTM through, as it is without the others."""
    path, beside = BESIDE[kind]
    with pytest.raises(fl.FormatError) as caught:
        load(OWN, path, beside, path)
    if "ignore=" in str(caught.value):
        advised = str(caught.value).split("ignore=")[1]
        patterns = [advised[2:-2]]
        if len(beside) > 1:
            patterns = beside
        x = np.ones((2, 4, 3), np.float32)
        y = load(OWN, path, beside, path, ignore=patterns)(x)[0]
        np.testing.assert_array_equal(y, load(OWN, path, [], path)(x)[0])


@pytest.mark.parametrize(
    "patterns", [["lora_*"], ["lstm.lora_*"], "lora_*", ["m.lstm.lora_[AB].default.weight"], ["*"], ["x", "lora_?.*"]]
)
def test_ignored(patterns):
    path, beside = BESIDE["PEFT"]
    assert load(OWN, path, beside, ignore=patterns).input_size == 3


@pytest.mark.parametrize("patterns", [[], ["lora"], ["lora_A*"], ["ora_*"], ["LORA_*"]])
def test_not_ignored(patterns):
    with pytest.raises(fl.FormatError, match="lora_"):
        load(OWN, *BESIDE["PEFT"], ignore=patterns)


def test_own_tensors_are_never_ignored():
    assert load(OWN, "lstm", [], ignore=["*", "bias*"]).weights.layers[0][0].bias is not None
    with pytest.raises(fl.FormatError, match="weight_hh_l0"):
        load({"weight_ih_l0": OWN["weight_ih_l0"]}, "lstm", [], ignore=["*"])


def test_what_lies_elsewhere_does_not_matter():
    """Adapters of other layers, modules beside the LSTM, an optimizer at the top of a file."""
    beside = ["fc.lora_A.default.weight", "fc.base_layer.weight", "lstm2.scale", "model.adapter.weight", "head.weight"]
    assert load(OWN, "model.lstm", beside).input_size == 3
    assert load(OWN, "", ["optimizer.state.0", "ema.weight"]).input_size == 3
    assert load(OWN, "lstm", ["lstm_norm.weight", "lst.m"]).input_size == 3


def test_load_all(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        **{f"a.{k}": v for k, v in OWN.items()},
        **{f"b.{k}": v for k, v in OWN.items()},
        **{"b.scale": A},
    )
    with pytest.warns(UserWarning, match=r"left out: .*b\.scale: expected the tensors of nn.LSTM"):
        assert list(fl.LSTM.load_all(tmp_path / "a.npz")) == ["a"]
    assert list(fl.LSTM.load_all(tmp_path / "a.npz", ignore=["scale"])) == ["a", "b"]


def test_an_empty_tensor():
    with pytest.raises(
        fl.FormatError, match=r"lstm.weight_hh_l0: expected numbers, found an empty tensor, .*zero_to_fp32"
    ):
        load({**OWN, "weight_hh_l0": np.ones(0, np.float32)}, "lstm", [])


def test_paddles_second_names():
    """Paddle's state_dict has each tensor twice; a copy that differs would be another LSTM."""
    twice = {f"0.cell.{name}": array for name, array in CELL.items()}
    both = {f"0.cell_fw.{name}": array for name, array in CELL.items()}
    both |= {f"0.cell_bw.{name}": 2 * array for name, array in CELL.items()}
    reverse = {f"{name}_reverse": 2 * array for name, array in OWN.items()}
    for own in ({**OWN, **twice}, {**OWN, **reverse, **both}):
        lstm = load(own, "lstm", [])
        assert lstm.bidirectional is ("weight_ih_l0_reverse" in own)
    twice["0.cell.bias_hh"] = np.zeros(8, np.float32)
    with pytest.raises(fl.FormatError, match=r"lstm.0.cell.bias_hh: expected a copy of lstm.bias_hh_l0"):
        load({**OWN, **twice}, "lstm", [])
