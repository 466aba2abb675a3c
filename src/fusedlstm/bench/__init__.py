"""fusedlstm beside its peers, on this machine.

`cases` says what is measured, `peers` how each engine is called, `oracle` what is right, `runner` times a case,
`session` gives it a process of its own, `busy` says what else the machine did, `report` keeps the result, `terminal`
tells it, `whole` does all of it with whole models. What is aimed at, reports and comparisons are in `benchmarks/`.
"""

from .cases import BLOCKS, CASES, Case
from .peers import PEERS, Engine, FusedLSTM, installed
from .report import Report
from .runner import Figures, Row, measure
from .session import Session

__all__ = [
    "BLOCKS",
    "CASES",
    "PEERS",
    "Case",
    "Engine",
    "Figures",
    "FusedLSTM",
    "Report",
    "Row",
    "Session",
    "installed",
    "measure",
]
