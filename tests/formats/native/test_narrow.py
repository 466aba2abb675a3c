"""Low precision in files and on the command line."""

import json
import struct

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import random_weights

import fusedlstm as fl
from fusedlstm.cli import cli

SCHEMES = [("float16", None), ("bfloat16", None), ("bfloat16", "bfloat16")]
SCHEMES += [("int8", "int16"), ("int8", "int16/int8"), ("int8", "int8")]
schemes = pytest.mark.parametrize("dtype, products", SCHEMES)


@pytest.fixture
def model():
    return fl.LSTM(random_weights(np.random.default_rng(0), 9, 17, 2, 2, 5, batch_first=False))


def same(first, second):
    x = np.random.default_rng(1).standard_normal((6, 3, first.input_size)).astype(np.float32)
    return first(x)[0].tobytes() == second(x)[0].tobytes()


@schemes
def test_save_keeps_the_precision(tmp_path, model, dtype, products):
    low = model.astype(dtype, products)
    path = tmp_path / "low.safetensors"
    low.save(path)
    again = fl.LSTM.load(path)
    assert (again.dtype, again.weights.products) == (dtype, products or "float32")
    assert not again.batch_first and same(again, low) and not same(again, model)
    model.save(tmp_path / "full.safetensors")
    loaded = fl.LSTM.load(tmp_path / "full.safetensors", dtype=dtype, products=products)
    assert same(loaded, low)
    factor = 0.5 if dtype == "int8" else 0.7  # the header is large beside so small a model
    assert path.stat().st_size < factor * (tmp_path / "full.safetensors").stat().st_size + 2000
    assert fl.LSTM.load(path, dtype="float32").dtype == "float32"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_the_files_are_plain_safetensors(tmp_path, model, dtype):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    low = model.astype(dtype)
    low.save(tmp_path / "low.safetensors")
    tensors = load_file(tmp_path / "low.safetensors")
    found = tensors["weight_hh_l1_reverse"]
    assert found.dtype == getattr(torch, dtype)
    values = found.double()
    if dtype == "int8":
        values = values * tensors["weight_hh_l1_reverse_scale"].double()[:, None]
    assert np.array_equal(values.numpy(), low.weights.layers[1][1].weight_hh.astype(float))


def edited(path, target, change):
    """Write the file again with its header changed."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    body = bytearray(data[8 + size :])
    change(header, body)
    text = json.dumps(header).encode()
    target.write_bytes(struct.pack("<Q", len(text)) + text + bytes(body))
    return target


def about(header, **values):
    native = json.loads(header["__metadata__"]["fusedlstm"])
    header["__metadata__"]["fusedlstm"] = json.dumps(native | values)


def drop_scale(header, body):
    header["optimizer.elsewhere"] = header.pop("weight_hh_l0_scale")


def put_floats(name, *values):
    def change(header, body):
        begin = header[name]["data_offsets"][0]
        body[begin : begin + 4 * len(values)] = struct.pack(f"<{len(values)}f", *values)

    return change


def put_byte(header, body):
    begin, end = header["weight_hh_l0"]["data_offsets"]
    body[begin:end] = bytes([5] * (end - begin))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda header, body: about(header, dtype="int4"), "dtype to be one of"),
        (lambda header, body: about(header, dtype=["int8"]), "dtype to be one of"),
        (
            lambda header, body: about(header, activations="float"),
            "products: expected one of int16, int16/int8, int8 beside int8",
        ),
        (lambda header, body: about(header, activations=8), "expected activations to be text"),
        (
            lambda header, body: about(header, dtype="float16"),
            "expected F16.*found I8|expected F32.*found I8|_scale: expected the tensors of",
        ),
        (
            lambda header, body: header["__metadata__"].clear(),
            "expected a floating-point tensor, found dtype int8|_scale: expected the tensors of",
        ),
        (drop_scale, "weight_hh_l0_scale: expected beside weight_hh_l0"),
        (put_floats("weight_hh_l0_scale", float("nan")), "weight_hh_l0: expected in each row"),
        (put_floats("weight_hh_l0_scale", float("inf")), "weight_hh_l0: expected in each row"),
        (put_floats("weight_hh_l0_scale", 3e38), "weight_hh_l0: expected in each row"),
        (put_floats("weight_hh_l0_scale", -0.01), "weight_hh_l0: expected in each row"),
        (put_floats("weight_hh_l0_scale", 0.1), "weight_hh_l0: expected in each row"),  # more than 16 bits
        (put_byte, "weight_hh_l0: expected in each row"),  # no number is 127: rounding again would change it
    ],
)
def test_refuses_files_that_it_would_read_otherwise(tmp_path, model, change, message):
    model.astype("int8").save(tmp_path / "good.safetensors")
    path = edited(tmp_path / "good.safetensors", tmp_path / "bad.safetensors", change)
    with pytest.raises(fl.FormatError, match=message):
        fl.LSTM.load(path)


@pytest.mark.parametrize("rounds", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_files(tmp_path, model, rounds):
    """Bits flipped anywhere: an error of ours, or a model of finite numbers that reads back as it runs."""
    rng = np.random.default_rng(2)
    target = tmp_path / "bad.safetensors"
    for dtype in ("float16", "bfloat16", "int8"):
        model.astype(dtype).save(tmp_path / "good.safetensors")
        data = (tmp_path / "good.safetensors").read_bytes()
        for _ in range(rounds // 3):
            damaged = bytearray(data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.2 else data)
            for _ in range(rng.integers(1, 4)):
                damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
            target.write_bytes(damaged)
            try:
                lstm = fl.LSTM.load(target)
            except (fl.FormatError, ValueError):
                continue
            assert all(np.isfinite(array).all() for array in lstm.weights.layers[0][0].arrays.values())


def command(*args):
    return CliRunner().invoke(cli, [str(arg) for arg in args])


def test_convert_and_info(tmp_path, model):
    model.save(tmp_path / "full.safetensors")
    done = command(
        *("convert", tmp_path / "full.safetensors", tmp_path / "low.safetensors"),
        *("--dtype", "int8", "--products", "int8"),
    )
    assert done.exit_code == 0, done.output
    assert "dtype=int8 by int8" in done.output
    assert same(fl.LSTM.load(tmp_path / "low.safetensors"), model.astype("int8", "int8"))
    found = json.loads(command("info", tmp_path / "low.safetensors", "--json").output)["lstms"][0]
    expected = sum(
        array.size + 4 * len(array) if array.ndim == 2 else 4 * array.size
        for layer in model.weights.layers
        for one in layer
        for array in one.arrays.values()
    )
    assert (found["dtype"], found["products"], found["bytes"]) == ("int8", "int8", expected)
    refused = command("convert", tmp_path / "full.safetensors", tmp_path / "x.safetensors", "--products", "int8")
    assert refused.exit_code == 1 and "it goes with dtype int8" in refused.output


def test_check_tells_the_error(tmp_path, model):
    model.save(tmp_path / "m.safetensors")
    x = np.random.default_rng(3).standard_normal((50, 2, 9)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    done = command(
        *("check", tmp_path / "m.safetensors", "--dtype", "int8", "--data", tmp_path / "x.npy"),
        *("--png", tmp_path / "error.png"),
    )
    assert done.exit_code == 0, done.output
    error = model.astype("int8")(x)[0].astype(float) - model(x)[0]
    assert f"{np.abs(error).max():.2e}" in done.output and f"{np.sqrt(np.mean(error**2)):.2e}" in done.output
    assert "45–50" in done.output and (tmp_path / "error.png").stat().st_size > 5000


def test_check_refuses(tmp_path, model):
    model.save(tmp_path / "m.safetensors")
    for x, message in (
        (np.zeros((0, 2, 9)), "step"),
        (np.full((3, 2, 9), np.nan), "finite"),
        (np.zeros((3, 8)), "size"),
    ):
        np.save(tmp_path / "x.npy", x.astype(np.float32))
        done = command("check", tmp_path / "m.safetensors", "--dtype", "float16", "--data", tmp_path / "x.npy")
        assert done.exit_code == 1 and message in done.output and "Traceback" not in done.output
    assert command("check", tmp_path / "m.safetensors", "--dtype", "int4").exit_code == 2
    assert command("check", tmp_path / "m.safetensors").exit_code == 2


def test_a_vector_with_a_scale_for_each_number(tmp_path):
    """Taken for a matrix, it would be one with as many columns as rows."""
    count = 40_000
    said = {"version": 2, "batch_first": True, "merge": "concat", "reverse": False, "flip_output": False}
    said |= {"padding": "zero", "cells": [[{}]], "dtype": "int8", "activations": "int16"}
    header = {
        "__metadata__": {"fusedlstm": json.dumps(said)},
        "weight_ih_l0_scale": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]},
        "weight_ih_l0": {"dtype": "I8", "shape": [count], "data_offsets": [4 * count, 5 * count]},
        "weight_hh_l0": {"dtype": "I8", "shape": [0], "data_offsets": [5 * count, 5 * count]},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(5 * count))
    with pytest.raises(fl.FormatError, match=r"expected shapes \(n, m\) and \(n,\), found \(40000,\) and \(40000,\)"):
        fl.LSTM.load(path)
