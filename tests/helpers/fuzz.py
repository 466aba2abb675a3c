"""Damaged files for the fuzz tests: changes of valid ones, and what may come of loading them."""

import copy
import io
import time
import tracemalloc
import warnings
import zipfile

from fusedlstm import ConvLSTMWeights, FormatError, LSTMWeights, formats

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
