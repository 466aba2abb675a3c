"""Damaged files for the fuzz tests: changes of valid ones, and what may come of loading them."""

import copy
import io
import math
import re
import time
import tracemalloc
import warnings
import zipfile

import numpy as np

from fusedlstm import ConvLSTMWeights, FormatError, LSTMWeights, Model, formats

NASTY = [
    None,
    True,
    -1,
    0,
    1,
    3,
    2**31,
    2**63,
    10**400,
    0.5,
    -0.0,
    1e300,
    "",
    "x",
    [],
    {},
    [[]],
    [[1.0], [1.0, 2.0]],
    {"a": 1},
]


def bytes_of(rng, data):
    """Some bits, bytes, lengths or stretches are changed, or the end is missing."""
    bad = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at, kind = int(rng.integers(len(bad) + 1)), rng.integers(6)
        if kind == 0 and at < len(bad):
            bad[at] ^= 1 << rng.integers(8)
        elif kind == 1 and at < len(bad):
            bad[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))])
        elif kind == 2:
            extreme = [0, 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1][rng.integers(6)]
            size = int(rng.choice([2, 4, 8]))
            bad[at : at + size] = (extreme % 256**size).to_bytes(size, "little")
        elif kind == 3:
            del bad[at : at + int(rng.integers(1, 20))]
        elif kind == 4:
            bad[at:at] = bad[at : at + int(rng.integers(1, 20))]
        elif rng.random() < 0.2:
            del bad[at:]
    return bytes(bad)


class Structure:
    """Where a file of any kind says what it is: around its words and numbers in plain text, and at its ends.

    Most of a model's bytes are weights, of which any value is as good as any other.
    """

    WORD = re.compile(rb"[A-Za-z_][\w.:/ -]{3,80}")
    DIGITS = re.compile(rb"(?<=[ :,\[])\d{1,6}(?=[,\]} ])")

    def __init__(self, data):
        self.data = data
        self.words = [one.span() for one in self.WORD.finditer(data) if _plain(one.group())]
        self.digits = [one.span() for one in self.DIGITS.finditer(data)]
        self.alike = {}
        for begin, end in self.words:
            self.alike.setdefault(end - begin, set()).add(data[begin:end])
        self.alike = {length: sorted(words) for length, words in self.alike.items()}

    def changed(self, rng):
        """A copy with one to three changes: a word for another of its length, another number, bytes around them."""
        data = self.data
        for _ in range(rng.integers(1, 4)):
            kind = rng.integers(6)
            if kind == 0 and self.words:
                begin, end = self.words[rng.integers(len(self.words))]
                words = self.alike[end - begin]
                data = data[:begin] + words[rng.integers(len(words))] + data[end:]
            elif kind == 1 and self.digits:
                begin, end = self.digits[rng.integers(len(self.digits))]
                number = str(rng.choice([0, 1, 2, 3, 7, 9, 10 ** (end - begin) - 1]))
                data = data[:begin] + number.zfill(end - begin).encode()[: end - begin] + data[end:]
            else:
                ends = [(0, 200), (max(0, len(data) - 2000), len(data))]
                begin, end = [*self.words, *ends][rng.integers(len(self.words) + 2)]
                begin, end = max(0, begin - 60), end + 60
                data = data[:begin] + bytes_of(rng, data[begin:end]) + data[end:]
        return data


def _plain(word):
    return sum(chr(one).isalnum() for one in word) > 0.7 * len(word)


def zip_of(rng, data):
    """The archive itself is damaged; or a member is, or is missing, twice there, renamed or compressed."""
    if rng.random() < 0.3:
        return bytes_of(rng, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    hit, kind, out = int(rng.integers(len(members))), rng.integers(10), io.BytesIO()
    name, content = members[hit]
    other = members[rng.integers(len(members))]
    members[hit : hit + 1] = {0: [], 1: [(name, content)] * 2, 2: [(other[0], content)], 3: [(name, other[1])]}.get(
        kind, [(name, bytes_of(rng, content))]
    )
    warnings.filterwarnings("ignore", "Duplicate name")
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if kind == 4 else zipfile.ZIP_STORED) as archive:
        for member in members:
            archive.writestr(*member)
    return out.getvalue()


def tree_of(rng, tree):
    """A few values of a JSON tree are replaced, removed or repeated."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.integers(1, 3)):
        place = tree
        while True:
            if not place:
                break
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = keys[rng.integers(len(keys))]
            if isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.8:
                place = place[key]
                continue
            kind = rng.integers(4)
            if kind == 0:
                del place[key]
            elif kind == 1 and isinstance(place, list):
                place.insert(key, copy.deepcopy(place[key]))
            else:
                place[key] = copy.deepcopy(NASTY[rng.integers(len(NASTY))])
            break
    return tree


def load_whole(path):
    """Load all that a file holds; whether nothing was refused."""
    try:
        contents = formats.open(path)
        found = [read for kind in (LSTMWeights, ConvLSTMWeights) for read in contents.listed(kind).values()]
    except FormatError:
        return False
    good = bool(found)
    for read in found:
        try:
            read()
        except FormatError:
            good = False
    return good


def survives(path, files, seconds=5.0, megabytes=32):
    """Whatever a file holds, all its LSTMs load or give FormatError, soon and without much memory.

    Returns how many files were refused, so that a test can tell that its damage does any.
    """
    refused = 0
    tracemalloc.start()
    try:
        for number, data in enumerate(files):
            path.write_bytes(data)
            tracemalloc.reset_peak()
            before, begin = tracemalloc.get_traced_memory()[0], time.process_time()
            try:
                refused += not load_whole(path)
            except Exception as error:
                raise AssertionError(f"file {number} (kept in {path})") from error
            assert time.process_time() - begin < seconds, f"file {number} (kept in {path})"
            assert tracemalloc.get_traced_memory()[1] - before < megabytes << 20, f"file {number} (kept in {path})"
    finally:
        tracemalloc.stop()
    return refused


def runs(data, seconds=5.0, megabytes=64):
    """Whether a whole model loads and runs; whatever the file is, it is refused in time and without much memory."""
    begin = time.process_time()
    tracemalloc.start()
    try:
        model = Model.load(data)
    except FormatError:
        model = None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < megabytes << 20, f"{peak >> 20} MB"
    good = model is not None
    if good:
        inputs = [np.zeros([size or 1 for size in one.shape], one.dtype) for one in model.inputs.values()]
        outputs = [math.prod(size or 1 for size in one.shape) for one in model.outputs.values()]
        if sum(one.size for one in inputs) + sum(outputs) < 1 << 20:  # a model may be large, if it says so
            try:
                model(*inputs)
            except ValueError:
                good = False
    taken = time.process_time() - begin
    assert taken < seconds, f"{taken:.1f} s"
    return good
