"""fusedlstm beside its peers, on this machine: cases, peers and the runner that times them in turn."""

from .cases import CASES, Case
from .peers import PEERS, Engine, FusedLSTM, installed
from .runner import Row, machine, measure, versions

__all__ = ["CASES", "PEERS", "Case", "Engine", "FusedLSTM", "Row", "installed", "machine", "measure", "versions"]
