"""Each operator of TensorFlow Lite alone, with its options, against NumPy; LiteRT agrees where it is installed."""

import re
from pathlib import Path

import numpy as np
import pytest
from tflite_files import LITERT, File, agrees, litert, random

import fusedlstm as fl
from fusedlstm.formats.tflite.whole.registry import OPERATORS
from fusedlstm.formats.tflite.whole.schema import _NAMES


def one(kind, inputs, shape, *, options=None, dtype="float32", more=()):
    """A file of one operator. Arrays are inputs; what is in a tuple is a constant."""
    file = File()
    main = file.main
    indices, given = [], []
    for x in inputs:
        if x is None:
            indices.append(-1)
        elif isinstance(x, tuple):
            indices.append(main.constant(np.asarray(x[0])))
        else:
            indices.append(main.input(x.shape, x.dtype))
            given.append(x)
    found = main.op(kind, indices, shape, *more, options=options, dtype=dtype)
    main.outputs = found if isinstance(found, list) else [found]
    return file, given


def check(kind, inputs, expected, *, options=None, litert=True):
    several = [np.asarray(x) for x in (expected if isinstance(expected, list) else [expected])]
    several = [x.astype(np.float32) if x.dtype == np.float64 else x for x in several]
    first = several[0]
    more = [np.shape(x) for x in several[1:]]
    file, given = one(kind, inputs, first.shape, options=options, dtype=first.dtype, more=more)
    agrees(file, given, *several, check=litert)


def ints(*values):
    return (np.array(values, np.int32),)


X, Y = random(2, 3, 4), random(2, 3, 4, seed=2)
POSITIVE = np.abs(X) + 0.1
WHOLE = np.array([[5, -7, 3], [-4, 9, 2]], np.int32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


@pytest.mark.parametrize(
    ("kind", "x", "f"),
    [
        ("ABS", X, np.abs),
        ("CEIL", X, np.ceil),
        ("COS", X, np.cos),
        ("ELU", X, lambda x: np.where(x > 0, x, np.expm1(x))),
        ("EXP", X, np.exp),
        ("FLOOR", X, np.floor),
        ("LOG", POSITIVE, np.log),
        ("LOGISTIC", X, sigmoid),
        ("NEG", X, np.negative),
        ("RELU", X, lambda x: np.maximum(x, 0)),
        ("RELU6", 5 * X, lambda x: np.clip(x, 0, 6)),
        ("RELU_N1_TO_1", X, lambda x: np.clip(x, -1, 1)),
        ("RELU_0_TO_1", X, lambda x: np.clip(x, 0, 1)),
        ("ROUND", 3 * X, np.round),
        ("SIN", X, np.sin),
        ("SQRT", POSITIVE, np.sqrt),
        ("RSQRT", POSITIVE, lambda x: 1 / np.sqrt(x)),
        ("SQUARE", X, np.square),
        ("SIGN", X, np.sign),
        ("TANH", X, np.tanh),
        ("HARD_SWISH", 3 * X, lambda x: x * np.clip(x + 3, 0, 6) / 6),
        ("ZEROS_LIKE", X, np.zeros_like),
        ("LOG_SOFTMAX", X, lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True))),
    ],
)
def test_of_one(kind, x, f):
    check(kind, [x], np.asarray(f(x), np.float32))


@pytest.mark.parametrize(
    ("kind", "f", "dtype"),
    [
        *[(name, f, "float32") for name, f in (("MAXIMUM", np.maximum), ("MINIMUM", np.minimum))],
        ("SQUARED_DIFFERENCE", lambda x, y: (x - y) ** 2, "float32"),
        ("FLOOR_DIV", lambda x, y: np.floor(x / y), "float32"),
        ("FLOOR_MOD", np.mod, "float32"),
        ("EQUAL", np.equal, "bool"),
        ("NOT_EQUAL", np.not_equal, "bool"),
        ("LESS", np.less, "bool"),
        ("LESS_EQUAL", np.less_equal, "bool"),
        ("GREATER", np.greater, "bool"),
        ("GREATER_EQUAL", np.greater_equal, "bool"),
    ],
)
def test_of_two(kind, f, dtype):
    check(kind, [X, Y], f(X, Y).astype(dtype))
    check(kind, [X, (Y[0, 0],)], f(X, Y[0, 0]).astype(dtype))


@pytest.mark.parametrize(
    ("kind", "options", "f"),
    [("ADD", 11, np.add), ("SUB", 28, np.subtract), ("MUL", 21, np.multiply), ("DIV", 29, np.divide)],
)
@pytest.mark.parametrize(
    ("number", "after"),
    [
        (0, lambda x: x),
        (1, lambda x: np.maximum(x, 0)),
        (2, lambda x: np.clip(x, -1, 1)),
        (3, lambda x: np.clip(x, 0, 6)),
    ],
)
def test_arithmetic(kind, options, f, number, after):
    check(kind, [X, Y[:, :1]], after(f(X, Y[:, :1])), options=(options, {0: ("b", number)}))


def test_whole_numbers():
    two = np.array([2, 2, -3], np.int32)
    check("FLOOR_DIV", [WHOLE, (two,)], WHOLE // two)
    check("FLOOR_MOD", [WHOLE, (two,)], WHOLE % two)
    check("ADD", [WHOLE, (two,)], WHOLE + two, options=(11, {}))
    check("MAXIMUM", [WHOLE, (two,)], np.maximum(WHOLE, two))


def test_logic():
    x, y = X > 0, Y > 0
    check("LOGICAL_AND", [x, y], x & y)
    check("LOGICAL_OR", [x, y], x | y)
    check("LOGICAL_NOT", [x], ~x)
    check("REDUCE_ANY", [x, ints(2)], x.any(2), options=(27, {}))
    check("REDUCE_ALL", [x, ints(0, 2)], x.all((0, 2), keepdims=True), options=(27, {0: ("?", True)}))


def test_choices():
    check("SELECT", [X > 0, X, Y], np.where(X > 0, X, Y))
    check("SELECT_V2", [X[:, :, :1] > 0, X, Y], np.where(X[:, :, :1] > 0, X, Y))
    rows = np.array([True, False])
    check("SELECT", [rows, X, Y], np.where(rows[:, None, None], X, Y))
    check("LEAKY_RELU", [X], np.where(X > 0, X, np.float32(0.2) * X), options=(75, {0: ("f", 0.2)}))
    check("PRELU", [X, (np.float32([0.1, 0.2, 0.3, 0.4]),)], np.where(X > 0, X, np.float32([0.1, 0.2, 0.3, 0.4]) * X))
    check("ADD_N", [X, Y, X], 2 * X + Y)
    check("POW", [POSITIVE, Y], POSITIVE**Y)


def test_casts():
    check("CAST", [3 * X], (3 * X).astype(np.int32))
    check("CAST", [WHOLE], WHOLE.astype(np.float32))
    check("CAST", [WHOLE], WHOLE != 0)
    check("CAST", [X > 0], (X > 0).astype(np.float32))


def test_gelu_and_cumsum():
    tanh = 0.5 * X * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3)))
    check("GELU", [X], tanh, options=(116, {0: ("?", True)}))
    check("CUMSUM", [X, ints(1)], np.cumsum(X, 1), options=(102, {}))
    back = np.cumsum(X[:, ::-1], 1)[:, ::-1]
    check("CUMSUM", [X, ints(-2)], back, options=(102, {1: ("?", True)}))


@pytest.mark.parametrize(
    ("kind", "f"),
    [("MEAN", np.mean), ("SUM", np.sum), ("REDUCE_MAX", np.max), ("REDUCE_MIN", np.min), ("REDUCE_PROD", np.prod)],
)
@pytest.mark.parametrize(("axes", "keeps"), [((1,), False), ((-1,), True), ((0, 2), False), ((0, 1, 2), True)])
def test_reductions(kind, f, axes, keeps):
    check(kind, [X, ints(*axes)], f(X, axes, keepdims=keeps), options=(27, {0: ("?", keeps)}))


def test_places():
    check("ARG_MAX", [X, ints(1)], X.argmax(1).astype(np.int32), options=(40, {0: ("b", 2)}))
    check("ARG_MIN", [X, ints(-1)], X.argmin(-1).astype(np.int64), options=(57, {0: ("b", 4)}))


def test_softmax():
    e = np.exp(0.5 * X)
    check("SOFTMAX", [X], e / e.sum(-1, keepdims=True), options=(9, {0: ("f", 0.5)}))
    check("L2_NORMALIZATION", [X[0]], X[0] / np.sqrt((X[0] ** 2).sum(-1, keepdims=True)), options=(12, {}))


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_fully_connected(keeps, biased):
    w, b = random(5, 4, seed=3), random(5, seed=4)
    y = np.maximum(X @ w.T + (b if biased else 0), 0)
    bias = (b,) if biased else None
    check(
        "FULLY_CONNECTED", [X, (w,), bias], y if keeps else y.reshape(6, 5), options=(8, {0: ("b", 1), 2: ("?", keeps)})
    )


def test_fully_connected_flattens():
    w = random(5, 12, seed=3)
    check("FULLY_CONNECTED", [X, (w,), None], X.reshape(2, 12) @ w.T, options=(8, {}))


def test_fully_connected_refuses():
    file, _ = one("FULLY_CONNECTED", [X, (random(5, 4),), None], (6, 5), options=(8, {1: ("b", 1)}))
    with pytest.raises(fl.FormatError, match="FULLY_CONNECTED node .*weights format: expected the plain one, found"):
        fl.Model.load(file.bytes())


@pytest.mark.parametrize("adjoints", [(False, False), (True, False), (False, True), (True, True)])
def test_batch_matmul(adjoints):
    x, y = random(2, 3, 4), random(2, 4, 5, seed=2)
    given = [one_.swapaxes(1, 2).copy() if turned else one_ for one_, turned in zip((x, y), adjoints)]
    check("BATCH_MATMUL", given, x @ y, options=(101, {k: ("?", turned) for k, turned in enumerate(adjoints)}))


def windows(x, kernel, stride, dilation, same):
    """(batch, height, width, channels) to (batch, height', width', kh, kw, channels), zeros outside."""
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    size = [-(-n // s) if same else (n - r) // s + 1 for n, s, r in zip(x.shape[1:3], stride, reach)]
    pads = [max((m - 1) * s + r - n, 0) if same else 0 for m, s, r, n in zip(size, stride, reach, x.shape[1:3])]
    x = np.pad(x, [(0, 0), *((p // 2, p - p // 2) for p in pads), (0, 0)])
    made = np.zeros((len(x), *size, *kernel, x.shape[3]))
    for i, j in np.ndindex(*size):
        rows = i * stride[0] + np.arange(kernel[0]) * dilation[0]
        columns = j * stride[1] + np.arange(kernel[1]) * dilation[1]
        made[:, i, j] = x[:, rows][:, :, columns]
    return made


def window_options(kind, same, stride, dilation=(1, 1), more=()):
    padding, (h, w) = ("b", 0 if same else 1), stride
    if kind == "CONV_2D":
        fields = {0: padding, 1: ("i", w), 2: ("i", h), 4: ("i", dilation[1]), 5: ("i", dilation[0])}
        return (1, fields | dict(more))
    return (2, {0: padding, 1: ("i", w), 2: ("i", h), 3: ("i", 2), 5: ("i", dilation[1]), 6: ("i", dilation[0])})


WINDOWS = [
    (True, (1, 1), (1, 1)),
    (True, (2, 1), (1, 1)),
    (False, (1, 2), (1, 1)),
    (False, (1, 1), (1, 2)),
    (True, (1, 1), (2, 1)),
]


@pytest.mark.parametrize(("same", "stride", "dilation"), WINDOWS)
def test_conv(same, stride, dilation):
    x, w, b = random(2, 7, 6, 3), random(4, 3, 2, 3, seed=2), random(4, seed=3)
    y = np.einsum("nijhwc,ohwc->nijo", windows(x, (3, 2), stride, dilation, same), w) + b
    options = window_options("CONV_2D", same, stride, dilation, {3: ("b", 1)}.items())
    check("CONV_2D", [x, (w,), (b,)], np.maximum(y, 0), options=options)


@pytest.mark.parametrize("open_", [False, True])
def test_grouped_conv(open_):
    """Groups follow from the channels, of inputs whose shape is computed as well."""
    x, w = random(2, 7, 6, 4), random(6, 3, 2, 2, seed=2)
    file = File()
    main = file.main
    before = main.input(x.shape)
    if open_:
        before = main.op("RESHAPE", [before, main.input((4,), "int32")], x.shape)
    parts = [windows(x[..., 2 * k : 2 * k + 2], (3, 2), (1, 1), (1, 1), True) for k in range(2)]
    y = [np.einsum("nijhwc,ohwc->nijo", part, w[3 * k : 3 * k + 3]) for k, part in enumerate(parts)]
    options, bias = window_options("CONV_2D", True, (1, 1)), main.constant(np.zeros(6, np.float32))
    main.outputs = [main.op("CONV_2D", [before, main.constant(w), bias], (2, 7, 6, 6), options=options)]
    given = [x, np.array(x.shape, np.int32)] if open_ else [x]
    agrees(file, given, np.concatenate(y, -1), check=not open_)


@pytest.mark.parametrize(("same", "stride", "dilation"), [one_ for one_ in WINDOWS if one_[1][0] == one_[1][1]])
def test_depthwise(same, stride, dilation):
    x, w, b = random(2, 7, 6, 3), random(1, 3, 2, 6, seed=2), random(6, seed=3)
    found = windows(x, (3, 2), stride, dilation, same)
    y = np.einsum("nijhwc,hwcm->nijcm", found, w.reshape(3, 2, 3, 2)).reshape(*found.shape[:3], 6) + b
    check("DEPTHWISE_CONV_2D", [x, (w,), (b,)], y, options=window_options("DEPTHWISE", same, stride, dilation))


@pytest.mark.parametrize(
    ("same", "stride", "size"),
    [(True, (2, 2), (8, 6)), (True, (2, 1), (7, 3)), (False, (2, 2), (9, 7)), (False, (3, 2), (12, 7))],
)
def test_transpose_conv(same, stride, size):
    x, w = random(2, 4, 3, 3), random(5, 3, 3, 3, seed=2)
    whole = np.zeros((2, *((n - 1) * s + 3 for n, s in zip(x.shape[1:3], stride)), 5))
    for i, j in np.ndindex(4, 3):
        rows, columns = slice(i * stride[0], i * stride[0] + 3), slice(j * stride[1], j * stride[1] + 3)
        whole[:, rows, columns] += np.einsum("nc,ohwc->nhwo", x[:, i, j], w)
    start = [max(n - m, 0) // 2 if same else 0 for n, m in zip(whole.shape[1:3], size)]
    y = np.zeros((2, *size, 5))
    part = whole[:, start[0] : start[0] + size[0], start[1] : start[1] + size[1]]
    y[:, : part.shape[1], : part.shape[2]] = part
    options = (49, {0: ("b", 0 if same else 1), 1: ("i", stride[1]), 2: ("i", stride[0])})
    check("TRANSPOSE_CONV", [ints(2, *size, 5), (w,), x], y, options=options)


@pytest.mark.parametrize(("same", "stride"), [(True, (1, 1)), (True, (2, 2)), (False, (2, 1))])
def test_pooling(same, stride):
    x = random(2, 7, 6, 3)
    options = (5, {0: ("b", 0 if same else 1), 1: ("i", stride[1]), 2: ("i", stride[0]), 3: ("i", 2), 4: ("i", 3)})
    counted = windows(np.ones_like(x), (3, 2), stride, (1, 1), same).sum((3, 4))
    check("AVERAGE_POOL_2D", [x], windows(x, (3, 2), stride, (1, 1), same).sum((3, 4)) / counted, options=options)
    least = windows(x + 100, (3, 2), stride, (1, 1), same).max((3, 4)) - 100
    check("MAX_POOL_2D", [x], np.float32(least), options=options)


def test_blocks():
    x = random(2, 4, 6, 8)
    y = x.reshape(2, 4, 6, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(2, 8, 12, 2)
    check("DEPTH_TO_SPACE", [x], y, options=(94, {0: ("i", 2)}))
    check("SPACE_TO_DEPTH", [y], x, options=(19, {0: ("i", 2)}))
    padded = np.pad(x, [(0, 0), (1, 1), (0, 3), (0, 0)])
    y = padded.reshape(2, 3, 2, 3, 3, 8).transpose(2, 4, 0, 1, 3, 5).reshape(12, 3, 3, 8)
    check("SPACE_TO_BATCH_ND", [x, ints(2, 3), (np.array([[1, 1], [0, 3]], np.int32),)], y)
    check("BATCH_TO_SPACE_ND", [y, ints(2, 3), (np.array([[1, 1], [0, 3]], np.int32),)], x)


def test_blocks_of_computed_paddings():
    """What is put around a dilated convolution over a free length."""
    x, pads = random(1, 5, 2), np.array([[1, 2]], np.int32)
    y = np.pad(x, [(0, 0), (1, 2), (0, 0)]).reshape(4, 2, 2).swapaxes(0, 1)
    flat, around = random(4), np.pad(random(4), [(1, 2)])
    for kind, given, wanted in (("SPACE_TO_BATCH_ND", x, y), ("BATCH_TO_SPACE_ND", y, x), ("PAD", flat, around)):
        file = File()
        main = file.main
        given_index = main.input(given.shape)
        half = main.input((1, 2), "int32")
        twice = main.op("ADD", [half, half], (1, 2), options=(11, {}), dtype="int32")
        computed = main.op("SUB", [twice, half], (1, 2), options=(28, {}), dtype="int32")
        main.outputs = [
            main.op(kind, [given_index, *([] if kind == "PAD" else [main.ints(2)]), computed], wanted.shape)
        ]
        agrees(file, [given, pads], wanted)


def test_segments():
    x, places, count = X[0, 0], ints(0, 2, 0, 2), (np.array(3, np.int32),)
    check("UNSORTED_SEGMENT_PROD", [x, places, count], np.array([x[0] * x[2], 1, x[1] * x[3]], np.float32))
    check("UNSORTED_SEGMENT_SUM", [x, places, count], np.array([x[0] + x[2], 0, x[1] + x[3]], np.float32))


def test_moves():
    check("RESHAPE", [X, ints(-1, 6)], X.reshape(4, 6))
    check("RESHAPE", [X], X.reshape(6, 4), options=(17, {0: np.array([6, 4], np.int32)}))
    check("TRANSPOSE", [X, ints(2, 0, 1)], X.transpose(2, 0, 1))
    check("CONCATENATION", [X, Y], np.concatenate([X, Y], -1), options=(10, {0: ("i", -1)}))
    check("PACK", [X, Y], np.stack([X, Y], -1), options=(59, {0: ("i", 2), 1: ("i", -1)}))
    check("UNPACK", [X], [X[:, k] for k in range(3)], options=(64, {0: ("i", 3), 1: ("i", 1)}))
    check("SPLIT", [(np.array(-1, np.int32),), X], [X[..., :2], X[..., 2:]], options=(35, {0: ("i", 2)}))
    check("SPLIT_V", [X, ints(1, -1), (np.array(2, np.int32),)], [X[..., :1], X[..., 1:]], options=(79, {0: ("i", 2)}))
    parts = [X[:, :1], X[:, 1:2], X[:, 2:]]
    for open_axis in (False, True):
        file = File()
        x = file.main.input((2, None if open_axis else 3, 4))
        axis = file.main.constant(np.array(1, np.int32))
        file.main.outputs = file.main.op(
            "SPLIT_V", [x, file.main.ints(1, -1, 1), axis], *[one.shape for one in parts], options=(79, {0: ("i", 3)})
        )
        agrees(file, [X], *parts)
    check("EXPAND_DIMS", [X, (np.array(-1, np.int32),)], X[..., None])
    check("SQUEEZE", [X[:1]], X[0], options=(30, {0: np.array([0], np.int32)}))
    check("SQUEEZE", [X[:1, :, :1]], X[0, :, 0], options=(30, {}))
    check("REVERSE_V2", [X, ints(1)], X[:, ::-1])
    check("TILE", [X, ints(2, 1, 3)], np.tile(X, (2, 1, 3)))
    y = X.copy()
    y[0, 1:3, 2:] = Y[0, :2, :2]
    check("DYNAMIC_UPDATE_SLICE", [X, Y[:1, :2, :2], ints(-1, 1, 9)], y)
    lengths = np.array([2, 3], np.int32)
    y = X.copy()
    y[0, :2] = X[0, 1::-1]
    y[1] = X[1, ::-1]
    check("REVERSE_SEQUENCE", [X, (lengths,)], y, options=(87, {0: ("i", 1), 1: ("i", 0)}))


def test_padding():
    pads = np.array([[0, 0], [1, 2], [2, 1]], np.int32)
    check("PAD", [X, (pads,)], np.pad(X, pads))
    check("PADV2", [X, (pads,), (np.float32(1.5),)], np.pad(X, pads, constant_values=1.5))
    check("MIRROR_PAD", [X, (pads,)], np.pad(X, pads, "reflect"), options=(77, {0: ("b", 0)}))
    check("MIRROR_PAD", [X, (pads,)], np.pad(X, pads, "symmetric"), options=(77, {0: ("b", 1)}))


@pytest.mark.parametrize("corners, centres", [(False, False), (False, True), (True, False)])
@pytest.mark.parametrize("size", [(10, 6), (3, 2), (7, 1), (5, 4)])
def test_frames_of_another_size(size, corners, centres):
    """As TensorFlow's gen_image_ops documents; LiteRT's own numbers are what is compared as well."""
    frames = random(2, 5, 4, 3)

    def places(new, old):
        at = np.arange(new) + (0.5 if centres else 0)
        return at * ((old - 1) / (new - 1) if corners and new > 1 else old / new)

    rows, columns = (places(new, old) for new, old in zip(size, (5, 4)))
    nearest = [
        np.clip(np.floor(at + 0.5) if corners else np.floor(at), 0, old - 1).astype(int)
        for at, old in ((rows, 5), (columns, 4))
    ]
    given = [frames, ints(*size)]
    wanted = frames[:, nearest[0]][:, :, nearest[1]]
    check("RESIZE_NEAREST_NEIGHBOR", given, wanted, options=(74, {0: ("b", corners), 1: ("b", centres)}))

    def blend(x, at, old, axis):
        at = np.clip(at - (0.5 if centres else 0), 0, old - 1)
        low = np.floor(at).astype(int)
        part = (at - low).reshape([-1 if k == axis else 1 for k in range(4)])
        return x.take(low, axis) * (1 - part) + x.take(np.minimum(low + 1, old - 1), axis) * part

    wanted = blend(blend(frames.astype(float), rows, 5, 1), columns, 4, 2)
    check("RESIZE_BILINEAR", given, wanted, options=(15, {2: ("b", corners), 3: ("b", centres)}))


def test_shapes():
    check("SHAPE", [X], np.array(X.shape, np.int32), options=(55, {0: ("b", 2)}))
    check("RANK", [X], np.array(3, np.int32))
    check("FILL", [ints(2, 3), (np.float32(2.5),)], np.full((2, 3), 2.5, np.float32))
    check("BROADCAST_TO", [X[:, :1], ints(2, 3, 4)], np.broadcast_to(X[:, :1], (2, 3, 4)))


def test_rows():
    where = np.array([[2, 0], [1, 1]], np.int32)
    check("GATHER", [X, where], X[:, where], options=(23, {0: ("i", 1)}))
    by_row = np.stack([X[k, where[k]] for k in range(2)])
    check("GATHER", [X, where], by_row, options=(23, {0: ("i", 1), 1: ("i", 1)}))
    places = np.array([[1, 2], [0, 1]], np.int32)
    check("GATHER_ND", [X, places], X[places[:, 0], places[:, 1]])
    table = random(9, 4)
    tokens = np.array([3, 8, 0], np.int32)
    check("EMBEDDING_LOOKUP", [tokens, (table,)], table[tokens])


@pytest.mark.parametrize("kind", ["GATHER", "EMBEDDING_LOOKUP"])
def test_rows_are_counted_from_the_front(kind):
    """LiteRT refuses what NumPy counts from the back."""
    table, tokens = random(9, 4), np.array([3, -1], np.int32)
    both = [(table,), tokens] if kind == "GATHER" else [tokens, (table,)]
    options = (23, {}) if kind == "GATHER" else None
    file, _ = one(kind, both, (2, 4), options=options)
    model = fl.Model.load(file.bytes())
    np.testing.assert_array_equal(model(np.abs(tokens)), table[[3, 1]])
    with pytest.raises(ValueError, match="out of range"):
        model(tokens)
    if LITERT:
        with pytest.raises(RuntimeError):
            litert(file.bytes(), [tokens])
    file, _ = one(
        kind, [(value,) if isinstance(value, np.ndarray) else value for value in both], (2, 4), options=options
    )
    with pytest.raises(fl.FormatError, match="expected indices from 0, found -1"):
        fl.Model.load(file.bytes())()
    hot = np.where(np.arange(4) == tokens[:, None] % 4, np.float32(2), np.float32(-1))
    given = [tokens % 4, (np.array(4, np.int32),), (np.float32(2),), (np.float32(-1),)]
    check("ONE_HOT", given, hot, options=(61, {0: ("i", -1)}))


def test_slices():
    check("SLICE", [X, ints(0, 1, 2), ints(-1, 2, 1)], X[:, 1:3, 2:3])
    begin = np.array([0, 1, 0], np.int32)
    file, _ = one("SLICE", [X, begin, ints(2, 2, 3)], (2, 2, 3))
    agrees(file, [X, begin], X[:, 1:3, :3])


@pytest.mark.parametrize(
    ("begin", "end", "steps", "masks", "expected"),
    [
        ((0, 1, 0), (2, 3, 4), (1, 1, 2), {}, X[0:2, 1:3, 0:4:2]),
        ((0, -1, 0), (0, 0, 0), (1, 1, 1), {0: 5, 1: 5, 4: 2}, X[:, -1]),
        ((0, 1, 0), (0, 0, 0), (1, 1, 1), {0: 5, 1: 7}, X[:, 1:]),
        ((3, 0, 0), (0, 0, 0), (-1, 1, 1), {0: 7, 1: 7}, X[::-1]),
        ((0, 2), (0, 3), (1, 1), {2: 1}, X[..., 2:3]),
        ((1, 0, 2), (2, 0, 3), (1, 1, 1), {2: 2, 4: 5}, X[1, ..., 2]),
        ((0, 0, 1), (0, 0, 2), (1, 1, 1), {0: 1, 1: 1, 3: 2}, X[:, None, 1:2]),
        ((1,), (2,), (1,), {4: 1}, X[1]),
        ((0, 2, 0), (2, 0, 4), (1, -1, 3), {}, X[:, 2:0:-1, 0:4:3]),
        ((-9, 0, 0), (9, 2, -1), (1, 1, 1), {}, X[:, :2, :-1]),
    ],
)
def test_strided_slices(begin, end, steps, masks, expected):
    options = (32, {field: ("i", value) for field, value in masks.items()})
    check("STRIDED_SLICE", [X, ints(*begin), ints(*end), ints(*steps)], np.ascontiguousarray(expected), options=options)


def test_every_operator_is_in_the_docs():
    text = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
    section = text[text.index("## TensorFlow Lite") : text.index("## How")]
    named = set(re.findall(r"\b(?:[A-Z][A-Z0-9_]{2,}|Flex\w+|IF)\b", section))
    assert OPERATORS.keys() <= named
    assert {one for one in named if one in _NAMES} - OPERATORS.keys() == {"IF"}


@pytest.mark.skipif(not LITERT, reason="needs the schema")
def test_names_are_those_of_the_schema():
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    known = {value: name for name, value in vars(BuiltinOperator).items() if isinstance(value, int)}
    assert list(_NAMES) == [known[number] for number in range(len(_NAMES))]
