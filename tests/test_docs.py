"""README and the pages of the site: every block of code runs, or says why not; every link leads somewhere."""

import ast
import asyncio
import inspect
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("flatbuffers")
import doc_files

ROOT = Path(__file__).parents[1]
DOCS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
GALLERY = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "examples" / "gallery").glob("*/README.md"))
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
    "examples/README.md",
    *DOCS,
]
BLOCK = re.compile(r"^(?:<!-- not run: ([^>]+) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = {"python", "sh", "c", "cython"}
KNOWN = CODE | {"text", ""}  # without a language: drawings


def blocks(page):
    """Of each block of code the line, why it does not run, its language, itself."""
    text = (ROOT / page).read_text()
    for found in BLOCK.finditer(text):
        why, language, code = found.groups()
        assert language in KNOWN, f"{page}: {language}"
        if language in CODE:
            yield text[: found.start()].count("\n") + 1, why, language, code


def frameworks(page):
    """What a page's blocks import, and the files that they load are made with."""
    return [name for name in ("torch", "keras", "flax", "onnxruntime") if name in that_runs(page)]


def that_runs(page):
    return "\n".join([code for _, why, _, code in blocks(page) if not why] + [str(doc_files.BEFORE.get(page, ""))])


@pytest.mark.parametrize("page", [page for page in PAGES if list(blocks(page))])
def test_blocks_run(page, tmp_path, monkeypatch):
    """In their order, in a folder with the files that they name."""
    for name in frameworks(page):
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name, make in doc_files.FILES.items():
        if name in that_runs(page):
            make(tmp_path / name)
    names, before = dict(vars(doc_files)), doc_files.BEFORE.get(page, {})
    for line, why, language, code in blocks(page):
        if why:
            assert len(why.split()) >= 3, f"{page}, line {line}: {why}"
        elif language == "sh":
            assert shutil.which("bash"), "no bash"
            done = subprocess.run(["bash", "-euc", code], capture_output=True, text=True)
            assert done.returncode == 0, f"{page}, line {line}: {done.stderr}"
        else:
            first = [text for start, text in before.items() if code.startswith(start)]
            run("\n".join([*map(textwrap.dedent, first), "\n" * (line - len(first)) + code]), ROOT / page, names)


def run(code, path, names):
    """Python as a notebook takes it, with `await` anywhere."""
    made = compile(code, str(path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    value = eval(made, names)
    if inspect.isawaitable(value):
        asyncio.run(value)


def anchors(path):
    """GitHub's and MyST's names for headings."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", one).lower()).strip().replace(" ", "-")
        for one in heads
    }


@pytest.mark.parametrize("page", [*PAGES, *GALLERY])
def test_links_lead_somewhere(page):
    """On GitHub; of the site its build says so."""
    text, here = (ROOT / page).read_text(), (ROOT / page).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, place = target.partition("#")
        if ":" in target or name in ("gallery/index.md", "pictures/models-light.svg", "pictures/models-dark.svg"):
            continue  # another site's; what the build makes
        path = here / name if name else ROOT / page
        assert path.exists(), f"{page}: {target}"
        if place:
            assert place in anchors(path), f"{page}: {target}"
