"""Every case with every engine that is installed: pytest benchmarks [--threads 2] [-k "seq64 and onnxruntime"].

For one engine's figures and their spread. The engines run one after the other here; `fusedlstm bench` interleaves them,
so its ratios are the ones to quote.
"""

import pytest

from fusedlstm.bench import BLOCKS, CASES, PEERS, FusedLSTM, installed, oracle
from fusedlstm.bench.peers.base import calls_in
from fusedlstm.bench.runner import ROUND_SECONDS

ROUNDS = 20


@pytest.mark.parametrize("engine", [FusedLSTM, *PEERS], ids=lambda engine: engine.name)
@pytest.mark.parametrize("case", [*CASES, *BLOCKS], ids=lambda case: case.name)
def test_engine(benchmark, case, engine, threads, limits):
    if not installed(engine):
        pytest.skip(f"pip install {engine.install}")
    weights, (x, state) = case.weights(), case.inputs()
    made = engine(weights, x, state, threads)
    max_error, rms_error = oracle.errors(made.y(), oracle.lstm(weights, x, state))
    assert max_error <= engine.tolerance

    benchmark.group = case.name
    benchmark.extra_info |= {"max_error": max_error, "rms_error": rms_error, "setting": made.setting}
    with made.session():
        iterations = calls_in(ROUND_SECONDS, made.call)
        benchmark.pedantic(made.call, rounds=ROUNDS if iterations > 1 else 5, iterations=iterations, warmup_rounds=1)
    if benchmark.stats is None:  # --benchmark-disable
        return
    microseconds = benchmark.stats.stats.median * 1e6
    benchmark.extra_info["ns_per_step"] = microseconds / case.time * 1e3
    if limits is not None:
        benchmark.extra_info["share_of_bound"] = limits.bound(case, threads) / microseconds
