"""Low precision in `fusedlstm bench`: ours and whichever peers are installed."""

import numpy as np
import pytest
from suite.tables import markdown
from suite.told import Told

from fusedlstm.bench import oracle, report
from fusedlstm.bench.cases import Case
from fusedlstm.bench.peers import LOW_PRECISION, installed
from fusedlstm.bench.runner import measure

CASES = (
    Case("step", 1, 1, 12, 24),
    Case("sequence", 9, 1, 12, 24, num_layers=2),
    Case("batch", 5, 7, 12, 24, bidirectional=True),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("kind", LOW_PRECISION, ids=lambda kind: kind.name)
def test_each_engine_is_of_low_precision_and_right(case, kind):
    """A peer that quantised nothing would be as exact as float32, and its times another engine's."""
    if not installed(kind):
        pytest.skip(f"{kind.name} is not installed")
    weights, (x, state) = case.weights(), case.inputs()
    engine = kind(weights, x, state, 1)
    with engine.session():
        largest, rms = oracle.errors(np.asarray(engine.y()), oracle.lstm(weights, x, state))
    assert 1e-5 < largest <= kind.tolerance and rms > 3e-6
    assert kind.low_precision


def test_rows_keep_them_apart_and_reports_read_them_back(tmp_path):
    ours = [kind for kind in LOW_PRECISION if kind.name.startswith("fusedlstm")]
    row = measure(CASES[1], ours, duration=0.0)
    assert list(row.engines) == ["fusedlstm"] and row.best_peer is None
    assert list(row.low_precision) == [kind.name for kind in ours] and not row.left_out
    found = report.Report(report.about([], 0.0), [row])
    (tmp_path / "report.json").write_text(found.as_json())
    assert report.load(tmp_path / "report.json").rows[0].low_precision == row.low_precision
    told = markdown(Told(found.about, found.rows))
    assert "### Low precision, 1 thread" in told and "fusedlstm int8 by 8" in told
