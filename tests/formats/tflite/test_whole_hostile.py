"""Whole TensorFlow Lite models that are damaged or meant to harm: FormatError alone, soon and without much memory."""

import copy

import numpy as np
import pytest
from fuzz import bytes_of, runs
from tflite_files import File, random
from tflite_loops import cell, loop


def layers():
    """A model of some other operators."""
    file, options = File(), (8, {})
    main = file.main
    x = main.input((2, 6, 4))
    turned = main.op("TRANSPOSE", [x, main.ints(1, 0, 2)], (6, 2, 4))
    part = main.op("STRIDED_SLICE", [turned, main.ints(1, 0, 0), main.ints(2, 2, 4), main.ints(1, 1, 1)], (1, 2, 4))
    rows = main.op("RESHAPE", [part, main.ints(-1, 4)], (2, 4))
    y = main.op(
        "FULLY_CONNECTED", [rows, main.constant(random(3, 4)), main.constant(random(3))], (2, 3), options=options
    )
    pads = main.constant(np.array([[0, 0], [1, 2]], np.int32))
    wide = main.op("PAD", [y, pads], (2, 6))
    parts = main.op("SPLIT", [main.constant(np.array(1, np.int32)), wide], (2, 3), (2, 3), options=(35, {0: ("i", 2)}))
    main.outputs = [main.op("CONCATENATION", parts, (2, 6), options=(10, {0: ("i", 1)})), parts[0]]
    return file


FILES = [
    loop("lstm", cell("lstm", 3, 4)),
    loop("lstm", cell("lstm", 3, 4), collect="concatenation"),
    loop("gru", cell("gru", 3, 4), last=True),
    layers(),
]
BYTES = [file.bytes() for file in FILES]


def changed(file, rng):
    """A file with some numbers of its tables set to others."""
    file = copy.deepcopy(file)
    for _ in range(int(rng.integers(1, 4))):
        graph = file.subgraphs[int(rng.integers(len(file.subgraphs)))]
        tables = [*graph.tensors, *graph.operators, {1: graph.inputs, 2: graph.outputs}, *file.buffers[1:]]
        tables += [one[4] for one in graph.operators if 4 in one]
        table = tables[int(rng.integers(len(tables)))]
        if not table:
            continue
        key = list(table)[int(rng.integers(len(table)))]
        value, other = table[key], int(rng.choice([-1, 0, 1, 2, 3, 7, 127]))
        if isinstance(value, tuple):
            table[key] = (value[0], other % 2 if value[0] == "?" else other % 128 if value[0] in "IB" else other)
        elif isinstance(value, (list, np.ndarray)) and len(value):
            at = int(rng.integers(len(value)))
            if rng.random() < 0.3:
                table[key] = np.delete(value, at) if isinstance(value, np.ndarray) else value[:at] + value[at + 1 :]
            else:
                value = table[key] = value.copy()
                value[at] = other % 256 if getattr(value, "dtype", None) == np.uint8 else other
    return file.bytes()


def mutations(count, first):
    refused = 0
    for seed in range(first, first + count):
        rng, which = np.random.default_rng(seed), seed % len(FILES)
        data = changed(FILES[which], rng) if seed % 3 else bytes_of(rng, BYTES[which])
        try:
            refused += not runs(data)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    return refused


def test_the_whole_ones_run():
    assert all(runs(data) for data in BYTES)


def test_mutations():
    assert mutations(200, 0) > 60


@pytest.mark.slow
def test_2000_mutations():
    assert mutations(2000, 1000) > 600


def _alone(kind, inputs, shape, **how):
    file = File()
    main = file.main
    x = main.input((2, 3))
    given = [x if one is None else main.constant(np.asarray(one)) for one in inputs]
    main.outputs = [main.op(kind, given, shape, **how)]
    return file


def _turns(count):
    file = loop("gru", cell("gru", 3, 4), last=True)
    condition = file.subgraphs[1]
    limit = condition.constant(np.array(count, np.int32))
    for one in condition.operators[:2]:
        one[1] = np.array([one[1][0], limit], np.int32)
    return file


def _nested(width):
    """A body that is a loop around itself, several times over."""
    file = File()
    main, condition, body = file.main, file.subgraph("condition"), file.subgraph("body")
    x = main.input((2,))
    zero = main.constant(np.array(0, np.int32))
    made = [main.tensor((), "int32"), main.tensor((2,))]
    options = (93, {0: ("i", 1), 1: ("i", 2)})
    main.put("WHILE", [zero, x], made, options)
    main.outputs = [made[1]]
    for graph in (condition, body):
        graph.inputs = [graph.tensor((), "int32"), graph.tensor((2,))]
    most = condition.constant(np.array(3, np.int32))
    condition.outputs = [condition.op("LESS", [condition.inputs[0], most], (), dtype="bool")]
    one = body.constant(np.array(1, np.int32))
    value = body.inputs[1]
    for _ in range(width):
        inner = [body.tensor((), "int32"), body.tensor((2,))]
        body.put("WHILE", [body.constant(np.array(0, np.int32)), value], inner, options)
        value = inner[1]
    value = body.op("TANH", [value], (2,))
    body.outputs = [body.op("ADD", [body.inputs[0], one], (), options=(11, {}), dtype="int32"), value]
    return file


FAR, TWO = 1 << 30, "two numbers where one is expected"


@pytest.mark.parametrize(
    "file",
    [
        _alone("FILL", [np.array([FAR, FAR], np.int32), np.float32(1)], (2, 2)),
        _alone("FILL", [np.array([-5, 2], np.int32), np.float32(1)], (2, 2)),
        _alone("TILE", [None, np.array([FAR, FAR], np.int32)], (2, 3)),
        _alone("BROADCAST_TO", [None, np.array([FAR, FAR, 2, 3], np.int32)], (2, 3)),
        _alone("PAD", [None, np.array([[FAR, FAR], [FAR, FAR]], np.int32)], (2, 3)),
        _alone("PAD", [None, np.array([[-1, 0], [0, 0]], np.int32)], (2, 3)),
        _alone("MIRROR_PAD", [None, np.array([[9, 9], [9, 9]], np.int32)], (2, 3), options=(77, {0: ("b", 0)})),
        _alone("RESHAPE", [None, np.array([FAR, -1], np.int32)], (2, 3)),
        _alone("RESHAPE", [None, np.array([-2, -3], np.int32)], (2, 3)),
        _alone("TRANSPOSE", [None, np.array([0, 0], np.int32)], (2, 3)),
        _alone("RANGE", [np.int32(0), np.int32(2**31 - 1), np.int32(1)], (2, 3)),
        _alone("RANGE", [np.int32(0), np.int32(5), np.int32(0)], (2, 3)),
        _alone("ONE_HOT", [np.zeros(4, np.int32), np.int32(2**31 - 1), np.float32(1), np.float32(0)], (2, 3)),
        _alone("STRIDED_SLICE", [None, *[np.array([0, 0], np.int32)] * 3], (2, 3)),
        _alone("FULLY_CONNECTED", [None, random(4, 5), random(4)], (2, 4), options=(8, {})),
        *(
            _alone(kind, [np.array([0, 0], np.int32) if one is TWO else one for one in inputs], (2, 3), options=options)
            for kind, inputs, options in (
                ("SPLIT", [TWO, None], (35, {0: ("i", 1)})),
                ("SPLIT_V", [None, np.array([2], np.int32), TWO], (79, {})),
                ("EXPAND_DIMS", [None, TWO], None),
                ("CUMSUM", [None, TWO], (102, {})),
                ("ARG_MAX", [None, TWO], None),
                ("UNSORTED_SEGMENT_SUM", [None, TWO, TWO], None),
                ("UNSORTED_SEGMENT_SUM", [np.zeros(0, np.float32), np.zeros(0, np.int32), np.int32(-1)], None),
            )
        ),
        _turns(2**31 - 1),
        _turns(-5),
        _nested(1),
        _nested(9),
    ],
)
def test_small_files_that_ask_for_much(file):
    assert not runs(file.bytes())
