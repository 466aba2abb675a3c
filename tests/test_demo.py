"""The demo: PyTorch's numbers, an honest comparison, and pictures that show them."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from fusedlstm import demo
from fusedlstm.cli import cli
from fusedlstm.demo import gallery
from fusedlstm.demo.terminal import chart


@pytest.fixture(scope="module")
def result():
    return demo.run()


def test_reaches_the_error_that_pytorch_recorded(result):
    assert result.rmse("LSTM") == pytest.approx(result.pytorch_rmse, rel=1e-4)


def test_beats_every_naive_forecast(result):
    ours, *naive = (result.rmse(method) for method in result.forecasts)
    assert ours < min(naive)


def test_forecasts_use_nothing_measured_later(result, monkeypatch):
    """Wipe out the last held-out year: its forecasts, made on 1 January, must not notice."""
    read = demo.Forecaster.__init__

    def blind(self):
        read(self)
        self.ppm[np.searchsorted(self.dates, result.dates[-1, 0]) :] = 0

    monkeypatch.setattr(demo.Forecaster, "__init__", blind)
    for method, forecast in demo.run().forecasts.items():
        np.testing.assert_array_equal(forecast[-1], result.forecasts[method][-1])


def test_year_ahead_is_pytorchs(result):
    """The first held-out year by examples/train_demo.py's own network, rather than by its recorded error."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("statsmodels")
    path = Path(__file__).parents[1] / "examples" / "train_demo.py"
    spec = importlib.util.spec_from_file_location("train_demo", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    net = script.Forecaster()
    net.load_state_dict(torch.load(demo.WEIGHTS, weights_only=True))
    dates, series = script.load_series()
    seasons = torch.tensor(script.season(dates), dtype=torch.float32)
    start, weeks = len(result.history[0]), demo.WEEKS
    with torch.no_grad():
        ppm = torch.tensor(series[None, :start], dtype=torch.float32)
        _, ahead = net(ppm, seasons[None, weeks - 1 : start + weeks - 1], weeks)
    np.testing.assert_allclose(result.forecasts["LSTM"][0], ahead[0].numpy(), atol=5e-4)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_chart_fits_the_terminal(result, width):
    lines = chart(result, Console(width=width)).plain.splitlines()
    assert max(map(len, lines[1:])) <= width
    assert "●" in "".join(lines) and re.search("[\u2800-\u28ff]", "".join(lines[1:]))


def test_command_prints_the_errors_and_draws(tmp_path, result):
    pytest.importorskip("matplotlib")
    png = tmp_path / "picture.png"
    run = CliRunner().invoke(cli, ["demo", "--png", str(png)])
    assert run.exit_code == 0, run.output
    assert f"{result.rmse('LSTM'):.6f}" in run.stdout and "µs a step" in run.stdout
    assert "\x1b" not in run.stdout  # no colours in a pipe
    assert png.read_bytes().startswith(b"\x89PNG") and png.stat().st_size > 50_000


def test_command_without_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(cli, ["demo"])
    assert run.exit_code == 0 and "fusedlstm[plot]" in run.stdout
    assert not list(tmp_path.iterdir())
    run = CliRunner().invoke(cli, ["demo", "--png", "a.png"])
    assert run.exit_code == 1 and "fusedlstm[plot]" in run.stderr


def test_files_are_small():
    assert sum(path.stat().st_size for path in demo.WEIGHTS.parent.iterdir()) < 200_000


def test_the_list_tells_of_each_application():
    run = CliRunner().invoke(cli, ["demo", "--list"])
    assert run.exit_code == 0 and "CO2" in run.stdout
    for name, program in gallery.applications().items():
        (line,) = [line for line in run.stdout.splitlines() if line.startswith(f"{name} ")]
        assert line.endswith(gallery.title(program)) and len(gallery.title(program)) > 20


def test_an_application_runs_and_draws(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)
    before = list(sys.argv)
    run = CliRunner().invoke(cli, ["demo", "pendulum"])
    assert run.exit_code == 0, run.output
    assert "metric: " in run.stdout and "fusedlstm-pendulum.png" in run.stdout
    assert (tmp_path / "fusedlstm-pendulum.png").read_bytes().startswith(b"\x89PNG")
    assert sys.argv == before


def test_an_application_without_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(cli, ["demo", "pendulum"])
    assert run.exit_code == 0 and "metric: " in run.stdout and "fusedlstm[plot]" in run.stdout
    assert not list(tmp_path.iterdir())


def test_an_unknown_application_is_named():
    run = CliRunner().invoke(cli, ["demo", "tetris"])
    assert run.exit_code == 1 and "tetris" in run.stderr and "pendulum" in run.stderr
