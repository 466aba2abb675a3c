"""The gallery: each application runs by itself, in seconds, and reaches what its framework reached."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GALLERY = Path(__file__).parents[1] / "examples" / "gallery"
APPLICATIONS = sorted(path.parent for path in GALLERY.glob("*/run.py"))
ALLOWED = {"fusedlstm", "numpy", "matplotlib"} | sys.stdlib_module_names
NOT_EXPORTED = {".py", ".png", ".md"}

each = pytest.mark.parametrize("folder", APPLICATIONS, ids=lambda path: path.name)


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


@each
def test_runs_and_reaches_the_frameworks_metric(folder, tmp_path):
    pytest.importorskip("matplotlib")
    for suffix, library in ((".onnx", "onnx"), (".msgpack", "msgpack")):
        if list(folder.glob(f"*{suffix}")):
            pytest.importorskip(library)
    command = [sys.executable, str(folder / "run.py"), str(tmp_path / "picture.png")]
    env = os.environ | {"MPLBACKEND": "Agg"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads((folder / "framework.json").read_text())
    last = done.stdout.splitlines()[-1]
    found = re.fullmatch(r"metric: ([\d.e-]+) \(([\w.]+): ([\d.e-]+)\)", last)
    assert found, f"expected a last line such as 'metric: 0.1234 (keras: 0.1234)', found {last!r}"
    assert found[2] == told["framework"].split()[0]
    assert float(found[1]) == pytest.approx(told["value"], rel=1e-3)
    assert float(found[3]) == pytest.approx(told["value"], rel=1e-3)
    assert "µs" in done.stdout


@each
def test_is_a_program_to_copy(folder):
    """One page, of what the wheel needs and matplotlib; the framework is in train.py alone."""
    text = (folder / "run.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    others = {name for name in imported(ast.parse(text)) if name.split(".")[0] not in ALLOWED}
    assert not others, f"run.py imports {others}"
    assert "fusedlstm" not in set(imported(ast.parse((folder / "train.py").read_text(encoding="utf-8"))))


@each
def test_says_what_it_is(folder):
    told = json.loads((folder / "framework.json").read_text())
    assert {"framework", "metric", "value", "us_per_call", "onnxruntime_us_per_call", "machine"} <= set(told)
    assert told["onnxruntime_us_per_call"] is not None or told["onnxruntime"], "expected a reason under 'onnxruntime'"
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert page.startswith("# ") and re.search(r"!\[[^\]]{20,}\]\(picture\.png\)", page), (
        "a title, a picture told in words"
    )
    assert "python run.py" in page and "python train.py" in page


@each
def test_files_are_small(folder):
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    assert max(size for name, size in sizes.items() if Path(name).suffix not in NOT_EXPORTED) <= 400_000
    assert sizes["picture.png"] <= 150_000
    assert sum(sizes.values()) <= 600_000


def test_the_gallery_is_small():
    assert APPLICATIONS
    assert sum(path.stat().st_size for path in GALLERY.rglob("*") if path.is_file()) <= 4_000_000 + 14 * 150_000
