"""What is no LSTM is called by its name."""

import numpy as np
import pytest

import fusedlstm as fl


@pytest.mark.parametrize(
    "names, words",
    [
        (
            ["p.lstm_layers.0.x2g.weight", "p.lstm_layers.0.p2g.weight"],
            "'p.lstm_layers.0' is an LSTM cell of torchaudio's",
        ),
        (["b.1.xlstm.slstm_cell._recurrent_kernel_", "b.1.xlstm.fgate.weight"], "'b.1.xlstm' is an sLSTM"),
        (["b.0.xlstm.mlstm_cell.igate.weight"], "'b.0.xlstm' is an mLSTM"),
        (["rnn.0.w.r_weight", "rnn.0.u.r_weight"], "'rnn.0' is a quaternion LSTM"),
        (["rnn.0.w.weight", "rnn.0.u.weight"], "'rnn.0' is a recurrent layer of speechbrain's own"),
        (["m.lstm.lora_A.weight", "m.lstm.lora_B.weight"], "'m.lstm' is an adapter alone; merge it"),
        (["fc.weight"], r"expected an LSTM, found none in this mapping$"),
        ([], "it holds no tensors"),
    ],
)
def test_by_names(names, words):
    with pytest.raises(fl.FormatError, match=f"expected an LSTM, found none in this mapping.*{words}|^{words}"):
        fl.LSTM.from_state_dict(dict.fromkeys(names, np.ones((4, 4), np.float32)))


@pytest.mark.parametrize(
    "kind, words", [("GRU", "a GRU"), ("RNN", "a plain RNN"), ("GRUCell", "a GRU"), ("RNNCell", "a plain RNN")]
)
@pytest.mark.parametrize("suffix", ["pt", "npz"])
def test_other_layers_of_pytorch(tmp_path, kind, words, suffix):
    torch = pytest.importorskip("torch")
    state = {f"enc.{name}": value for name, value in getattr(torch.nn, kind)(3, 4).state_dict().items()}
    path = tmp_path / f"a.{suffix}"
    torch.save(state, path) if suffix == "pt" else np.savez(path, **{k: v.numpy() for k, v in state.items()})
    with pytest.raises(fl.FormatError, match=f"expected an LSTM, found none in .*'enc' is {words}, no LSTM"):
        fl.LSTM.load(path)
