"""The site: it builds without warnings, has every public name, and looks as it should in a browser, wide and narrow."""

import asyncio
import http.server
import inspect
import os
import subprocess
import sys
import threading
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import pytest

pytest.importorskip("sphinx")
pytest.importorskip("furo")
pytest.importorskip("myst_parser")
pytest.importorskip("sphinx_design")
pytest.importorskip("matplotlib")
pytest.importorskip("aiohttp")
import browser
from sphinx.util.inventory import InventoryFile

import fusedlstm as fl

ROOT = Path(__file__).parents[1]
INTERNAL = {
    "ARRAYS", "NEEDED", "RENAMED", "add_note", "args", "build", "kind", "name", "one", "planned", "start_over", "title",
    "with_traceback",
}  # fmt: skip
"""Attributes without an underscore that are not for users; fields are said in their class."""

DOORS = {
    "torch": ("accelerate", "restore", "refresh", "report", "Report", "Entry"),
    "keras": ("accelerate", "restore", "report"),
    "onnxruntime": ("library", "rewrite", "Rewritten"),
    "ray": ("Predictor", "StreamService", "Unfinished"),
}

SOURCES = {
    "getting_started.html#pytorch": "models.html#pytorch",
    "getting_started.html#keras": "models.html#keras",
    "getting_started.html#onnx": "operators.html",
    "getting_started.html#tensorflow-lite": "models.html#tensorflow-lite",
    "getting_started.html#safetensors-and-numpy": "formats.html",
    "getting_started.html#flax-and-jax": "formats.html#flax-s-sequences-in-our-terms",
    "getting_started.html#tensorflow-1-and-elmo": "formats.html#tensorflow-1",
    "getting_started.html#amplifier-models": "formats.html",
}
"""Where one's own file is run, and where all that is read of its kind is said."""

LOOKS = """(() => {
  const wide = innerWidth, bad = [];
  if (document.documentElement.scrollWidth > wide) bad.push(`the page is ${document.documentElement.scrollWidth} wide`);
  const scrolls = one => one && (/auto|scroll|hidden/.test(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
  for (const one of document.querySelectorAll("article *")) {
    const box = one.getBoundingClientRect();
    if (box.width && box.right > wide + 1 && !scrolls(one.parentElement)) bad.push(`${one.tagName} ends at ${box.right}`);
  }
  for (const one of document.images) {
    if (!one.alt.trim() && !one.closest(".sidebar-brand")) bad.push(`${one.src}: no alt`);
    if (getComputedStyle(one).display !== "none" && one.complete && !one.naturalWidth) bad.push(`${one.src}: not there`);
  }
  return bad;
})()"""


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the site: one that is built already, or built here."""
    if "FUSEDLSTM_SITE" in os.environ:
        return Path(os.environ["FUSEDLSTM_SITE"])
    out = tmp_path_factory.mktemp("site")
    run = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", f"{out}.trees", ROOT / "docs", out]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


class Links(HTMLParser):
    """The addresses that the text of a page links to; `url` is its own."""

    def __init__(self, url, text):
        super().__init__()
        self.url, self.found, self.inside = url, set(), False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        told = dict(attributes)
        self.inside |= tag == "article"
        if tag == "a" and self.inside and told.get("href"):
            self.found.add(urljoin(self.url, told["href"]))

    def handle_endtag(self, tag):
        self.inside &= tag != "article"


def links(site, url):
    page = url.partition("#")[0]
    return Links(page, (site / page).read_text()).found if (site / page).suffix == ".html" else set()


def test_three_clicks_to_one_s_own_file(site):
    """From the home page, by links in the text of pages alone."""
    reached, edge = {"index.html": 0}, ["index.html"]
    for clicks in (1, 2, 3):
        edge = [to for url in edge for to in links(site, url) if ":" not in to and to not in reached]
        reached |= dict.fromkeys(edge, clicks)
    for run, details in SOURCES.items():
        page, _, place = run.partition("#")
        assert reached.get(run, 9) <= 2 and f'id="{place}"' in (site / page).read_text(), run
        assert reached.get(details, 9) <= 3, details


def test_the_api_has_every_public_name(site):
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    names = {name for kind, found in inventory.items() if kind.startswith("py:") for name in found}
    wanted = [f"fusedlstm.{name}" for name in fl.__all__]
    for door, there in DOORS.items():
        wanted += [f"fusedlstm.{door}.{one}" for one in there]
    for one in filter(inspect.isclass, (getattr(fl, name) for name in fl.__all__)):
        members = {name for name in dir(one) if not name.startswith("_")} - INTERNAL
        wanted += [f"fusedlstm.{one.__name__}.{name}" for name in members if described(one, name)]
    wanted += [f"fusedlstm.{name}.__call__" for name in ("ConvLSTM", "LSTM", "Model", "Sequential")]
    assert not set(wanted) - names


def described(owner, name):
    """Whether it is a method or property: the fields of a class are said in the class's own words."""
    found = inspect.getattr_static(owner, name)
    return callable(found) or isinstance(found, (property, classmethod, staticmethod))


def pages(site):
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))


@pytest.mark.skipif(browser.FOUND is None, reason="no Chromium is installed")
def test_how_two_pages_look(site):
    asyncio.run(look(site, ["index.html", "models.html"]))


@pytest.mark.slow
@pytest.mark.skipif(browser.FOUND is None, reason="no Chromium is installed")
def test_how_every_page_looks(site):
    asyncio.run(look(site, pages(site)))


async def look(site, names):
    """At pages wide and narrow, in the light and the dark: nothing overflows, pictures are there, no error is logged."""
    handler = partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home, bad = f"http://127.0.0.1:{server.server_port}/", {}
        try:
            async with browser.browse(home) as page:
                for theme in ("light", "dark"):
                    await page.call(
                        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}]
                    )
                    for width in (1280, 390):
                        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
                        await page.call("Emulation.setDeviceMetricsOverride", **size)
                        for name in names:
                            await page.call("Page.navigate", url=home + name)
                            await page.until(f"document.readyState === 'complete' && location.href === '{home}{name}'")
                            found = [*await page.evaluate(LOOKS), *page.errors]
                            page.errors.clear()
                            if found:
                                bad[name, theme, width] = found
        finally:
            server.shutdown()
    assert not bad


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Nothing."""
