"""fusedlstm.ray.Predictor, called with the batches that Ray would give it; test_ray.py has a cluster."""

import numpy as np
import pytest
from conftest import random_weights
from graphs import Builder, random

import fusedlstm as fl

pytest.importorskip("ray")
import fusedlstm.ray

INPUTS, HIDDEN = 5, 12


@pytest.fixture(scope="module")
def lstm():
    return fl.LSTM(random_weights(np.random.default_rng(0), INPUTS, HIDDEN, layers=2))


@pytest.fixture(scope="module")
def path(lstm, tmp_path_factory):
    path = tmp_path_factory.mktemp("ray") / "model.safetensors"
    lstm.save(path)
    return path


def sequences(count, longest=40, seed=1):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((int(length), INPUTS)).astype(np.float32) for length in rng.integers(0, longest, count)]


def column(arrays):
    made = np.empty(len(arrays), object)
    for k, one in enumerate(arrays):
        made[k] = one
    return made


@pytest.mark.parametrize("form", ["arrays", "flat", "lists"])
def test_rows_of_all_lengths_have_the_bits_that_they_have_alone(lstm, path, form):
    x = sequences(200)
    given = {"arrays": x, "flat": [one.reshape(-1) for one in x], "lists": [one.tolist() or [[]] for one in x]}[form]
    if form == "lists":
        x, given = zip(*((one, row) for one, row in zip(x, given) if len(one)))
    made = fusedlstm.ray.Predictor(path, column="x")({"id": np.arange(len(x)), "x": column(given)})
    assert made["id"].tolist() == [*range(len(x))] and made["x"].dtype == object
    for one, y in zip(x, made["y"]):
        wanted = lstm(one)[0] if len(one) else np.zeros((0, HIDDEN), np.float32)
        assert y.shape == (wanted.reshape(-1) if form == "flat" else wanted).shape
        assert y.tobytes() == wanted.tobytes()


def test_rows_of_one_length_are_one_array(lstm):
    x = np.random.default_rng(2).standard_normal((50, 9, INPUTS)).astype(np.float32)
    time_first = fl.LSTM(lstm.weights.__class__(lstm.weights.layers, batch_first=False))
    for model in (lstm, time_first):
        made = fusedlstm.ray.Predictor(model, output="made")({"data": x})
        assert made["made"].shape == (50, 9, HIDDEN) and made["made"].dtype == np.float32
        assert all(y.tobytes() == lstm(one)[0].tobytes() for one, y in zip(x, made["made"]))
    last = fusedlstm.ray.Predictor(lstm, last=True)({"data": x})
    assert [*fusedlstm.ray.Predictor(lstm, column="data", keep=["id"])({"id": np.arange(50), "data": x})] == ["id", "y"]
    assert last["y"].tobytes() == made["made"][:, -1].tobytes()


def test_precision_and_content(lstm, path):
    x = np.random.default_rng(2).standard_normal((3, 9, INPUTS)).astype(np.float32)
    made = fusedlstm.ray.Predictor(path.read_bytes(), "int8")({"x": x})
    assert made["y"].tobytes() == lstm.astype("int8")(x)[0].tobytes()


def test_padding_stays_small_and_batches_bounded():
    from fusedlstm.ray import predictor

    lengths = np.random.default_rng(3).integers(0, 2000, 3000).tolist()
    groups = [*predictor._groups(lengths, 100)]
    assert sorted(k for group in groups for k in group) == [*range(3000)]
    for group in groups:
        own = [lengths[k] for k in group]
        assert own == sorted(own) and (own[-1] - own[0]) * 8 <= own[-1]
        assert len(own) == 1 or len(own) * own[-1] * 100 <= 1 << 22
    assert len(groups) < 250


def tagger(time_first=False):
    """Steps of 4 numbers in, 6 numbers out for each."""
    build = Builder(x=(None, None, 4))
    x = "x" if time_first else build("Transpose", "x", perm=(1, 0, 2))
    y, _ = build("LSTM", x, random(1, 24, 4), random(1, 24, 6), hidden_size=6, outputs=2)
    y = build("Squeeze", y, [1])
    return fl.Model(build.graph(y if time_first else build("Transpose", y, perm=(1, 0, 2))))


def test_a_model_runs_rows_of_one_shape_together():
    model, rng = tagger(), np.random.default_rng(4)
    x = [rng.standard_normal((int(length), 4)).astype(np.float32) for length in rng.integers(1, 6, 60)]
    made = fusedlstm.ray.Predictor(model)({"words": column(x)})
    for one, y in zip(x, made["y"]):
        assert y.tobytes() == model(one[None])[0].tobytes()


def test_a_model_of_time_first_is_refused_where_rows_are_of_many_lengths():
    rng = np.random.default_rng(4)
    x = [rng.standard_normal((length, 4)).astype(np.float32) for length in (3, 4, 5)]
    with pytest.raises(ValueError, match="time first"):
        fusedlstm.ray.Predictor(tagger(time_first=True))({"x": column(x)})


def test_a_list_of_no_steps_leaves_the_form_of_the_others(lstm):
    x = sequences(3, seed=5)
    x[1] = x[1][:0]
    made = fusedlstm.ray.Predictor(lstm)({"x": column([one.tolist() for one in x])})["y"]
    assert [y.shape for y in made] == [(len(one), HIDDEN) for one in x]
    made = fusedlstm.ray.Predictor(lstm)({"x": column([one.reshape(-1).tolist() for one in x])})["y"]
    assert [y.shape for y in made] == [(len(one) * HIDDEN,) for one in x]


def test_rows_of_other_numbers_do_not_decide_for_each_other():
    x = np.ones((3, 4), np.float32)
    with pytest.raises(TypeError, match="expected floating-point numbers, found dtype int64"):
        fusedlstm.ray.Predictor(tagger())({"x": column([x, x.astype(np.int64)])})


def test_what_is_refused(lstm, path):
    predictor = fusedlstm.ray.Predictor(path, column="x")
    x = sequences(3)
    with pytest.raises(ValueError, match=r"column: expected one of a, b, found 'x'"):
        predictor({"a": column(x), "b": column(x)})
    with pytest.raises(
        ValueError, match=r"x, row 1: expected shape \(time, 5\), or a multiple of 5 numbers; found \(3, 4\)"
    ):
        predictor({"x": column([x[0], np.zeros((3, 4), np.float32)])})
    with pytest.raises(ValueError, match="x, row 0: expected a sequence, found none"):
        predictor({"x": column([None])})
    with pytest.raises(TypeError, match="floating-point"):
        predictor({"x": column([np.zeros((3, 5), np.int64)])})
    for row, kind in ((1.5, "float"), (float("nan"), "float"), ("word", "str")):
        with pytest.raises(ValueError, match=f"x, row 1: expected a sequence, found {kind}"):
            predictor({"x": column([x[0], row])})
    with pytest.raises(ValueError, match="keep: expected one of x, found 'id'"):
        fusedlstm.ray.Predictor(path, column="x", keep=["id"])({"x": column(x)})
    with pytest.raises(TypeError, match="keep: expected a sequence of names, found the word 'id'"):
        fusedlstm.ray.Predictor(path, column="x", keep="id")
    with pytest.raises(ValueError, match="output: expected a new column, found y"):
        predictor({"x": column(x), "y": column(x)})
    with pytest.raises(ValueError, match="one step or more"):
        fusedlstm.ray.Predictor(lstm, last=True)({"x": column([x[0][:0]])})
    with pytest.raises(ValueError, match="time first"):
        fusedlstm.ray.Predictor(tagger(time_first=True))({"x": np.ones((4, 4, 4), np.float32)})
    with pytest.raises(ValueError, match="prefix: expected none beside"):
        fusedlstm.ray.Predictor(lstm, prefix="rnn")
