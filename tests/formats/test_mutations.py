"""Thousands of changes of real files and of a small one of each source: FormatError or a model, soon and in little memory."""

import io
import zipfile
from pathlib import Path

import fuzz
import numpy as np
import pytest

import fusedlstm as fl

DATA, MODELS = Path(__file__).parent.parent / "data", Path("/work/shared/models")
REAL = sorted(one for one in MODELS.glob("*") if one.suffix not in (".csv", ".md"))
TWINS = ["keras2.h5", "keras3.keras", "native_model_1.safetensors", "onnx_tf2onnx.onnx", "onnx_torch.onnx"]


def _lite():
    from tflite_loops import cell, loop

    return loop("lstm", cell("lstm", 3, 4)).bytes()


def _program():
    torch = pytest.importorskip("torch")
    import torch_programs

    module = torch_programs.Of(
        lambda self, x: self.rnn(x)[0][:, -1].softmax(-1), rnn=torch.nn.GRU(3, 2, batch_first=True)
    )
    return torch_programs.exported(module.eval(), (torch.zeros(2, 4, 3),), ({0: torch.export.Dim("batch")},))


FILES = {
    **{name: (DATA / name).read_bytes for name in TWINS},
    "loop.tflite": _lite,
    "program.pt2": _program,
    **{one.name: one.read_bytes for one in REAL},
}


def changes(data):
    """A function of a generator of random numbers that gives the file changed; archives are changed inside."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return fuzz.Structure(data).changed
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: fuzz.Structure(archive.read(name)) for name in archive.namelist()}

    def changed(rng):
        if rng.random() < 0.2:
            return fuzz.zip_of(rng, data)
        hit, out = list(members)[rng.integers(len(members))], io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, one in members.items():
                archive.writestr(name, one.changed(rng) if name == hit else one.data)
        return out.getvalue()

    return changed


def mutated(name, count, first, folder):
    """How many of the changed files are refused; the one that is tried is kept, as a crash would tell nothing."""
    data = FILES[name]()
    change, refused, path = changes(data), 0, folder / name
    for seed in range(first, first + count):
        bad = change(np.random.default_rng(seed))
        path.write_bytes(bad)
        try:
            refused += not fuzz.runs(bad, megabytes=64 + (20 * len(data) >> 20))
            fl.LSTM.load_all(bad)  # in pieces as well
        except fl.FormatError:
            pass
        except Exception as error:
            raise AssertionError(f"seed {seed} (kept in {path})") from error
    return refused


pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", FILES)
def test_a_file_as_it_is(name):
    data = FILES[name]()
    assert fl.Model.load(data).outputs
    fuzz.runs(data, megabytes=64 + (20 * len(data) >> 20))


@pytest.mark.parametrize("name", [*TWINS, "loop.tflite", "program.pt2"])
def test_mutations(name, tmp_path):
    assert mutated(name, 20, 0, tmp_path) > 2


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_2000_mutations(name, tmp_path):
    refused = mutated(name, 2000, 1000, tmp_path)
    print("refused", refused)
    assert refused > 200
