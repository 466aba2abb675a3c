"""The applications of ``examples/gallery`` as demos: the few that the wheel carries, all of them in a checkout."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
SHIPPED, CHECKOUT = PACKAGE / "gallery", PACKAGE.parents[1] / "examples" / "gallery"


def applications() -> dict[str, Path]:
    """The program of each application that is here, by name."""
    folder = SHIPPED if SHIPPED.is_dir() else CHECKOUT
    return {program.parent.name: program for program in sorted(folder.glob("*/run.py"))}


def title(program: Path) -> str:
    """What a program says of itself in its first line, but for how it is called."""
    words = ast.get_docstring(ast.parse(program.read_text(encoding="utf-8"))) or ""
    return words.partition("\n")[0].partition(": python ")[0]


def run(name: str, picture: Path) -> bool:
    """Run an application as ``python run.py picture`` would; False where matplotlib is missing for its picture.

    Parameters
    ----------
    name : str
        One of `applications`.
    picture : Path
        Where it draws, once its numbers are printed.
    """
    found = applications()
    if name not in found:
        raise ValueError(
            f"NAME: expected one of {', '.join(found)}, found {name!r}; `fusedlstm demo --list` tells of each"
        )
    before, sys.argv = sys.argv, [str(found[name]), str(picture)]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return False
    finally:
        sys.argv = before
    return True
