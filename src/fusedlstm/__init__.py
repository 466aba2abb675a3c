"""fusedlstm: run a trained LSTM on a CPU as fast as the machine allows."""

from .lstm import LSTM
from .weights import DirectionWeights, FormatError, LSTMWeights

__all__ = ["LSTM", "DirectionWeights", "FormatError", "LSTMWeights"]
