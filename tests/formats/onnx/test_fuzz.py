"""Damaged ONNX files of every kind that is read: FormatError alone, within bounds of time and memory."""

import numpy as np
import pytest
from fuzz import bytes_of, survives
from fuzz_fields import number_of
from onnx_models import model, node, onnx, peepholes, quantized, weights


def models():
    """One with everything: variants, folded constants, a learned state; and a quantised one."""
    w, r, b = weights(directions=2)
    one, five = np.array([2], np.int64), np.array([5], np.int64)
    tensors = {"Wt": w.swapaxes(1, 2).copy(), "p": peepholes(directions=2), "one": one, "five": five}
    tensors |= {"h0": np.ones((2, 1, 5), np.float32), "at": np.array([1], np.int64), "W": None}
    nodes = [
        node("Transpose", ["Wt"], "W", perm=[0, 2, 1]),
        node("Shape", ["x"], "xs"),
        node("Gather", ["xs", "at"], "b"),
        node("Concat", ["one", "b", "five"], "s", axis=0),
        node("Expand", ["h0", "s"], "h"),
    ]
    full = model(
        *(w, r, b),
        tensors=tensors,
        nodes=nodes,
        inputs={"P": "p", "initial_h": "h"},
        direction="bidirectional",
        clip=0.5,
        input_forget=1,
        activations=["HardSigmoid", "Elu", "Tanh"] * 2,
        activation_alpha=[0.3, 0.5, 0.3, 0.5],
        activation_beta=[0.4, 0.4],
    )
    del full.graph.input[:]
    full.graph.input.append(onnx.helper.make_tensor_value_info("x", 1, ["time", "batch", 3]))
    return [full, quantized(np.int8, True, 2, direction="bidirectional")[0]]


MODELS = models()


def fields(message):
    """Every field that is set, in the message and in those inside it."""
    for descriptor, value in message.ListFields():
        yield message, descriptor, value
        if descriptor.message_type is not None:
            for one in value if hasattr(value, "add") else [value]:
                yield from fields(one)


def changed(proto, rng):
    """One to three fields set to something else."""
    copy = type(proto)()
    copy.CopyFrom(proto)
    for _ in range(int(rng.integers(1, 4))):
        found = list(fields(copy))
        if not found:
            break
        message, descriptor, value = found[int(rng.integers(len(found)))]
        repeated = hasattr(value, "append") and not isinstance(value, (str, bytes))
        try:
            if repeated and (descriptor.message_type is not None or rng.random() < 0.3):
                change_list(value, rng)
            elif descriptor.message_type is not None:
                message.ClearField(descriptor.name)
            elif repeated:
                index = int(rng.integers(len(value)))
                value[index] = other(value[index], rng)
            else:
                setattr(message, descriptor.name, other(value, rng))
        except (ValueError, OverflowError):  # no such number in this field
            continue
    return copy


def change_list(value, rng):
    index = int(rng.integers(len(value)))
    if rng.random() < 0.5:
        del value[index]
    else:
        value.append(value[index])


def other(value, rng):
    if isinstance(value, str):
        names = ["", "x", "W", "R", "h", "p", "s", "LSTM", "Concat", "Expand", "Constant", "nowhere", value + "x"]
        return str(rng.choice(names))
    if isinstance(value, bytes):
        return bytes(rng.choice(np.array([value[:-1], value + b"x", b"", value[:4], b"Relu"], object)))
    return number_of(rng, value)


def files(count, first):
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        proto = MODELS[seed % 2]
        yield (bytes_of(rng, proto.SerializeToString()) if seed % 4 < 2 else changed(proto, rng).SerializeToString())


def test_the_whole_ones_are_read(tmp_path):
    assert survives(tmp_path / "model.onnx", [proto.SerializeToString() for proto in MODELS]) == 0


def test_fuzz(tmp_path):
    assert survives(tmp_path / "model.onnx", files(100, 0)) > 30


@pytest.mark.slow
def test_fuzz_2000(tmp_path):
    refused = survives(tmp_path / "model.onnx", files(2000, 1000))
    print("refused", refused)
    assert refused > 600
