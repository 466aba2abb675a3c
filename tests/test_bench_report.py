"""What the bench says of its figures: the report, its pictures, the comparison with an earlier one, the command."""

from dataclasses import replace

import pytest
from click.testing import CliRunner

from fusedlstm.bench import BLOCKS, CASES, Figures, Limits, Report, Row, compare, report
from fusedlstm.bench.markdown import markdown
from fusedlstm.cli import cli

LIMITS = Limits("now", 100.0, 1.0, ((1024, 16.0), (1 << 20, 16.0), (1 << 22, 8.0), (1 << 30, 8.0)))
ABOUT = {
    "cpu": "mine", "isa": "avx2", "cores": 2, "system": "Linux", "python": "3", "date": "2026-01-01 00:00", "seconds": 1,
    "environment": {"FUSEDLSTM_ISA": "avx2"}, "versions": {"fusedlstm": "1", "a": "1", "b": "1"},
}  # fmt: skip


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
    return Report(ABOUT, rows, LIMITS)


def test_compare_divides_by_a_peer():
    then, versions = Report(ABOUT, [row(fusedlstm=10.0, a=20.0, b=40.0)]), ABOUT["versions"]

    def changed(versions=versions, **microseconds):
        change = compare.change(row(**microseconds), then, versions)
        return round(change.factor, 6), change.beside, change.slower

    assert changed(fusedlstm=15.0, a=30.0, b=5.0) == (1.0, "a", False)  # a slower machine; a was the fastest then
    assert changed(fusedlstm=10.0, a=18.0) == (1.111111, "a", True)
    assert changed(fusedlstm=10.4, a=20.0) == (1.04, "a", False)
    assert changed(fusedlstm=12.0, b=40.0) == (1.2, "b", True)
    assert changed({"a": "2", "b": "1"}, fusedlstm=12.0, a=1.0, b=48.0) == (1.0, "b", False)  # a is another a now
    assert changed(fusedlstm=12.0) == (1.2, None, True)
    assert compare.change(row(CASES[5], fusedlstm=1.0), then, versions) is None
    assert compare.change(row(threads=2, fusedlstm=1.0), then, versions) is None
    with pytest.raises(ValueError, match="the isa avx512, found avx2"):
        compare.expect_same_machine(then, {**ABOUT, "isa": "avx512"})


def test_a_report_is_read_back(tmp_path):
    path = tmp_path / "report.json"
    written = example()
    path.write_text(written.as_json())
    read = report.load(path)
    assert read.rows == written.rows and read.about == written.about
    assert read.as_json() == written.as_json()
    for text in ("[]", "{}", "x", '{"rows": [{}], "limits": null, "bounds": null}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"expected the report\.json"):
            report.load(path)


def test_markdown_says_what_was_reached():
    text = markdown(example(), [("speed.png", "words")])
    lines = text.splitlines()
    assert "FUSEDLSTM_ISA=avx2" in text and "![words](speed.png)" in text
    assert "| amp_step | 1 × 1 | 1→40 | 1.00 | 8.00 | a | **8.00** | 10 | ✗ |" in text
    assert "| seq64 | 100 × 1 | 64→64 | 10.0 | 20.0 | b | **2.00** | 1.8 | ✓ |" in text
    assert "| seq64 | 100 × 1 | 64→64 | 4.00 | 2.00 | b | **0.50** | 1.8 | ✗ |" in text  # two threads
    assert "Ahead of the best peer on 2 of 3 cases; 1 of 3 targets met." in lines
    assert "| block1_16 | 1→16 | **40** | 48 | ✓ | 1,000 | a |" in text
    assert "| seq64 | 10.0 | 4.00 | **2.50** | 1 | ✓ |" in lines  # one thread and two
    assert "Left out: c: wrong: off by 1.0e+00 (seq64)." in lines
    assert "1e-07 · 2e-08" in text
    shares = [example().bound_target(one) for one in example().rows]
    assert shares == [None, 0.85, None, 0.92, None]  # sequences and batches, one thread
    assert "bound" not in markdown(replace(example(), limits=None)).replace("bound |", "")


def test_plots(tmp_path):
    pytest.importorskip("matplotlib")
    from fusedlstm.bench.plots import draw

    names = [name for name, _ in draw(example(), tmp_path)]
    assert names == ["speed.png", "bound.png", "latency.png"]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in names)
    alone = Report(ABOUT, [row(CASES[4], fusedlstm=10.0)])
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


def stored(tmp_path, *rows):
    path = tmp_path / "stored.json"
    path.write_text(Report({**report.about([], 1), "versions": {"fusedlstm": "1", "torch": "x"}}, list(rows)).as_json())
    return path


def test_compare_measures_again_before_it_complains(run, tmp_path):
    path = stored(tmp_path, row(fusedlstm=10.0))
    arguments = ("--cases", "seq64", "--peers", "none", "--compare", path)
    noisy = run(*arguments, rows=[row(fusedlstm=us) for us in (20.0, 12.0, 10.2, 1.0)])
    assert noisy.exit_code == 0 and "1.02 absolute times" in noisy.stdout and len(FakeSession.rows) == 1
    slower = run(*arguments, rows=[row(fusedlstm=us) for us in (20.0, 12.0, 13.0, 1.0)])
    assert slower.exit_code == 1 and "1.20 absolute times" in slower.stdout and len(FakeSession.rows) == 1
    assert slower.stderr.startswith("Error: slower by more than 5 %") and "seq64" in slower.stderr


def test_nothing_to_compare_with_is_no_success(run, tmp_path):
    path = stored(tmp_path, row(fusedlstm=10.0))
    result = run("--cases", "seq128", "--peers", "none", "--compare", path, rows=[row(fusedlstm=1.0)])
    assert result.exit_code == 1 and "no case in common" in result.stderr


def test_wrong_engines_are_bad_news(run):
    told = run("--cases", "seq64", "--peers", "none", rows=[row(fusedlstm=1.0, left_out={"c": "wrong: off by 1"})])
    assert told.exit_code == 1 and told.stderr == "Error: not timed, because the output is wrong: c on seq64\n"
    absent = run("--cases", "seq64", "--peers", "none", rows=[row(fusedlstm=1.0, left_out={"c": "RuntimeError: no"})])
    assert absent.exit_code == 0 and "left out: c on seq64: RuntimeError: no" in absent.stdout


def test_bench_writes_a_report(tmp_path):
    folder = tmp_path / "a" / "b"
    arguments = ["--cases", "amp_step,seq64", "--peers", "none", "--seconds", "0", "--report", str(folder)]
    result = CliRunner().invoke(cli, ["bench", *arguments])
    assert result.exit_code == 0, result.output
    assert "amp_step" in result.stdout and "seq64" in result.stdout
    read = report.load(folder / "report.json")
    assert [(one.case, one.threads) for one in read.rows] == [(CASES[0], 1), (CASES[4], 1)]
    assert all(one.ours.microseconds > 0 and one.ours.max_error < 1e-6 for one in read.rows)
    assert "# fusedlstm beside its peers" in (folder / "report.md").read_text()


@pytest.mark.parametrize(
    "args", [["--cases", "nonesuch"], ["--peers", "nonesuch"], ["--threads", "1,x"], ["--threads", "0"]]
)
def test_wrong_usage_is_exit_code_2(args):
    result = CliRunner().invoke(cli, ["bench", *args])
    assert result.exit_code == 2 and "expected" in result.stderr


def test_every_case_has_its_targets():
    assert len({case.name for case in (*CASES, *BLOCKS)}) == 20
    assert all(case.target(1) > 1 and case.target(2) > 1 and case.target(3) is None for case in CASES)
    assert all(case.kind == "block" and case.time == 4800 for case in BLOCKS)
