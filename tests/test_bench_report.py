"""What the bench says of its figures: the command; of benchmarks/ the report, its pictures, comparisons, README's blocks."""

import json
from dataclasses import replace
from importlib.util import find_spec

import compare
import pytest
import readme
import report as write_report
from click.testing import CliRunner
from suite import changes, targets, told
from suite.bound import Limits
from suite.tables import markdown
from suite.told import Told

from fusedlstm.bench import BLOCKS, CASES, Figures, Report, Row, report
from fusedlstm.cli import cli

LIMITS = Limits("now", 100.0, 1.0, ((1024, 16.0), (1 << 20, 16.0), (1 << 22, 8.0), (1 << 30, 8.0)))
ABOUT = {
    "cpu": "mine", "isa": "avx2", "cores": 2, "system": "Linux", "python": "3", "date": "2026-01-01 00:00", "seconds": 1,
    "environment": {"FUSEDLSTM_ISA": "avx2"}, "versions": {"fusedlstm": "1", "a": "1", "b": "1"},
}  # fmt: skip
RTNEURAL = {"cpu": "theirs", "compiler": "c", "source": "s", "measured": "then", "nanoseconds": {"block1_16": 55.0}}


def row(case=CASES[4], threads=1, left_out=(), **microseconds):
    latency = {"p50": 1.0, "p99": 2.0} if case.kind == "step" else {}
    figures = {name: Figures(us, (us, us), 1e-7, 2e-8, "some way", latency) for name, us in microseconds.items()}
    return Row(case, threads, figures, dict(left_out))


def example():
    rows = [
        row(CASES[0], fusedlstm=1.0, a=8.0, b=12.0),
        row(CASES[4], fusedlstm=10.0, a=30.0, b=20.0, left_out={"c": "wrong: off by 1.0e+00"}),
        row(CASES[4], 2, fusedlstm=4.0, a=30.0, b=2.0),
        row(CASES[12], fusedlstm=100.0, a=90.0),
        row(BLOCKS[0], fusedlstm=4800 * 0.04, a=4800.0),
    ]
    return Told(ABOUT, rows, LIMITS, RTNEURAL)


def test_compare_divides_by_a_peer():
    then, versions = Report(ABOUT, [row(fusedlstm=10.0, a=20.0, b=40.0)]), ABOUT["versions"]

    def changed(versions=versions, **microseconds):
        change = changes.change(row(**microseconds), then, versions)
        return round(change.factor, 6), change.beside, change.slower

    assert changed(fusedlstm=15.0, a=30.0, b=5.0) == (1.0, "a", False)  # a slower machine; a was the fastest then
    assert changed(fusedlstm=10.0, a=18.0) == (1.111111, "a", True)
    assert changed(fusedlstm=10.4, a=20.0) == (1.04, "a", False)
    assert changed(fusedlstm=12.0, b=40.0) == (1.2, "b", True)
    assert changed({"a": "2", "b": "1"}, fusedlstm=12.0, a=1.0, b=48.0) == (1.0, "b", False)  # a is another a now
    assert changed(fusedlstm=12.0) == (1.2, None, True)
    assert changes.change(row(CASES[5], fusedlstm=1.0), then, versions) is None
    assert changes.change(row(threads=2, fusedlstm=1.0), then, versions) is None


def test_what_differs_between_runs_is_said():
    then = Report({**ABOUT, "isa": "avx512vnni"}, [])
    now = {**ABOUT, "isa": "avx512bf16", "versions": {"fusedlstm": "2", "a": "1"}}
    assert changes.differences(then, then.about) == []
    assert changes.differences(then, now) == [
        "avx512vnni then, avx512bf16 now: the same kernels of float32, others of lower precisions",
        "fusedlstm: 1 then, 2 now",
        "b: 1 then, absent now",
    ]
    for other in ({"isa": "avx2"}, {"cpu": "yours"}):
        with pytest.raises(ValueError, match="expected reports of one"):
            changes.differences(then, {**now, **other})


def test_of_several_runs_the_best_counts():
    then = Report(ABOUT, [row(fusedlstm=10.0), row(CASES[5], fusedlstm=10.0)])
    runs = [Report(ABOUT, [row(fusedlstm=us)]) for us in (20.0, 10.2, 12.0)]
    (found,) = changes.changes(then, runs)
    assert found.factor == pytest.approx(1.02) and not found.slower
    assert changes.changes(then, runs[:1])[0].slower


def test_a_report_is_read_back(tmp_path):
    path, rtneural = tmp_path / "report.json", tmp_path / "rtneural.json"
    written = example()
    path.write_text(written.as_json())
    read = told.load(path)
    assert read.rows == written.rows and read.about == written.about and read.rtneural == RTNEURAL
    assert read.limits.bound(CASES[4]) == LIMITS.bound(CASES[4]) and read.as_json() == written.as_json()
    run = Report(ABOUT, written.rows)
    path.write_text(run.as_json())
    assert report.load(path) == run
    assert told.load(path) == Told(ABOUT, written.rows)
    rtneural.write_text(json.dumps(RTNEURAL))
    assert told.load(path, None, rtneural).rtneural == RTNEURAL
    for text in ("[]", "{}", "x", '{"rows": [{}]}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"expected what fusedlstm bench --json writes"):
            report.load(path)


def test_markdown_says_what_was_reached():
    text = markdown(example(), [("speed.png", "words")])
    lines = text.splitlines()
    assert "FUSEDLSTM_ISA=avx2" in text and "![words](speed.png)" in text and "set for themselves" in text
    row_of = {line.split(" | ")[0]: line for line in reversed(lines)}
    assert "| amp_step | 1 × 1 | 1→40 | 1.00<br><sub>1.00 – 1.00</sub> | 8.00<br>" in text
    assert "| a | **8.00** | 12 | ✗ |" in row_of["| amp_step"]
    assert "| b | **2.00** | 1.5 | ? |" in row_of["| seq64"]  # met, but ONNX Runtime was not there
    assert "| b | **0.50** | 1.8 | ✗ |" in text  # two threads
    assert "Ahead of the best peer on 2 of 3 cases; 0 of 3 targets met." in lines
    assert "**Not measured everywhere**: litert, onnxruntime, keras, openvino, torch." in text
    assert "| block1_16 | 1→16 | **40** | 48 | ✓ | 1,000 | a |" in text and " % | 55 |" in text
    assert "on another machine, theirs: for reference only" in text
    assert "| seq64 | 10.0 | 4.00 | **2.50** | 1 | ✓ |" in lines  # one thread and two
    assert "Left out: c: wrong: off by 1.0e+00 (seq64)." in lines
    assert "1e-07 · 2e-08" in text
    shares = [example().bound_target(one) for one in example().rows]
    assert shares == [None, 0.85, None, 0.92, None]  # sequences and batches, one thread
    assert "bound" not in markdown(replace(example(), limits=None)).replace("bound |", "")


def test_a_target_is_met_beside_all_who_may_be_the_best():
    met = Told(ABOUT, [row(fusedlstm=10.0, onnxruntime=20.0, openvino=30.0)])
    assert "| onnxruntime | **2.00** | 1.5 | ✓ |" in markdown(met) and not met.doubtful
    assert "1 of 1 targets met" in markdown(met)


def test_what_is_level_is_told_so():
    level = Row(CASES[4], 1, {"fusedlstm": Figures(10.0, (9.0, 12.0), 0, 0), "a": Figures(11.0, (9.5, 13.0), 0, 0)})
    text = markdown(Told({**ABOUT, "load": 2.0, "steal": 0.1}, [level]))
    assert "≈ (1.10)" in text and "on 0 of 1 cases, level on 1" in text
    assert "**The machine was busy**: a load of 2.0 before" in text and "10 % of the time" in text


def test_a_fresh_sample_stands_beside_a_bare_step():
    step = replace(row(CASES[0], fusedlstm=1.0, a=8.0), fresh=Figures(1.5, (1.4, 1.6), 0, 0, "that way"))
    assert (
        "| amp_step | 1→40 | 1.00<br><sub>1.00 – 1.00</sub> | 1.50<br><sub>1.40 – 1.60</sub> | that way |"
        in markdown(Told(ABOUT, [step]))
    )


def test_readme_has_the_stored_figures():
    """python benchmarks/readme.py writes them."""
    readme.main(["--check"], standalone_mode=False)


def test_plots(tmp_path):
    pytest.importorskip("matplotlib")
    from suite.plots import draw

    names = [name for name, _ in draw(example(), tmp_path)]
    assert names == ["speed.png", "bound.png", "latency.png"]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in names)
    alone = Told(ABOUT, [row(CASES[4], fusedlstm=10.0)])
    assert draw(alone, tmp_path) == []  # nothing to compare with, no limits, no steps


class FakeSession:
    """Hands out rows in turn."""

    rows: list[Row]

    def __init__(self, threads):
        self.threads = threads

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def run(self, measure, name, case, *rest):
        return replace(self.rows.pop(0), case=case, threads=self.threads)


@pytest.fixture
def run(monkeypatch):
    def run(*args, rows):
        monkeypatch.setattr("fusedlstm.cli.benchmark.Session", FakeSession)
        FakeSession.rows = list(rows)
        return CliRunner().invoke(cli, ["bench", *map(str, args)])

    return run


def test_comparing_runs_of_the_command(run, tmp_path):
    before, after, again = (tmp_path / f"{name}.json" for name in ("before", "after", "again"))
    for path, us in ((before, 10.0), (after, 20.0), (again, 10.2)):
        told = run("--cases", "seq64", "--peers", "none", "--json", path, rows=[row(fusedlstm=us)])
        assert told.exit_code == 0, told.output
    told = CliRunner().invoke(compare.main, [str(before), str(after)])
    assert told.exit_code == 1 and "2.00 absolute times" in told.stdout and "seq64" in told.stderr
    assert told.stderr.startswith("slower by more than 5 %")
    told = CliRunner().invoke(compare.main, [str(before), str(after), str(again)])
    assert told.exit_code == 0 and "1.02 absolute times" in told.stdout
    run("--cases", "seq128", "--peers", "none", "--json", after, rows=[row(fusedlstm=1.0)])
    told = CliRunner().invoke(compare.main, [str(before), str(after)])
    assert told.exit_code == 1 and "no case in common" in told.stderr


def test_wrong_engines_are_bad_news(run):
    told = run("--cases", "seq64", "--peers", "none", rows=[row(fusedlstm=1.0, left_out={"c": "wrong: off by 1"})])
    assert told.exit_code == 1 and told.stderr == "Error: not timed, because the output is wrong: c on seq64\n"
    absent = run("--cases", "seq64", "--peers", "none", rows=[row(fusedlstm=1.0, left_out={"c": "RuntimeError: no"})])
    assert absent.exit_code == 0 and "left out: c on seq64: RuntimeError: no" in absent.stdout


def test_the_command_writes_what_a_report_is_made_of(tmp_path):
    path = tmp_path / "run.json"
    arguments = ["--cases", "amp_step,seq64", "--peers", "none", "--seconds", "0", "--json", str(path)]
    result = CliRunner().invoke(cli, ["bench", *arguments])
    assert result.exit_code == 0, result.output
    assert "amp_step" in result.stdout and "seq64" in result.stdout
    assert '"fusedlstm[bench]"' in result.stdout
    assert "with its sample put in place: amp_step" in result.stdout
    assert "Not among the peers: torch" in result.stdout.replace("\n", " ")
    read = report.load(path)
    assert [(one.case, one.threads) for one in read.rows] == [(CASES[0], 1), (CASES[4], 1)]
    assert all(one.ours.microseconds > 0 and one.ours.max_error < 1e-6 for one in read.rows)
    assert {"load", "steal"} <= set(read.about)
    told = CliRunner().invoke(write_report.main, [str(path), str(tmp_path / "a" / "b")])
    assert told.exit_code == 0, told.output
    assert "# fusedlstm beside its peers" in (tmp_path / "a" / "b" / "report.md").read_text()
    assert bool(find_spec("matplotlib")) == (tmp_path / "a" / "b" / "latency.png").exists()
    lost = CliRunner().invoke(cli, ["bench", "--json", str(tmp_path / "none" / "run.json")])
    assert lost.exit_code == 1 and "in a folder that is there" in lost.stderr


@pytest.mark.parametrize(
    "args", [["--cases", "nonesuch"], ["--peers", "nonesuch"], ["--threads", "1,x"], ["--threads", "0"]]
)
def test_wrong_usage_is_exit_code_2(args):
    result = CliRunner().invoke(cli, ["bench", *args])
    assert result.exit_code == 2 and "expected" in result.stderr


def test_every_case_has_its_targets():
    assert len({case.name for case in (*CASES, *BLOCKS)}) == 23
    assert all(min(targets.SPEED_UPS[case.name]) >= 0.99 for case in CASES) and len(targets.SPEED_UPS) == len(CASES)
    assert targets.NANOSECONDS.keys() == {case.name for case in BLOCKS}
    assert targets.speed_up(row(threads=3, fusedlstm=1.0)) is None
    assert all(case.kind == "block" and case.time == 4800 for case in BLOCKS)
