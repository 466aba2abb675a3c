"""Whole TensorFlow Lite models: names, loops, fused operators, variables, quantised weights, what is refused."""

import numpy as np
import pytest
from tflite_files import RESOURCE, File, agrees, close, random
from tflite_loops import cell, loop, run

import fusedlstm as fl


def dense(w, **how):
    """A model of one dense layer (batch, features)."""
    file = File()
    x = file.main.input((None, w.shape[1]), name="x")
    file.main.outputs = [_dense(file.main, x, w, **how)]
    return file


def _dense(main, x, w, name="y", **how):
    kind = (8, {})
    return main.op("FULLY_CONNECTED", [x, main.constant(w, **how), -1], (None, len(w)), options=kind, names=[name])


def test_names_and_sizes_are_those_of_the_file():
    w = random(3, 4)
    model = fl.Model.load(dense(w).bytes())
    assert repr(model) == "Model(x: float32[?, 4] -> y: float32[?, 3])"
    for batch in (1, 5):
        x = random(batch, 4, seed=batch)
        close(model.run({"x": x})["y"], x @ w.T)


def test_outputs_cut_the_model():
    w, file = random(3, 4), File()
    x = file.main.input((2, 4), name="x")
    z = _dense(file.main, x, w, "z")
    file.main.outputs = [file.main.op("HASHTABLE_FIND", [z], (2, 3), names=["found"])]
    with pytest.raises(fl.FormatError, match="HASHTABLE_FIND node 'found': this operator is not supported; .*outputs="):
        fl.Model.load(file.bytes())
    close(fl.Model.load(file.bytes(), outputs=["z"])(random(2, 4)), random(2, 4) @ w.T)
    with pytest.raises(fl.FormatError, match=r"outputs: expected names of tensors \(x, z, found\), found 'nothing'"):
        fl.Model.load(file.bytes(), outputs=["nothing"])


@pytest.mark.parametrize("collect", ["list", "concatenation", "update"])
@pytest.mark.parametrize("last", [False, True])
def test_loops_of_an_lstm(collect, last):
    weights, x = cell("lstm", 3, 4), random(2, 5, 3)
    file = loop("lstm", weights, collect=collect, last=last)
    y = run("lstm", weights, x)
    model = fl.Model.load(file.bytes())
    assert [one.op for one in model.simplified.nodes if one.op in ("Loop", "fusedlstm.LSTM")] == ["fusedlstm.LSTM"]
    made, h, _ = model(x)
    close(made, y[:, -1:].swapaxes(0, 1) if last else y.swapaxes(0, 1))
    close(h, y[:, -1])
    if collect != "list":  # LiteRT brings no Flex
        agrees(file, [x], *model(x))


def test_a_loop_that_carries_what_it_counts_by():
    weights, x = cell("lstm", 3, 4), random(2, 5, 3)
    file = loop("lstm", weights, collect="update", carried_one=True)
    model = fl.Model.load(file.bytes())
    assert [one.op for one in model.simplified.nodes if one.op in ("Loop", "fusedlstm.LSTM")] == ["fusedlstm.LSTM"]
    close(model(x)[0], run("lstm", weights, x).swapaxes(0, 1))
    agrees(file, [x], *model(x))


@pytest.mark.parametrize("kind", ["gru", "rnn"])
@pytest.mark.parametrize("collect", ["list", "concatenation"])
@pytest.mark.parametrize("last", [False, True])
def test_loops_of_other_cells(kind, collect, last):
    weights, x = cell(kind, 3, 4), random(2, 5, 3)
    model = fl.Model.load(loop(kind, weights, collect=collect, last=last).bytes())
    made, h = model(x)
    assert [one.op for one in model.simplified.nodes if one.op in ("Loop", "GRU", "RNN")] == [kind.upper()]
    y = run(kind, weights, x)
    close(made, y[:, -1:].swapaxes(0, 1) if last else y.swapaxes(0, 1))
    close(h, y[:, -1])


def test_a_loop_of_one_step():
    weights, x = cell("lstm", 3, 4), random(1, 1, 3)
    made, _, _ = fl.Model.load(loop("lstm", weights, batch=1, time=1).bytes())(x)
    close(made, run("lstm", weights, x).swapaxes(0, 1))


def _changed(change):
    file = loop("lstm", cell("lstm", 3, 4), collect="concatenation")
    change(file)
    return file.bytes()


def _other_limit(file):
    main, condition = file.main, file.subgraphs[1]
    condition.inputs[1], condition.inputs[0] = condition.inputs[0], condition.inputs[1]
    main.operators[-1][1][1] = main.constant(np.array(2, np.int32))


def _other_condition(file):
    file.codes[file.codes.index("LESS")] = "EQUAL"


def _short_list(file):
    main = file.main
    main.operators[-1][1][2] = main.constant(np.zeros((7, 2, 4), np.float32))


def _custom(file):
    file.codes[file.codes.index("TANH")] = "MyTanh"


def _too_many(file):
    file.subgraphs[2].outputs.pop()


def _itself(file):
    file.main.operators[-1][4][1] = ("i", 9)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_other_condition, "expected a loop that counts up to a number, found EQUAL"),
        (_short_list, "expected a place for each of 5 turns, found 7"),
        (_custom, "in its body: MyTanh node .*: custom operators are not supported"),
        (_too_many, "expected subgraphs for 6 tensors"),
        (_itself, "expected one of 3 subgraphs, found 9"),
        (_other_limit, "expected elements at the places of the turns, found other places|counts from"),
    ],
)
def test_loops_that_are_refused(change, match):
    with pytest.raises(fl.FormatError, match=rf"WHILE node .*{match}"):
        fl.Model.load(_changed(change))


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize(("number", "f"), [(0, lambda x: x), (1, lambda x: np.maximum(x, 0)), (4, np.tanh)])
def test_fused_rnn(time_major, number, f):
    w, r, b = random(4, 3), 0.3 * random(4, 4, seed=2), random(4, seed=3)
    x, file = random(2, 5, 3, seed=4), File()
    main, h, made = file.main, np.zeros((2, 4)), []
    given = main.input((5, 2, 3) if time_major else (2, 5, 3))
    state = main.tensor((2, 4), variable=True)
    options = (31, {0: ("?", time_major), 1: ("b", number)})
    shape = (5, 2, 4) if time_major else (2, 5, 4)
    inputs = [given, main.constant(w), main.constant(r), main.constant(b), state]
    main.outputs = [main.op("UNIDIRECTIONAL_SEQUENCE_RNN", inputs, shape, options=options)]
    for step in x.swapaxes(0, 1):
        h = f(step @ w.T + h @ r.T + b)
        made.append(h)
    y = np.stack(made, 0 if time_major else 1)
    agrees(file, [x.swapaxes(0, 1).copy() if time_major else x], y)


@pytest.mark.parametrize("merge", [False, True])
def test_fused_rnn_of_two_directions(merge):
    w, r, b = random(2, 4, 3), 0.3 * random(2, 4, 4, seed=2), random(2, 4, seed=3)
    x, file = random(2, 5, 3, seed=4), File()
    main, made = file.main, []
    inputs = [main.input((2, 5, 3))]
    for d in (0, 1):
        inputs += [main.constant(one[d]) for one in (w, r, b)]
        inputs.append(main.tensor((2, 4), variable=True))
        h, ys = np.zeros((2, 4)), []
        for step in x.swapaxes(0, 1)[:: -1 if d else 1]:
            h = np.tanh(step @ w[d].T + h @ r[d].T + b[d])
            ys.append(h)
        made.append(np.stack(ys[:: -1 if d else 1], 1))
    inputs += [-1, -1, -1]
    options = (70, {1: ("b", 4), 2: ("?", merge)})
    shapes = [(2, 5, 8)] if merge else [(2, 5, 4)] * 2
    found = main.op("BIDIRECTIONAL_SEQUENCE_RNN", inputs, *shapes, options=options)
    main.outputs = [found] if merge else found
    agrees(file, [x], *([np.concatenate(made, 2)] if merge else made))


def variable(first, assigns=True):
    """A model that adds x to a variable, and gives the sum; its first value is set when the model is loaded."""
    file = File()
    main, start = file.main, file.subgraph("start")
    options = (111, {0: "", 1: "total"})
    x = main.input((2,), name="x")
    main.put("CALL_ONCE", [], [], (103, {0: ("i", 1)}))
    handle, inside = main.tensor((), RESOURCE), start.tensor((), RESOURCE)
    main.put("VAR_HANDLE", [], [handle], options)
    total = main.op("ADD", [main.op("READ_VARIABLE", [handle], (2,)), x], (2,), options=(11, {}), names=["sum"])
    if assigns:
        main.put("ASSIGN_VARIABLE", [handle, total], [])
    main.outputs = [total]
    start.put("VAR_HANDLE", [], [inside], options)
    if first is not None:
        start.put("ASSIGN_VARIABLE", [inside, start.constant(first)], [])
    return file


def test_variables_that_change_are_states():
    model = fl.Model.load(variable(np.zeros(2, np.float32)).bytes())
    assert list(model.inputs) == ["x", "total.in"]
    assert list(model.outputs) == ["sum", "total.out"]
    stream = model.stream()
    for k in range(1, 4):
        close(stream.step(np.ones(2, np.float32)), np.full(2, k, np.float32))


def test_variables_that_stay_are_constants():
    agrees(variable(np.float32([3, 4]), assigns=False), [np.ones(2, np.float32)], np.float32([4, 5]))


@pytest.mark.parametrize(
    ("first", "assigns", "match"),
    [
        (None, False, "variable 'total': expected its value in the file, found none"),
        (None, True, "variable 'total': expected zeros before the model runs, found no value"),
        (np.float32([1, 0]), True, "variable 'total': expected zeros before the model runs, found other numbers"),
    ],
)
def test_variables_that_are_refused(first, assigns, match):
    with pytest.raises(fl.FormatError, match=f"READ_VARIABLE node .*{match}"):
        fl.Model.load(variable(first, assigns).bytes())


def test_weights_of_8_bits_are_dequantised():
    scales = np.float32([0.01, 0.02, 0.03])
    w = np.random.default_rng(0).integers(-127, 128, (3, 4)).astype(np.int8)
    x = random(2, 4)
    for how, wide in (({"scale": 0.01}, w * np.float32(0.01)), ({"scale": scales, "axis": 0}, w * scales[:, None])):
        close(fl.Model.load(dense(w, **how).bytes())(x), x @ wide.T)
    with pytest.raises(fl.FormatError, match="expected int8 with zero points of 0, which is all that operators honour"):
        fl.Model.load(dense(w, scale=0.01, zero=3).bytes())


@pytest.mark.parametrize("how", ["float16", "uint8"])
def test_weights_behind_dequantize(how):
    file, x, w = File(), random(2, 4), random(3, 4)
    main = file.main
    given = main.input((2, 4))
    if how == "float16":
        stored, wide = main.constant(w.astype(np.float16)), w.astype(np.float16).astype(np.float32)
    else:
        whole = np.random.default_rng(0).integers(0, 256, (3, 4)).astype(np.uint8)
        stored, wide = main.constant(whole, scale=0.02, zero=120), (whole.astype(np.float32) - 120) * np.float32(0.02)
    floats = main.op("DEQUANTIZE", [stored], (3, 4))
    main.outputs = [main.op("FULLY_CONNECTED", [given, floats, -1], (2, 3), options=(8, {}))]
    agrees(file, [x], x @ wide.T)


def rows(scale, zero=0):
    """An embedding as the converter writes it for dynamic range: rows in 8 bits, then floats."""
    file = File()
    table = np.random.default_rng(0).integers(-127, 128, (9, 4)).astype(np.int8)
    ids = file.main.input((2, 3), "int32")
    picked = file.main.tensor((2, 3, 4), "int8", scale=scale, zero=zero, name="q")
    file.main.put("GATHER", [file.main.constant(table, scale=0.01), ids], [picked], options=(23, {}))
    file.main.outputs = [file.main.op("DEQUANTIZE", [picked], (2, 3, 4))]
    return file, table


def test_rows_of_8_bits_are_dequantised():
    file, table = rows(0.01)
    ids = np.int32([[0, 8, 3], [1, 1, 7]])
    agrees(file, [ids], table[ids] * np.float32(0.01))
    for other in ((0.02, 0), (0.01, 3)):
        with pytest.raises(fl.FormatError, match="DEQUANTIZE node .*tensor 'q': expected floats, found INT8 with a"):
            fl.Model.load(rows(*other)[0].bytes())


def test_models_in_integers_are_refused():
    file = File()
    main = file.main
    x = main.input((2, 4))
    made = main.tensor((2, 4), "int8", scale=0.1, name="q")
    main.put("QUANTIZE", [x], [made])
    main.outputs = [main.op("DEQUANTIZE", [made], (2, 4))]
    with pytest.raises(fl.FormatError, match="QUANTIZE node 'q': models that compute in integers are not supported"):
        fl.Model.load(file.bytes())
    file = File()
    made = file.main.tensor((2, 4), "int8", scale=0.1, name="q")
    file.main.inputs = [made]
    file.main.outputs = [file.main.op("RELU", [made], (2, 4), dtype="int8")]
    with pytest.raises(fl.FormatError, match="RELU node .*tensor 'q': expected floats, found INT8 with a scale"):
        fl.Model.load(file.bytes())


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("FlexErf", "FlexErf node .*TensorFlow's operator Erf is not supported"),
        ("Mine", "Mine node .*custom operators are not supported"),
        ("SVDF", "SVDF node .*expected 4 to 24 inputs, found 1"),
    ],
)
def test_other_operators_are_refused(kind, match):
    file = File()
    file.main.outputs = [file.main.op(kind, [file.main.input((2, 4))], (2, 4))]
    with pytest.raises(fl.FormatError, match=match):
        fl.Model.load(file.bytes())


@pytest.mark.parametrize("ends", ["inputs", "outputs"])
def test_ends_must_exist(ends):
    file = dense(random(3, 4))
    getattr(file.main, ends).append(99)
    with pytest.raises(fl.FormatError, match="expected ends among 3 tensors, found 99"):
        fl.Model.load(file.bytes())
