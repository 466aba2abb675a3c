"""`fl.Model` on real files against ONNX Runtime, where they are present: sound, batches, lengths, states over a thousand steps."""

import time
from pathlib import Path

import numpy as np
import pytest

import fusedlstm as fl

MODELS = Path("/work/shared/models")
FILES = sorted(MODELS.glob("*.onnx"))
pytestmark = pytest.mark.skipif(not FILES, reason="the models are not here")
onnxruntime = pytest.importorskip("onnxruntime")

FRAME = {16000: (512, 64), 8000: (256, 32)}  # samples, and those of the frame before in front of them
BATCHES = ("silero_vad", "silero_vad_16k_op15", "silero_vad_op18_ifless", "silero_v5_encoder", "silero_v5_decoder")


def session(name):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(MODELS / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])


def sound(seconds, rate=16000):
    """Something that has vowels: harmonics of a gliding pitch, in and out, and noise."""
    t = np.arange(int(seconds * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 1.3 * t)) / rate
    voice = sum(np.sin(k * pitch) / k * np.exp(-(((k * 120 - 700) / 500) ** 2)) for k in range(1, 20))
    rng = np.random.default_rng(0)
    return (0.3 * voice * (np.sin(2 * np.pi * 0.8 * t) > 0) + 0.01 * rng.standard_normal(len(t))).astype(np.float32)


def agree(found, wanted, limit=2e-5):
    """Relative to the largest output; of probabilities below 0.01 it is that of their logits that counts."""
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        assert np.abs(one - other).max(initial=0) <= limit * max(1e-2, np.abs(other).max(initial=0))


def follow(name, frames, feed, states, context, limit=1e-4, **fixed):
    """A stream on frames beside ONNX Runtime, which is handed its own states."""
    model, peer = fl.Model.load(MODELS / f"{name}.onnx"), session(name)
    names = [one.name for one in peer.get_outputs()]
    (x,) = feed
    stream = model.stream(fixed=fixed, context={x: context} if context else None)
    state = {k: np.zeros([size or 1 for size in model.inputs[k].shape], np.float32) for k in states}
    before = np.zeros((*frames[0].shape[:-1], context), np.float32)
    for k, frame in enumerate(frames):
        given = np.concatenate([before, frame], axis=-1)
        wanted = dict(zip(names, peer.run(None, {x: given, **state, **{k: np.array(v) for k, v in fixed.items()}})))
        found = model.run({x: given, **state, **fixed})
        agree(found.values(), wanted.values())  # from the same state
        stepped = stream.step(frame)
        kept = stream.state
        for one, out in states.items():
            assert np.abs(kept[one] - wanted[out]).max() <= limit * np.abs(wanted[out]).max(), (k, one)
            state[one] = wanted[out]
        (out,) = set(names) - set(states.values())
        assert np.abs(stepped - wanted[out]).max() <= limit * max(1e-2, np.abs(wanted[out]).max()), k
        before = given[..., given.shape[-1] - context :]


def test_a_pool_of_detectors():
    """Frames of many streams at a time, each beside one alone."""
    model, options = fl.Model.load(MODELS / "silero_vad.onnx"), {"fixed": {"sr": 16000}, "context": {"input": 64}}
    pool, frames = fl.StreamPool(model, capacity=4, **options), sound(1, 16000)[: 31 * 512].reshape(31, 512)
    ids, alone = [pool.open() for _ in range(21)], [model.stream(**options) for _ in range(21)]
    for turn in range(4):
        which = np.random.default_rng(turn).permutation(21)[: 21 - 5 * turn]
        made = pool.step([ids[k] for k in which], frames[which + turn])
        for k, found in zip(which, made):
            assert found.tobytes() == alone[k].step(frames[k + turn][None]).tobytes()


@pytest.mark.parametrize("rate", [16000, 8000])
@pytest.mark.parametrize("name", ["silero_vad", "silero_vad_op18_ifless", "silero_vad_16k_op15"])
def test_two_seconds_of_sound(name, rate):
    if name == "silero_vad_16k_op15" and rate == 8000:
        pytest.skip("for 16 kHz")
    size, context = FRAME[rate]
    whole = sound(2, rate)
    frames = whole[: len(whole) // size * size].reshape(-1, 1, size)
    follow(name, frames, ["input"], {"state": "stateN"}, context, sr=rate)


@pytest.mark.slow
def test_a_thousand_steps():
    frames = sound(1000 * 512 / 16000)[: 1000 * 512].reshape(1000, 1, 512)
    follow("silero_vad", frames, ["input"], {"state": "stateN"}, 64, sr=16000)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dtln_1", "dtln_2"])
def test_a_thousand_steps_of_noise_suppression(name):
    model = fl.Model.load(MODELS / f"{name}.onnx")
    x, state = model.inputs
    out = [one for one in model.outputs if len(model.outputs[one].shape) == 4]
    frames = np.random.default_rng(1).standard_normal((1000, *model.inputs[x].shape)).astype(np.float32)
    follow(name, np.abs(frames) if name == "dtln_1" else 0.1 * frames, [x], {state: out[0]}, 0)


@pytest.mark.parametrize("batch", [1, 3, 16])
@pytest.mark.parametrize("name", BATCHES)
def test_batches(name, batch):
    model, peer, rng = fl.Model.load(MODELS / f"{name}.onnx"), session(name), np.random.default_rng(batch)
    sizes = {"input": (batch, 128 if name.endswith("decoder") else 576), "state": (2, batch, 128)}
    feed = {k: (0.1 * rng.standard_normal(sizes[k])).astype(np.float32) for k in model.inputs if k in sizes}
    feed |= {"sr": np.array(16000)} if "sr" in model.inputs else {}
    wanted = peer.run(None, feed)
    found = model.run(feed)
    agree(found.values(), wanted)
    for row in range(batch):  # a row alone has the bits that it has in a batch
        alone = {
            k: v[:, row : row + 1] if k == "state" else v if k == "sr" else v[row : row + 1] for k, v in feed.items()
        }
        for name, one in model.run(alone).items():
            rows = found[name].take([row], axis=found[name].shape.index(batch))
            assert np.array_equal(one, rows)


@pytest.mark.parametrize("name", ["engine_wear", "nnsplit_en", "silero_vad_16k_sequence"])
def test_lengths(name):
    model, peer, rng = fl.Model.load(MODELS / f"{name}.onnx"), session(name), np.random.default_rng(0)
    shapes = {
        "engine_wear": [{"input_layer": (batch, 30, 17)} for batch in (1, 3, 16, 50)],
        "nnsplit_en": [{"input": (batch, time)} for batch, time in ((1, 4), (3, 40), (16, 12), (1, 300))],
        "silero_vad_16k_sequence": [
            {"input": (time, 576), "h": (1, 1, 128), "c": (1, 1, 128)} for time in (1, 2, 16, 64, 300)
        ],
    }[name]
    for sizes in shapes:
        feed = {k: (0.1 * rng.standard_normal(size)).astype(np.float32) for k, size in sizes.items()}
        if name == "nnsplit_en":
            feed = {k: rng.integers(0, 256, size).astype(np.uint8) for k, size in sizes.items()}
        agree(model.run(feed).values(), peer.run(None, feed))


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_new_shape_is_planned_quickly(path):
    """At most 20 µs a node, and a millisecond for fifty of them; the best of several, as the machine is shared."""
    model, best = fl.Model.load(path), np.inf
    nodes = max(50, sum(1 for _ in model.simplified.walk()))
    feed = {
        name: np.array(16000) if name == "sr" else np.zeros([size or 1 for size in one.shape], one.dtype)
        for name, one in model.inputs.items()
    }
    if "silero" in path.stem and "decoder" not in path.stem:
        feed["input"] = np.zeros((1, 576), np.float32)
    if path.stem == "nnsplit_en":
        feed["input"] = np.zeros((1, 300), np.uint8)
    arrays = [model.as_input(name, value) for name, value in feed.items()]
    model.planned(arrays)
    for _ in range(30):
        start = time.perf_counter()
        model._plan(arrays)
        best = min(best, time.perf_counter() - start)
    assert best < 20e-6 * nodes
