"""Small HDF5 files for the tests, and what loading them must give."""

import pathlib
import struct
import time
import tracemalloc

import numpy as np
import pytest
from reference import lstm as oracle
from run import run

import fusedlstm as fl
from fusedlstm import formats

DATA = pathlib.Path(__file__).parents[1] / "data"
RNG = np.random.default_rng(5)
KERNEL, RECURRENT, BIAS = (RNG.normal(size=size).astype(np.float32) for size in ((3, 8), (2, 8), (8,)))
WEIGHTS = fl.LSTMWeights([[fl.DirectionWeights(KERNEL.T, RECURRENT.T, BIAS)]])
X = RNG.normal(size=(2, 5, 3)).astype(np.float32)


def check(path, scale=1.0, prefix=None, weights=None):
    """Loads, and computes what the oracle computes with KERNEL, RECURRENT and BIAS times a scale."""
    if weights is None:
        weights = fl.LSTMWeights([[fl.DirectionWeights(KERNEL.T * scale, RECURRENT.T * scale, BIAS * scale)]])
    found = formats.open(path).load(fl.LSTMWeights, prefix)
    y, _ = run(found, X if found.batch_first else X.swapaxes(0, 1))
    np.testing.assert_allclose(y if found.batch_first else y.swapaxes(0, 1), oracle(weights, X)[0], rtol=0, atol=1e-5)
    return found


def put(file, group, scale=1.0, names=("0", "1", "2")):
    for name, value in zip(names, (KERNEL, RECURRENT, BIAS), strict=True):
        file[f"{group}/{name}"] = value * scale


def refused(path, match, seconds=5.0, megabytes=8):
    """Loading gives FormatError with this message, soon and without much memory."""
    tracemalloc.start()
    begin = time.perf_counter()
    try:
        with pytest.raises(fl.FormatError, match=match):
            fl.LSTM.load(path)
        assert time.perf_counter() - begin < seconds
        assert tracemalloc.get_traced_memory()[1] < megabytes << 20
    finally:
        tracemalloc.stop()


def many_layers(layers):
    """Groups of one small LSTM each, which share their bytes; with link messages, the shortest form."""
    out = bytearray(96)

    def put(content):
        out.extend(b"\0" * (-len(out) % 8))
        out.extend(content)
        return len(out) - len(content)

    def header(*messages):
        body = b"".join(messages)
        return put(struct.pack("<BxHII4x", 1, len(messages), 1, len(body)) + body)

    def message(kind, body):
        body += b"\0" * (-len(body) % 8)
        return struct.pack("<HHB3x", kind, len(body), 0) + body

    number = struct.pack("<BBBBIHHBBBBI", 0x11, 0x20, 31, 0, 4, 0, 32, 23, 8, 0, 23, 127)
    data = put(bytes(64))

    def dataset(*shape):
        space = struct.pack(f"<BBBB4x{len(shape)}Q", 1, len(shape), 0, 0, *shape)
        place = struct.pack("<BBQQ", 3, 1, data, 4 * int(np.prod(shape)))
        return header(message(1, space), message(3, number), message(8, place))

    def group(members):
        links = [
            message(6, struct.pack("<BBB", 1, 0, len(name)) + name.encode() + struct.pack("<Q", at))
            for name, at in members.items()
        ]
        return header(message(2, struct.pack("<BBQQ", 0, 0, 2**64 - 1, 2**64 - 1)), *links)

    root = group(
        {
            f"{k:x}": group({"vars": group({"0": dataset(1, 4), "1": dataset(1, 4), "2": dataset(4)})})
            for k in range(layers)
        }
    )
    start = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + struct.pack("<HHI", 4, 16, 0)
    out[:96] = (start + struct.pack("<QQQQQQII16x", 0, 2**64 - 1, len(out), 2**64 - 1, 0, root, 0, 0))[:96]
    return bytes(out)
