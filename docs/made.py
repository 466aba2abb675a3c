"""Pages and pictures that are made of what lies elsewhere, before Sphinx looks for sources: an extension of it."""

import os
import re
import shutil
from pathlib import Path

import picture

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PAGES = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "benchmarks/report/report.md": "project/report.md",
    "benchmarks/report/models.md": "project/report_models.md",
    "benchmarks/report-xeon/report.md": "project/report_xeon.md",
    "examples/README.md": "project/examples.md",
}
"""Files that are pages as well."""

LEADS = PAGES | {"docs": "index.md", "examples/gallery": "gallery/index.md"}

PROGRAMS = ("run.py", "train.py")
GALLERY = """\
# Gallery

What LSTMs are used for, each from a file that its framework wrote: the data, the training, the exported model, and a
page of code that runs it without the framework. `run.py` is what you copy and change; `train.py` made the file. Each
runs as `python examples/gallery/NAME/run.py` after `pip install ".[all]"`.
"""


def setup(app):
    """Called by Sphinx."""
    app.connect("builder-inited", make)
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def make(app=None):
    """Write what git does not keep: docs/project, docs/gallery and docs/pictures."""
    for folder in ("project", "gallery"):
        shutil.rmtree(DOCS / folder, ignore_errors=True)
        (DOCS / folder).mkdir()
    for source, page in PAGES.items():
        text = (ROOT / source).read_text()
        title = "" if text.startswith("# ") else "# Whole models beside their peers\n\n"
        (DOCS / page).write_text(title + linked(text, ROOT / source, DOCS / page))
    gallery(ROOT / "examples" / "gallery", DOCS / "gallery")
    picture.draw(ROOT / "benchmarks" / "report" / "models.json", DOCS / "pictures")


def read(app, page, source):
    """A page's links to files that are pages as well lead there; on GitHub they lead to the files."""
    path = Path(app.srcdir) / f"{page}.md"
    source[0] = linked(source[0], path, path)


def linked(text, here, there):
    """A file's text as that of another, with what it links to."""

    def link(found):
        target, _, place = found[2].partition("#")
        path = (here.parent / target).resolve()
        if not target or ":" in target or not path.exists():
            return found[0]
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
        target = os.path.relpath(DOCS / LEADS[name] if name in LEADS else path, there.parent)
        return f"{found[1]}{Path(target).as_posix()}{'#' * bool(place)}{place})"

    return re.sub(r"(\]\()([^)\s]+)\)", link, text)


def gallery(folder, out):
    """A page for each example, with its programs, and one that shows them all."""
    names = sorted(one.parent.name for one in folder.glob("*/README.md"))
    cards = []
    for name in names:
        readme = folder / name / "README.md"
        text = linked(readme.read_text(), readme, out / f"{name}.md")
        cards.append(card(name, text, (folder / name / "picture.png").is_file()))
        programs = [one for one in PROGRAMS if (folder / name / one).is_file()]
        (out / f"{name}.md").write_text("\n\n".join([text, *(program(name, one) for one in programs)]) + "\n")
    shown = "\n".join(["::::{grid} 1 1 2 2", ":gutter: 3", "", *cards, "::::"]) if cards else ""
    pages = "\n".join(["```{toctree}", ":hidden:", "", *names, "```"])
    (out / "index.md").write_text(f"{GALLERY}\n{shown}\n\n{pages}\n")


def card(name, readme, pictured):
    """A grid's card: title, picture, the first paragraph of words."""
    title = re.search(r"^# (.+)$", readme, re.MULTILINE)[1]
    words = next(one for one in readme.split("\n\n") if one.strip() and one[0] not in "#!|`<-*:")
    alt = re.search(r"!\[([^\]]+)\]", readme)
    image = f":img-top: ../../examples/gallery/{name}/picture.png\n:img-alt: {' '.join(alt[1].split())}\n"
    lines = f":link: {name}\n:link-type: doc\n{image if pictured and alt else ''}"
    return f":::{{grid-item-card}} {title}\n{lines}\n{words}\n:::\n"


def program(name, file):
    path = f"../../examples/gallery/{name}/{file}"
    return f"## {file}\n\n```{{literalinclude}} {path}\n:language: python\n```"
