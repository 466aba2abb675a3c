"""Coverage-guided fuzzing of one container's reader: python tests/fuzz_readers.py hdf5 --runs 100000.

It starts from small good files, keeps what reaches new code, and stops at the first input of which anything else comes than
weights or FormatError, or that takes more than its share of time or memory. That input is kept in the working directory;
made small (--minimise FILE) and fixed, it goes to tests/data/fuzz, where test_found.py tries it for ever.
"""

import argparse
import gc
import resource
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from types import FunctionType

HERE = Path(__file__).parent
SECONDS, FREE, TIMES = 2.0, 64 << 20, 50
MAX_LENGTH = 1 << 14

sys.path[:0] = [str(HERE / "helpers"), str(HERE)]
try:
    import atheris
except ImportError:
    sys.exit("fuzzing needs atheris (Linux, CPython 3.11 to 3.13): pip install -r requirements-dev.txt")

# ruff: noqa: E402
from fuzz_targets import CONTAINERS, ask_everything

from fusedlstm import formats

WATCHED = ("fusedlstm.formats", "fusedlstm.weights", "fusedlstm.graph.graph", "fusedlstm.graph.draft")


def instrument():
    """Count what is reached in the readers; the door imports most of them when a file needs them."""
    for room in (*formats.FORMATS, *(one for rooms in formats.NAMES for one in rooms), "onnx.whole", "torch.mapping"):
        import_module(f"fusedlstm.formats.{room}")
    for one in gc.get_objects():
        if isinstance(one, FunctionType) and (one.__module__ or "").startswith(WATCHED):
            atheris.instrument_func(one)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("container", choices=CONTAINERS)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--input", type=Path, help="Try this one alone.")
    parser.add_argument("--minimise", type=Path, help="Make this one smaller, in some tries.")
    options = parser.parse_args()
    seeds, wrapped = CONTAINERS[options.container]
    instrument()

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

    def one(data):
        data = wrapped(data)
        before, begin = peak(), time.process_time()
        ask_everything(data)
        seconds, memory = time.process_time() - begin, peak() - before
        if seconds > SECONDS or memory > FREE + TIMES * len(data):
            raise AssertionError(f"{len(data)} bytes took {seconds:.1f} s and {memory >> 20} MB")

    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(seeds()):
            one(data)
            (Path(corpus) / str(number)).write_bytes(data)
        flags = [f"-runs={options.runs}", f"-seed={options.seed}", f"-max_len={MAX_LENGTH}", "-timeout=30"]
        flags += [
            "-rss_limit_mb=4096",
            f"-artifact_prefix={options.container}-",
            "-print_final_stats=1",
            "-verbosity=1",
        ]
        places = [corpus]
        if options.input:
            flags, places = ["-verbosity=0"], [str(options.input)]
        if options.minimise:
            flags, places = ["-minimize_crash=1", "-runs=20000"], [str(options.minimise)]
        atheris.Setup([sys.argv[0], *flags, *places], one)
        atheris.Fuzz()  # does not come back


if __name__ == "__main__":
    main()
