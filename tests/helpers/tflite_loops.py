"""Loops of Keras's LSTM and GRU as TFLiteConverter writes them, and what they compute in float64."""

import numpy as np
from tflite_files import VARIANT, File


def cell(kind, features, units, seed=0):
    """Weights as Keras has them: kernel, recurrent kernel and bias."""
    rng = np.random.default_rng(seed)
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[kind]
    shapes = [(features, gates * units), (units, gates * units), (2, 3 * units) if kind == "gru" else (gates * units,)]
    return [rng.uniform(-0.5, 0.5, shape).astype(np.float32) for shape in shapes]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def run(kind, weights, x):
    """Outputs of every step (batch, time, units), in float64."""
    kernel, recurrent, bias = (one.astype(np.float64) for one in weights)
    units = len(recurrent)
    h = c = np.zeros((len(x), units))
    made = []
    for step in x.astype(np.float64).swapaxes(0, 1):
        if kind == "gru":
            xz, xr, xh = np.split(step @ kernel + bias[0], 3, 1)
            hz, hr, hh = np.split(h @ recurrent + bias[1], 3, 1)
            z = sigmoid(xz + hz)
            h = z * h + (1 - z) * np.tanh(xh + sigmoid(xr + hr) * hh)
        elif kind == "rnn":
            h = np.tanh(step @ kernel + h @ recurrent + bias)
        else:
            i, f, g, o = np.split(step @ kernel + h @ recurrent + bias, 4, 1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        made.append(h)
    return np.stack(made, 1)


def step(graph, kind, weights, x, h, c):
    """One step of plain operators; the new states."""
    kernel, recurrent, bias = weights
    size = graph.tensors[h][0].tolist()
    wide = (size[0], kernel.shape[1])

    def dense(value, matrix, added=None):
        more = -1 if added is None else graph.constant(added)
        return graph.op("FULLY_CONNECTED", [value, graph.constant(matrix.T), more], wide, options=(8, {}))

    def add(a, b, shape=size):
        return graph.op("ADD", [a, b], shape, options=(11, {}))

    def mul(a, b):
        return graph.op("MUL", [a, b], size, options=(21, {}))

    def of(name, value):
        return graph.op(name, [value], size)

    def split(value, count):
        axis = graph.constant(np.array(1, np.int32))
        return graph.op("SPLIT", [axis, value], *[size] * count, options=(35, {0: ("i", count)}))

    if kind == "gru":
        xz, xr, xh = split(dense(x, kernel, bias[0]), 3)
        hz, hr, hh = split(dense(h, recurrent, bias[1]), 3)
        z, r = of("LOGISTIC", add(xz, hz)), of("LOGISTIC", add(xr, hr))
        new = of("TANH", add(xh, mul(r, hh)))
        rest = graph.op("SUB", [graph.constant(np.float32(1)), z], size, options=(28, {}))
        return (add(mul(z, h), mul(rest, new)),)
    z = add(add(dense(x, kernel), dense(h, recurrent), wide), graph.constant(bias), wide)
    if kind == "rnn":
        return (of("TANH", z),)
    i, f, g, o = split(z, 4)
    new_c = add(mul(of("LOGISTIC", f), c), mul(of("LOGISTIC", i), of("TANH", g)))
    return mul(of("LOGISTIC", o), of("TANH", new_c)), new_c


def loop(kind, weights, *, batch=2, time=5, collect="list", last=False, carried_one=False):
    """A model of one layer: x (batch, time, features) to every step (time, batch, units), or to the last (1, ...).

    How outputs are collected: in a "list" of Flex, by "concatenation", or by "update". `carried_one` takes what the
    counters grow by through the loop.
    """
    file = File()
    main, condition, body = file.main, file.subgraph("condition"), file.subgraph("body")
    features, units = len(weights[0]), len(weights[1])
    count = 2 if kind == "lstm" else 1
    places = 1 if last else time
    held = (1, batch, units) if last else (time, batch, units)
    x = main.input((batch, time, features))
    turned = main.op("TRANSPOSE", [x, main.ints(1, 0, 2)], (time, batch, features))
    zero = main.constant(np.array(0, np.int32))
    state = main.constant(np.zeros((batch, units), np.float32))
    if collect == "list":
        store = main.tensor((), VARIANT)
        main.put("FlexTensorListReserve", [main.ints(-1, units), main.constant(np.array(places, np.int32))], [store])
    else:
        store = main.constant(np.zeros(held, np.float32))
    carried = [zero, zero, store, *[state] * count, turned]
    kinds = ["int32", "int32", VARIANT if collect == "list" else "float32", *["float32"] * (count + 1)]
    shapes = [(), (), () if collect == "list" else held, *[(batch, units)] * count, (time, batch, features)]
    if carried_one:
        carried.append(main.constant(np.array(1, np.int32)))
        kinds, shapes = [*kinds, "int32"], [*shapes, ()]
    made = [main.tensor(shape, dtype) for shape, dtype in zip(shapes, kinds)]
    main.put("WHILE", carried, made, (93, {0: ("i", 1), 1: ("i", 2)}))
    stacked = made[2]
    if collect == "list":
        stacked = main.op("FlexTensorListStack", [stacked, main.ints(-1, units)], held)
    main.outputs = [stacked, *made[3 : 3 + count]]
    for graph in (condition, body):
        graph.inputs = [graph.tensor(shape, dtype) for shape, dtype in zip(shapes, kinds)]
    most = condition.constant(np.array(time, np.int32))
    less = [condition.op("LESS", [condition.inputs[k], most], (), dtype="bool") for k in (0, 1)]
    condition.outputs = [condition.op("LOGICAL_AND", less, (), dtype="bool")]
    inputs = body.inputs
    one = inputs.pop() if carried_one else body.constant(np.array(1, np.int32))
    following = [body.op("ADD", [inputs[k], one], (), options=(11, {}), dtype="int32") for k in (0, 1)]
    now = body.op("GATHER", [inputs[-1], inputs[1]], (batch, features), options=(23, {}))
    states = step(body, kind, weights, now, inputs[3], inputs[4] if count == 2 else -1)
    place = body.constant(np.array(0, np.int32)) if last else inputs[1]
    if collect == "list":
        store = body.tensor((), VARIANT)
        body.put("FlexTensorListSetItem", [inputs[2], place, states[0]], [store])
    elif last:
        store = body.op("RESHAPE", [states[0], body.ints(1, batch, units)], held)
    else:
        store = _placed(body, inputs, following, states[0], held, collect)
    body.outputs = [*following, store, *states, inputs[-1]]
    if carried_one:
        body.inputs.append(one)
        body.outputs.append(one)
    return file


def _placed(body, inputs, following, h, held, collect):
    def list_of(name, *more):
        first = body.op("RESHAPE", [name, body.ints(1)], (1,), dtype="int32")
        rest = body.ints(*more)
        return body.op("CONCATENATION", [first, rest], (3,), options=(10, {}), dtype="int32")

    item = body.op("RESHAPE", [h, body.ints(1, *held[1:])], (1, *held[1:]))
    if collect == "update":
        return body.op("DYNAMIC_UPDATE_SLICE", [inputs[2], item, list_of(inputs[1], 0, 0)], held)
    before = body.op("SLICE", [inputs[2], body.ints(0, 0, 0), list_of(inputs[1], -1, -1)], (None, *held[1:]))
    after = body.op("SLICE", [inputs[2], list_of(following[1], 0, 0), body.ints(-1, -1, -1)], (None, *held[1:]))
    return body.op("CONCATENATION", [before, item, after], held, options=(10, {}))
