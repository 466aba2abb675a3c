"""Models along time whose sizes are computed, whose steps become one, and whose branches begin at different steps."""

import numpy as np
import pytest
from along import same_bits
from graphs import Builder, random
from test_along import FAR, L, bct, gru_node, layer, lstm_node

import fusedlstm as fl

f4 = np.float32


def size_of(b, x, axis):
    """A size as a vector of one."""
    return b("Gather", b("Shape", x), np.array([axis]))


def sized(b, *sizes):
    return b("Concat", *(one if isinstance(one, str) else np.array([one]) for one in sizes), axis=0)


def computed(b, op, one, other):
    return b(op, *(x if isinstance(x, str) else np.array([x]) for x in (one, other)))


def conv(b, x, size=3, channels=4, **options):
    return b("Conv", x, random(4, channels, size), **options)


def steps_of(b, x="x"):
    return size_of(b, x, 1)


# x is (2, time, 4), named "x".
SIZES = {
    "rows times steps": lambda b: b(
        "Reshape",
        b("MatMul", b("Reshape", "x", sized(b, b("Mul", size_of(b, "x", 0), steps_of(b)), 4)), random(4, 3)),
        sized(b, size_of(b, "x", 0), steps_of(b), 3),
    ),
    "steps times rows": lambda b: b(
        "Reshape", b("Relu", b("Reshape", "x", sized(b, computed(b, "Mul", steps_of(b), 2), 2, 2))), [2, -1, 4]
    ),
    "a constant first": lambda b: b(
        "Reshape", conv(b, bct(b, "x")), sized(b, 2, 2, 2, computed(b, "Add", -2, steps_of(b)))
    ),
    "half as many, as torch.export writes it": lambda b: b(
        "Reshape",
        "x",
        sized(
            b, 2, computed(b, "Div", b("Sub", steps_of(b), computed(b, "Mod", steps_of(b), 2)), 2), 8
        ),
    ),
    "as many as there were": lambda b: b(
        "Slice", conv(b, bct(b, "x"), pads=(2, 2)), [0], steps_of(b), [2]
    ),
    "the last of a residual": lambda b: b(
        "Add",
        conv(b, bct(b, "x")),
        b("Slice", bct(b, "x"), b("Neg", size_of(b, conv(b, bct(b, "x")), 2)), [FAR], [2]),
    ),
    "from k, as many as there were": lambda b: b(
        "Slice", b("Pad", "x", [0, 3, 0, 0, 0, 0]), [1], computed(b, "Add", 1, steps_of(b)), [1]
    ),
    "its own length less some": lambda b: b(
        "Slice", y := b("ConvTranspose", bct(b, "x"), random(4, 4, 4)), [0], computed(b, "Sub", size_of(b, y, 2), 3), [2]
    ),
    "every second until computed": lambda b: b(
        "Slice", y := conv(b, bct(b, "x"), pads=(2, 2)), [1], computed(b, "Sub", size_of(b, y, 2), 2), [2], [2]
    ),
    "cut at both ends by sizes": lambda b: b(
        "Slice", y := conv(b, bct(b, "x"), pads=(3, 3)), b("Neg", computed(b, "Sub", size_of(b, y, 2), 1)), steps_of(b), [2]
    ),
    "steps and features at once": lambda b: b("Slice", "x", [1, 2], [3, FAR], [2, 1]),
    "every second of both": lambda b: b("Slice", "x", [0, 1], [FAR, -1], [2, 1], [2, 2]),
    "all steps and some features": lambda b: b("Slice", "x", [1, 0], [3, FAR], [2, 1]),
}  # fmt: skip


def model_of(make, shape=(2, None, 4)):
    build = Builder(x=shape)
    return fl.Model(build.graph(make(build)))


@pytest.mark.parametrize("name", SIZES)
def test_sizes_that_are_computed(name):
    same_bits(model_of(SIZES[name]), random(2, 40, 4), time=1)


def test_a_fixed_number_of_steps_stays_refused():
    for ends in (([0], [5]), ([-5], [FAR])):
        with pytest.raises(ValueError, match="Slice node.*where the sequence ends"):
            model_of(lambda b, ends=ends: b("Slice", "x", *ends, [1])).stream(2)
    with pytest.raises(
        ValueError, match="Slice node.*(the steps along one axis|the sequence ends)"
    ):  # the last three, or fewer
        model_of(lambda b: b("Slice", "x", computed(b, "Sub", steps_of(b), 3), [FAR], [1])).stream(2)
    with pytest.raises(ValueError, match="Slice node.*counted from the end"):  # of two steps this is one, not none
        model_of(lambda b: b("Slice", "x", [0], computed(b, "Sub", steps_of(b), 3), [1])).stream(2)
    model, x = model_of(lambda b: b("Slice", "x", computed(b, "Sub", steps_of(b), 1), [FAR], [1])), random(2, 9, 4)
    stream = model.stream(2, every_step=True)
    assert np.concatenate([stream.step(x[:, at]) for at in range(9)], 1).tobytes() == x.tobytes()


# x is (2, time, 4), of which some become one.
STACKED = {
    "pairs": (2, lambda b: b("Reshape", "x", [2, -1, 8])),
    "pairs behind a layer": (2, lambda b: b("Reshape", gru_node(b, "x", layout=1)[0], [2, -1, 10])),
    "pairs, then a layer": (2, lambda b: lstm_node(b, b("Reshape", "x", [2, -1, 8]), features=8, layout=1)[0]),
    "three become two": (3, lambda b: b("Reshape", "x", [2, -1, 6])),
    "frames of samples": (
        4, lambda b: gru_node(b, b("Reshape", b("ReduceMean", "x", [2]), [2, -1, 4]), layout=1)[0]
    ),
    "an axis of their own": (3, lambda b: b("ReduceMax", b("Reshape", "x", [2, -1, 3, 4]), [2], keepdims=0)),
    "pieces of channels": (2, lambda b: b("Transpose", b("Reshape", bct(b, "x"), [2, 4, -1, 2]), perm=(0, 2, 3, 1))),
    "and back": (2, lambda b: b("Reshape", b("Reshape", "x", [2, -1, 8]), [2, -1, 4])),
    "after a window": (3, lambda b: b("Reshape", bct(b, conv(b, bct(b, "x"))), [2, -1, 12])),
    "after strides": (2, lambda b: b("Reshape", bct(b, conv(b, bct(b, "x"), strides=(3,))), [2, -1, 8])),
    "beside a stride": (
        2,
        lambda b: b(
            "Concat", b("Reshape", "x", [2, -1, 8]), bct(b, conv(b, bct(b, "x"), size=2, strides=(2,))), axis=2
        ),
    ),
    "three of four of two": (3, lambda b: b("Reshape", b("Reshape", "x", [2, -1, 2]), [2, -1, 3, 2])),
    "repeated steps": (2, lambda b: b("Reshape", b("Reshape", "x", [2, -1, 1]), [2, -1, 8])),
}  # fmt: skip


@pytest.mark.parametrize("name", STACKED)
def test_steps_that_become_one(name):
    several, make = STACKED[name]
    model, x = model_of(make), random(2, 50, 4)
    lost = 2 if "window" in name else 0
    if "strides" in name:
        several, lost = 6, 0
    whole = (50 - lost) // several * several + lost
    stream = same_bits(model, np.ascontiguousarray(x[:, :whole]), time=1)
    for count in range(whole + 1, 51):  # and of more steps nothing before they are full
        stream.process(x[:, count - 1 : count])
    stream.reset()
    found = stream.process(x)
    assert found.tobytes() == model(x[:, :whole]).tobytes()


def test_steps_of_keras_that_become_one():
    for front in ((), (L.GRU(3, return_sequences=True),)):
        model = layer(*front, L.Reshape((-1, 6)), L.LSTM(4, return_sequences=True), L.Dense(2))
        x = random(3, 30, 3)
        same_bits(model, x)
        pool = fl.StreamPool(model)
        ids = [pool.open() for _ in x]
        made = [pool.step(ids, x[:, at]) for at in range(30)]
        whole = model(x)
        for at, rows in enumerate(made):
            for row, wanted in zip(rows, whole):
                assert (row is None) == (at % 2 == 0)
                assert row is None or row.tobytes() == wanted[at // 2].tobytes()


def test_steps_that_do_not_become_one_are_refused():
    with pytest.raises(ValueError, match="Reshape node.*one step of 3, where 2 come at once"):
        layer(L.UpSampling1D(2), L.Reshape((-1, 9))).stream(2)
    with pytest.raises(ValueError, match="Reshape node.*put behind"):
        model_of(lambda b: b("Reshape", b("Pad", "x", [0, 0, 0, 0, 1, 0]), [2, -1, 8])).stream(2)
    for shape in ([-1, 2, 8], [4, -1, 2], [2, -1, 4, 3, 1]):
        with pytest.raises(ValueError, match="Reshape node|stream"):
            model_of(lambda b, shape=shape: b("Relu", b("Reshape", bct(b, "x"), shape))).stream(2)


BEHIND = {
    "a layer": lambda x: L.LSTM(3, return_sequences=True)(x),
    "a layer of another kind": lambda x: L.GRU(3, return_sequences=True)(L.Dense(4)(x)),
    "the last step": lambda x: L.GlobalAveragePooling1D()(x),
}


@pytest.mark.parametrize("name", BEHIND)
def test_what_is_padded_before_a_layer_is_named(name):
    model = layer(L.Conv1D(3, 3, padding="same", name="padded"), BEHIND[name])
    with pytest.raises(ValueError, match=r"'padded\S*' comes before it: it is padded behind.*\"causal\" in Keras"):
        model.stream(2, every_step=True)
    strided = layer(L.Conv1D(3, 3, padding="same", name="padded"), L.Conv1D(3, 2, strides=2))
    with pytest.raises(ValueError, match="put behind by .*'padded"):
        strided.stream(2)


EINSUMS = {
    "a product of each step": ("btf,btf->bt", lambda b: b("Tanh", "x")),
    "an outer one": ("btf,btg->tbfg", lambda b: b("Slice", "x", [1], [FAR], [2])),
    "beside a delay": ("bft,bgt->bfgt", None),
    "with a matrix": ("btf,fg->btg", lambda b: b.const(random(4, 3))),
}


@pytest.mark.parametrize("name", EINSUMS)
def test_sums_over_features_of_steps(name):
    equation, other = EINSUMS[name]
    if other is None:
        model = model_of(
            lambda b: b("Einsum", conv(b, bct(b, "x")), b("Slice", bct(b, "x"), [2], [FAR], [2]), equation=equation)
        )
    else:
        model = model_of(lambda b: b("Einsum", "x", other(b), equation=equation))
    same_bits(model, random(2, 30, 4), time=1)


@pytest.mark.parametrize("equation", ["btf,bsf->bts", "btf,btf->bf", "btf,gtf->btg"])
def test_einsums_that_need_the_whole(equation):
    other = (lambda b: b.const(random(2, 7, 4))) if "g" in equation else (lambda b: b("Tanh", "x"))
    with pytest.raises(ValueError, match="Einsum node.*need the whole sequence"):
        model_of(lambda b: b("Einsum", "x", other(b), equation=equation)).stream(2)


def shifted(b, x="x", count=1):
    return b("Concat", np.ones((2, count, 4), f4), b("Slice", x, [0], [-count], [1]), axis=1)


# Whose first steps are there when others are not.
LATER = {
    "padded behind a window": lambda b: b(
        "Add", b("Pad", conv(b, bct(b, "x")), [0, 0, 2, 0, 0, 0]), bct(b, "x")
    ),
    "delayed and padded": lambda b: b(
        "Concat", b("Pad", b("ConvTranspose", bct(b, "x"), random(4, 4, 2), pads=(1, 1)), [0, 0, 1, 0, 0, 0]), bct(b, "x"), axis=1
    ),
    "of three": lambda b: b(
        "Sum",
        b("Pad", conv(b, bct(b, "x"), size=5), [0, 0, 4, 0, 0, 0]),
        conv(b, bct(b, "x"), pads=(2, 0)),
        b("Pad", conv(b, bct(b, "x"), size=3), [0, 0, 2, 0, 0, 0]),
    ),
    "more than were lost": lambda b: b(
        "Concat", b("Pad", conv(b, bct(b, "x"), size=5), [0, 0, 6, 0, 0, 0]), b("Pad", bct(b, "x"), [0, 0, 2, 0, 0, 0]), axis=1
    ),
    "fewer than were lost": lambda b: b(
        "Add", b("Pad", conv(b, bct(b, "x"), size=5), [0, 0, 2, 0, 0, 0]), b("Slice", bct(b, "x"), [2], [FAR], [2])
    ),
    "with strides": lambda b: b(
        "Add", b("Pad", conv(b, bct(b, "x"), size=5, strides=(2,)), [0, 0, 2, 0, 0, 0]), conv(b, bct(b, "x"), size=1, strides=(2,))
    ),
    "padded and cut in one": lambda b: b("Sub", b("Pad", "x", [0, 1, 0, 0, -1, 0]), "x"),
    "cut and padded in one": lambda b: b("Add", b("Pad", "x", [0, -2, 0, 0, 2, 0]), "x"),
    "edge and cut in one": lambda b: b("Add", b("Pad", "x", [0, 2, 0, 0, -2, 0], mode="edge"), "x"),
    "shifted by zeros": lambda b: b("Sub", b("Pad", b("Slice", "x", [0], [-1], [1]), [0, 1, 0, 0, 0, 0], f4(3)), "x"),
    "shifted by a start": lambda b: b("Sub", shifted(b), "x"),
    "shifted by two": lambda b: b("Sub", shifted(b, count=2), "x"),
    "shifted, then a layer": lambda b: lstm_node(b, shifted(b), layout=1)[0],
    "shifted, then a window": lambda b: conv(b, bct(b, shifted(b)), pads=(2, 0)),
    "shifted twice": lambda b: b("Mul", shifted(b, shifted(b)), "x"),
    "rows and steps in one": lambda b: b(
        "Reshape", b("Add", b("Reshape", shifted(b), [-1, 4]), b("Reshape", "x", [-1, 4])), [2, -1, 4]
    ),
}  # fmt: skip


def padded(b, *pads, mode="edge"):
    """A convolution of (2, 1, time, 4) behind a Pad, which a pass makes one of them; pads: time and features."""
    first, second, third, fourth = pads
    x = b("Pad", b("Unsqueeze", "x", [1]), [0, 0, first, second, 0, 0, third, fourth], mode=mode)
    return b("Conv", x, random(3, 1, 3, 2), random(3))


@pytest.mark.parametrize("pads", [(2, 0, 0, 0), (2, 1, 0, 1), (3, 0, 0, 2), (0, 1, 0, 1), (5, 0, 0, 0)])
def test_the_edge_in_front_of_a_convolution(pads):
    model = model_of(lambda b: padded(b, *pads))
    assert [one.op for one in model.simplified.nodes if one.op == "Pad"] == []
    same_bits(model, random(2, 25, 4), time=1)
    line = model_of(lambda b: b("Conv", b("Pad", bct(b, "x"), [0, 0, 2, 0, 0, 0], mode="edge"), random(5, 4, 3)))
    same_bits(line, random(2, 25, 4), time=1)


@pytest.mark.parametrize("mode, pads", [("edge", (0, 0, 1, 0)), ("reflect", (2, 0, 0, 0)), ("edge", (1, 0, 1, 0))])
def test_edges_that_are_not_there_yet(mode, pads):
    with pytest.raises(ValueError, match=f"Pad node.*padded with {mode} steps"):
        model_of(lambda b: padded(b, *pads, mode=mode)).stream(2)


@pytest.mark.parametrize("name", LATER)
def test_branches_that_begin_later(name):
    if name == "cut and padded in one":
        with pytest.raises(ValueError, match="padded behind|equally many"):
            model_of(LATER[name]).stream(2)
        return
    stream = same_bits(model_of(LATER[name]), random(2, 30, 4), time=1)
    same_bits(model_of(LATER[name]), random(2, 30, 4), time=1, seed=1, largest=3)
    assert not stream._along.flow(stream._walk.outputs[0]).tail


@pytest.mark.parametrize("name", [name for name in LATER if "shifted" in name and "two" not in name])
def test_a_shift_gives_a_step_for_the_first_one(name):
    model, x = model_of(LATER[name]), random(2, 5, 4)
    stream = model.stream(2)
    for n in range(1, 6):
        made = stream.step(x[:, n - 1])
        wanted = model(x[:, :n])
        axis = stream._along.axis(stream._walk.outputs[0])
        assert made.tobytes() == wanted.take(n - 1, axis).tobytes()


def covariate(b, like="x", wanted=None):
    """The input c (2, 3) for each step of x."""
    wanted = wanted or sized(b, 2, size_of(b, like, 1), 3)
    return b("Expand", b("Unsqueeze", "c", [1]), wanted)


def first_state(b):
    h = b("Unsqueeze", b("Tanh", b("Add", b("MatMul", "c", random(3, 5)), random(5))), [0])
    weights = [random(1, 15, 4), random(1, 15, 5), random(1, 30)]
    return b("GRU", b("Transpose", "x", perm=(1, 0, 2)), *weights, "", h, hidden_size=5, outputs=2)[0]


FIXED = {
    "beside the features": lambda b: b("Concat", "x", covariate(b), axis=2),
    "of a window's length": lambda b: b(
        "Concat", y := bct(b, conv(b, bct(b, "x"))), covariate(b, y), b("Slice", "x", [2], [FAR], [1]), axis=2
    ),
    "of what comes faster": lambda b: b(
        "Concat", y := b("Reshape", "x", [2, -1, 2]), covariate(b, y), axis=2
    ),
    "repeated by Tile": lambda b: b(
        "Concat", b("Tile", b("Unsqueeze", "c", [1]), sized(b, 1, steps_of(b), 1)), "x", axis=2
    ),
    "numbers of its own": lambda b: b(
        "Concat", b("ConstantOfShape", sized(b, 2, steps_of(b), 1), value=np.ones(1, f4)), b("Mul", "x", b("Unsqueeze", b("Slice", "c", [0], [1], [1]), [1])), axis=2
    ),
    "then a layer": lambda b: lstm_node(b, b("Concat", "x", covariate(b), axis=2), features=7, layout=1)[0],
    "beside a delay": lambda b: conv(b, bct(b, b("Concat", "x", covariate(b), axis=2)), channels=7),
}  # fmt: skip


@pytest.mark.parametrize("name", FIXED)
def test_what_is_fixed_comes_with_each_step(name):
    build, c, x = Builder(x=(2, None, 4), c=(2, 3)), random(2, 3), random(2, 30, 4)
    model = fl.Model(build.graph(FIXED[name](build)))
    whole, stream = model(x, c), model.stream(2, fixed={"c": c}, time=1)
    for cuts in ([1, 2, 3, 4, 11, 12, 25], [9], []):
        stream.reset()
        axis = stream._along.axis(stream._walk.outputs[0])
        parts = [stream.process(part) for part in np.split(x, cuts, 1)]
        assert np.concatenate(parts, axis).tobytes() == whole.tobytes()


def test_a_first_state_that_follows_from_what_is_fixed():
    build, c, x = Builder(x=(2, None, 4), c=(2, 3)), random(2, 3), random(2, 30, 4)
    model = fl.Model(build.graph(first_state(build)))
    stream = model.stream(2, fixed={"c": c}, time=1)
    found = np.concatenate([stream.process(part) for part in np.split(x, [1, 4, 5, 20], 1)], 0)
    np.testing.assert_allclose(found, model(x, c), rtol=0, atol=1e-6)
    stream.reset()
    assert np.concatenate([stream.process(x[:, :13]), stream.process(x[:, 13:])], 0).tobytes() == found.tobytes()
    assert stream.copy().step(x[:, 0]).tobytes() == stream.step(x[:, 0]).tobytes()


@pytest.mark.parametrize("mode", ["linear", "cubic", "nearest"])
def test_features_that_are_resized(mode):
    build = Builder(x=(2, 3, None, 4))
    y = build("Resize", "x", "", np.array([1, 1, 1, 2], f4), mode=mode)
    z = build("ConvTranspose", y, random(3, 2, 1, 3), strides=(1, 2), output_padding=(0, 1))
    same_bits(fl.Model(build.graph(z)), random(2, 3, 20, 4), axes=(2,), time=2)


POOLED = {
    "pairs": lambda b: lstm_node(b, b("Reshape", "x", [0, -1, 8]), features=8, layout=1)[0],
    "padded behind a window": LATER["padded behind a window"],
    "shifted by zeros": LATER["shifted by zeros"],
    "padded and cut in one": LATER["padded and cut in one"],
    "as many as there were": SIZES["as many as there were"],
    "the last of a residual": SIZES["the last of a residual"],
    "the edge": lambda b: b("Conv", b("Pad", bct(b, "x"), [0, 0, 2, 0, 0, 0], mode="edge"), random(5, 4, 3)),
    "steps and features at once": SIZES["steps and features at once"],
}  # fmt: skip


@pytest.mark.parametrize("name", POOLED)
def test_pools_of_streams_that_began_at_other_times(name):
    model, x = model_of(POOLED[name], (None, None, 4)), random(4, 24, 4)
    pool, rng, at = fl.StreamPool(model), np.random.default_rng(0), [0] * 4
    ids, made = [pool.open() for _ in x], [[] for _ in x]
    while min(at) < 24:
        which = [k for k in range(4) if at[k] < 24 and rng.random() < 0.6]
        chunks = {ids[k]: x[k, at[k] : at[k] + int(rng.integers(1, 4))] for k in which}
        for k, row in zip(which, pool.process(chunks).values() if chunks else ()):
            made[k].append(row)
            at[k] += len(chunks[ids[k]])
    stream = model.stream()
    axis = stream._along.axis(stream._walk.outputs[0]) - 1
    for row, parts in zip(x, made):
        assert np.concatenate(parts, axis).tobytes() == model(row[None]).tobytes()


@pytest.mark.parametrize(
    "kernel, stride, pads", [(1, 2, 0), (2, 2, 1), (3, 3, 1), (4, 4, 2), (8, 8, 2), (2, 3, 0), (1, 4, 0)]
)
def test_steps_whose_last_outputs_are_cut_come_with_the_next(kernel, stride, pads):
    build = Builder(x=(1, 3, None))
    w = random(3, 4, kernel)
    model = fl.Model(build.graph(build("ConvTranspose", "x", w, strides=(stride,), pads=(pads, pads))))
    same_bits(model, random(1, 3, 17), axes=(2,))
    torch = pytest.importorskip("torch")
    x = random(1, 3, 17)
    wanted = torch.nn.functional.conv_transpose1d(*map(torch.tensor, (x, w)), stride=stride, padding=pads).numpy()
    np.testing.assert_allclose(model.stream().process(x), wanted, atol=1e-5)


AFTER = {
    "norm": lambda b, y: b("LayerNormalization", y, random(4), random(4), axis=-1),
    "functions": lambda b, y: b("Tanh", b("Exp", b("Sigmoid", y))),
    "softmax": lambda b, y: b("Softmax", y, axis=-1),
    "sums": lambda b, y: b("Erf", b("ReduceMean", y, np.array([2]), keepdims=1)),
    "product": lambda b, y: b("MatMul", random(3, 4), b("Transpose", y, perm=(0, 2, 1))),
}


@pytest.mark.parametrize("name", AFTER)
@pytest.mark.parametrize("how", ["steps in front", "numbers of steps"])
def test_what_is_known_before_has_the_engine_s_bits(name, how):
    """A first chunk of steps in front alone, and positions, which whole calls know before they run."""
    build = Builder(x=(1, None, 4))
    if how == "steps in front":
        y = build("Concat", random(1, 1, 4), build("Slice", "x", [0], [-1], [1]), axis=1)
    else:
        count = build("Gather", build("Shape", "x"), np.array(1), axis=0)
        steps = build("Cast", build("Range", np.array(0), count, np.array(1)), to=np.dtype(np.float32))
        y = build("Mul", build("Unsqueeze", steps, [0, 2]), random(1, 1, 4))
    made = AFTER[name](build, y)
    other = build("Transpose", "x", perm=(0, 2, 1)) if name == "product" else "x"
    both = build("Concat", made, other, axis=1 if name == "product" else 2)
    same_bits(fl.Model(build.graph(both)), random(1, 30, 4))


def test_sums_whose_first_ones_nobody_takes():
    build = Builder(x=(1, None, 4))
    model, x = fl.Model(build.graph(build("Slice", build("CumSum", "x", 1), [3], [1 << 40], [1]))), random(1, 12, 4)
    same_bits(model, x)
    pool = fl.StreamPool(model)
    one = pool.open()
    made = [pool.step([one], x[:, at])[0] for at in range(12)]
    assert all(row is None for row in made[:3])
    assert np.concatenate(made[3:]).tobytes() == model(x).tobytes()
