"""The layout rules of docs/design.md, kept true by reading the sources and the compiled objects."""

import ast
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ISAS
from native_programs import build

ROOT = Path(__file__).parents[1]
CSRC, PACKAGE = ROOT / "csrc", ROOT / "src" / "fusedlstm"
INTRINSICS = re.compile(r"#include <(\w*intrin\w*|arm_neon|cpuid)\.h>")


def includes(path):
    return re.findall(r'#include ([<"][^>"]+[>"])', path.read_text())


def sources(folder, *suffixes):
    found = [path for path in sorted((CSRC / folder).rglob("*")) if path.suffix in suffixes]
    assert found
    return found


def test_only_simd_includes_intrinsics():
    for path in sources(".", ".cpp", ".hpp", ".h"):
        if path.parent.name != "simd":
            assert not INTRINSICS.search(path.read_text()), path
    for path in sources("simd", ".hpp"):
        assert not re.search(r'#include "\.\./', path.read_text()), path


def test_kernels_use_no_standard_library():
    """An inline function compiled with AVX flags can become the copy that every caller gets."""
    parts = ("activations", "cell", "elementwise", "functions", "general", "gru", "integer", "many", "parts")
    parts += ("panels", "plan", "reading", "rows", "sequence", "sums", "weights")
    allowed = {
        "<cstddef>",
        "<cstdint>",
        '"table.hpp"',
        '"../simd/target.hpp"',
        *(f'"{part}.inl.hpp"' for part in parts),
    }
    for path in (*sources("kernels", ".hpp"), CSRC / "kernels" / "kernels.cpp"):
        if not path.name.startswith("dispatch"):
            assert set(includes(path)) <= allowed, path
    for path in sources("simd", ".hpp"):
        if path.name != "cpuid.hpp":  # baseline code, included by dispatch.cpp alone
            standard = {name for name in includes(path) if name[0] == "<" and not re.search(r"intrin|arm_neon", name)}
            assert standard <= {"<cstddef>", "<cstdint>", "<cstring>"}, (
                path
            )  # the last for memcpy, not an inline function


def test_engine_uses_the_table_and_the_standard_library():
    for path in sources("engine", ".cpp", ".hpp"):
        for name in includes(path):
            if name.startswith('"..'):
                assert name in ('"../kernels/table.hpp"', '"../kernels/dispatch.hpp"', '"../capi.h"'), (path, name)
            assert "pybind11" not in name and "Python.h" not in name, path


def test_programs_use_the_engine_and_the_table():
    for path in sources("program", ".cpp", ".hpp"):
        for name in includes(path):
            if name.startswith('"..'):
                assert re.match(r'"../(engine/\w+|kernels/(table|dispatch))\.hpp"', name), (path, name)
            assert "pybind11" not in name and "Python.h" not in name, path


def parameters(path):
    """Each function's name and how many parameters it has, template arguments aside."""
    text = re.sub(r"//.*|\"[^\"\n]*\"", "", path.read_text())
    for match in re.finditer(r"\b(\w+)\(", text):
        inside, depth = "", 1
        for character in text[match.end() :]:
            depth += character in "([{<"
            depth -= character in ")]}>"
            if depth == 0:
                break
            inside += character if depth == 1 else ""
        declares = re.match(r"\s*(const |std::|unsigned |[A-Z]\w+[&* ]|float|bool|double)", inside)
        yield match[1], inside.count(",") + 1 if declares else 0


def test_no_function_of_the_engine_takes_more_than_six_parameters():
    counted = dict(parameters(CSRC / "engine" / "layer.hpp"))
    assert counted["pass"] == 4, "the test cannot count"
    for path in (*sources("engine", ".cpp", ".hpp"), *sources("kernels", ".cpp", ".hpp")):
        for name, count in parameters(path):
            assert count <= 6, f"{path}: {name} takes {count} parameters"


def test_stream_reaches_the_engine_through_the_c_api_alone():
    text = (
        (PACKAGE / "capi.pxd").read_text() + (PACKAGE / "stream.pyx").read_text() + (PACKAGE / "stream.pxd").read_text()
    )
    assert re.findall(r'cdef extern from "(.+)"', text) == ["capi.h"]
    assert includes(CSRC / "capi.h") == ["<stddef.h>"]


def test_only_bindings_know_python():
    for folder in ("simd", "kernels", "engine", "program", "capi"):
        for path in sources(folder, ".cpp", ".hpp"):
            assert "pybind11" not in path.read_text(), path


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """The kernels' object for each instruction set: of the build that FUSEDLSTM_BUILD names, or some that are built here."""
    built = os.environ.get("FUSEDLSTM_BUILD")
    if built is None:
        targets = ["kernels_scalar", "kernels_neon" if "neon" in ISAS else "kernels_avx2"]
        built = build(tmp_path_factory.mktemp("kernels"), *targets)
    return {
        re.search(r"kernels_(\w+)\.dir", str(path)).group(1): path
        for path in Path(built).glob("**/kernels_*.dir/**/kernels.cpp.o*")
    }


@pytest.mark.skipif(not sys.platform.startswith("linux") or not shutil.which("nm"), reason="reads ELF objects with nm")
def test_each_isa_defines_its_table_and_nothing_else(objects):
    assert len(objects) >= 2
    for isa, path in objects.items():
        lines = subprocess.run(["nm", "-C", path], capture_output=True, text=True, check=True).stdout.splitlines()
        symbols = [re.match(r"[0-9a-f ]{16} (\w) (.*)", line).groups() for line in lines]
        assert not [name for kind, name in symbols if kind in "VvWwu"], f"{path}: weak symbols"
        external = [name for kind, name in symbols if kind.isupper() and kind != "U"]
        assert external == [f"fusedlstm::{isa}_kernels"], path
        undefined = {name for kind, name in symbols if kind == "U"}
        assert undefined <= {"memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_"}, path


def imported(path):
    """Names of the modules that a Python file imports, relative ones with their dots."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from ([base] if node.module else [base + alias.name for alias in node.names])


def used(path):
    """The package's own modules that a file imports, as paths from the package on."""
    here = path.relative_to(PACKAGE).parent.parts
    for name in imported(path):
        dots = len(name) - len(name.lstrip("."))
        if dots:
            yield "/".join((*here[: len(here) - dots + 1], *name.lstrip(".").split(".")))


def only_uses(path, *allowed):
    for name in used(path):
        assert any(f"{name}/".startswith(f"{one}/") for one in allowed), (path, name)


ROOMS = {path.parent.name: path.parent for path in (PACKAGE / "formats").glob("*/__init__.py")}


def test_a_room_of_formats_uses_no_other_room():
    assert ROOMS.keys() == {"containers", "torch", "keras", "onnx", "tflite", "flax", "native", "numpy", "audio"}
    for name, room in ROOMS.items():
        for path in room.rglob("*.py"):
            if name == "containers":
                only_uses(path, "errors", "formats/containers")
            else:
                shared = (
                    "_files",
                    "errors",
                    "weights",
                    "graph",
                    "formats/containers",
                    "formats/contents",
                    "formats/pieces",
                )
                only_uses(path, *shared, f"formats/{name}")
    for path in (PACKAGE / "formats").glob("*.py"):
        beside = (f"formats/{name}" for name in ("contents", "bundles", "shards", "strangers"))
        only_uses(path, "errors", "weights", "graph", "formats/containers", *beside)
    for path in (PACKAGE / "weights").glob("*.py"):
        only_uses(path, "_renamed", "errors", "weights")


def test_only_live_objects_and_saving_pass_by_the_door():
    beside = {"formats/torch/module", "formats/keras/layer", "formats/flax/params", "formats/native/safetensors"}
    beside |= {"formats/keras/model/live", "formats/torch/whole/live"}
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] != "formats":
            inside = {name for name in used(path) if name.startswith("formats/")}
            assert inside <= (
                beside if path.name in ("_memory.py", "conv_lstm.py", "_layer.py", "model.py") else set()
            ), (
                path,
                inside,
            )


def test_a_format_is_one_function():
    from fusedlstm import formats

    for name in formats.FORMATS:
        module = importlib.import_module(f"fusedlstm.formats.{name}")
        assert list(inspect.signature(module.read).parameters) == ["source"], name
        assert module.NAME
    for name in (room for rooms in formats.NAMES for room in rooms):
        module = importlib.import_module(f"fusedlstm.formats.{name}")
        assert list(inspect.signature(module.find).parameters) == ["named"], name
    rooms = {name.partition(".")[0] for name in formats.FORMATS}
    assert rooms == ROOMS.keys() - {"containers"}


def test_tests_mirror_the_rooms():
    for name in ROOMS:
        assert list((ROOT / "tests" / "formats" / name).glob("test_*.py")), name


def test_graph_uses_weights_alone():
    for path in (PACKAGE / "graph").rglob("*.py"):
        plans = path.name in ("plan.py", "tensors.py") or path.parent.name == "lowering"
        only_uses(path, "errors", "weights", "graph", *(("_core", "_packing") if plans else ()))


def test_doors_use_the_public_api():
    """And what exchanges tensors, in _core, and checks numbers of threads, ids and arrays."""
    for name in ("torch", "keras"):
        for path in (PACKAGE / name).glob("*.py"):
            public = ("lstm", "conv_lstm", "model", "graph", "weights", "errors", "_arguments", "_core", "_swapped")
            only_uses(path, *public, name)
    for path in (PACKAGE / "ray").glob("*.py"):
        public = ("lstm", "model", "pool", "batcher", "machine", "weights", "errors", "_arguments", "_slots")
        only_uses(path, *public, "ray")


def test_parts_use_the_door_and_the_graph():
    for path in (PACKAGE / "parts").glob("*.py"):
        allowed = {"parts", "formats", "graph", "weights", "errors", "model", "lstm", "_assumed"}
        only_uses(path, *allowed)
        assert not {name for name in used(path) if name.startswith("formats/")}, path


def test_lstm_imports():
    relative = {name for name in imported(PACKAGE / "lstm.py") if name.startswith(".")}
    allowed = {"._arguments", "._assumed", "._layer", "._memory", "._packing", "._renamed", "._sizes", "._variants"}
    allowed |= {".formats", ".stream"}
    allowed |= {".weights", ".weights.checked", ".weights.precision"}
    assert {name for name in relative if not name.startswith(".formats")} <= allowed


def test_formats_import_their_library_inside_functions():
    optional = {"torch", "keras", "h5py", "onnx", "msgpack", "flax", "jax"}
    for path in (PACKAGE / "formats").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, "level", 0):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
                assert not optional & {name.split(".")[0] for name in names}, path


def test_examples_and_benchmarks_use_the_public_api():
    for folder in ("examples", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            private = [name for name in imported(path) if re.match(r"fusedlstm\..*\b_", name)]
            assert not private, (path, private)


def test_import_brings_only_what_running_needs():
    code = "import sys, fusedlstm; print(*sorted({m.split('.')[0] for m in sys.modules} | sys.modules.keys()))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {
        "asyncio",
        "click",
        "rich",
        "matplotlib",
        "torch",
        "keras",
        "h5py",
        "onnx",
        "jax",
        "msgpack",
        "ray",
        "safetensors",
        *(f"fusedlstm.{name}" for name in ("batcher", "graph", "keras", "model", "parts", "ray", "torch", "_swapped")),
    }
    assert not heavy & set(loaded)


def test_files_can_be_held_in_the_head():
    for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyx"), *CSRC.rglob("*.?pp")]:
        lines = len(path.read_text().splitlines())
        # In a .pyx, documentation and views of arrays are in one file; a kernel may be longer.
        most = 400 if path.suffix == ".pyx" or path.parent.name == "kernels" else 320
        assert lines <= most, f"{path}: {lines} lines"
