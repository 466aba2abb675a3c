"""fusedlstm beside its peers, on this machine.

`cases` says what is measured, `peers` how each engine is called, `oracle` what is right, `runner` times a case,
`session` gives it a process of its own, `bound` tells the machine's limit, `report`, `markdown`, `plots` and `terminal`
tell the result, `compare` holds it against an earlier one, `whole` does all of it with whole models.
"""

from .bound import Limits
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
    "Limits",
    "Report",
    "Row",
    "Session",
    "installed",
    "measure",
]
