"""Pads, tiles, resizing and other moves against the operators' meaning."""

import numpy as np
import pytest
from strided import Lying, check, floats, some_shape

import fusedlstm as fl

seeds = pytest.mark.parametrize("seed", range(10))


@seeds
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_pads(mode, dtype, seed):
    rng = np.random.default_rng(seed)
    shape = some_shape(rng, 1, 4)
    x = rng.integers(0, 9, shape).astype(dtype)
    pads = np.array([rng.integers(-1 if size > 2 else 0, size if mode == "reflect" else 5) for size in shape * 2])
    check(rng, "Pad", x, (pads,), mode=mode)
    if mode == "constant":
        check(rng, "Pad", x, (pads,), np.array(1, dtype))
        check(rng, "Pad", x, (pads[[0, len(shape)]],), "", (np.array([0]),))
    check(rng, "Pad", x, (-np.minimum(1, np.array(shape * 2) // 3),), mode=mode)


@seeds
def test_tiles(seed):
    rng = np.random.default_rng(seed)
    shape = some_shape(rng, 1, 4, 4)
    check(rng, "Tile", floats(rng, *shape), (rng.integers(0 if seed == 1 else 1, 4, len(shape)),))
    check(
        rng,
        "Tile",
        floats(rng, *(1 if size % 2 else size for size in shape)),
        (np.array([1 + 2 * (size % 2) for size in shape]),),
    )


@seeds
@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_and_space(mode, seed):
    rng = np.random.default_rng(seed)
    b = int(rng.integers(1, 4))
    n, c, h, w = (int(size) for size in rng.integers(1, 4, 4))
    check(rng, "DepthToSpace", floats(rng, n, c * b * b, h, w), blocksize=b, mode=mode)
    check(rng, "SpaceToDepth", floats(rng, n, c, h * b, w * b), blocksize=b, mode=mode)


@seeds
@pytest.mark.parametrize("batch_axis", [0, 1])
def test_reversed_sequences(batch_axis, seed):
    rng = np.random.default_rng(seed)
    x = floats(rng, *some_shape(rng, 2, 4))
    lengths = rng.integers(0, x.shape[1 - batch_axis] + 1, x.shape[batch_axis])
    check(rng, "ReverseSequence", x, lengths, batch_axis=batch_axis, time_axis=1 - batch_axis)


COORDINATES = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"]


@seeds
@pytest.mark.parametrize("coordinates", [*COORDINATES, "tf_half_pixel_for_nn"])
def test_the_nearest(coordinates, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 9, some_shape(rng, 1, 4)).astype([np.float32, np.int64][seed % 2])
    rounding = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"][seed % 4]
    more = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    check(rng, "Resize", x, "", "", (rng.integers(1, 12, x.ndim),), **more)
    check(rng, "Resize", x, "", (rng.uniform(1.0, 2.5, x.ndim).astype(np.float32),), **more)


@seeds
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_resampling(mode, coordinates, seed):
    rng = np.random.default_rng(seed)
    x = floats(rng, int(rng.integers(1, 3)), int(rng.integers(1, 9)), *some_shape(rng, 1, 2))
    more = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if seed % 3 == 0 and coordinates == "half_pixel":
        more["antialias"] = 1
    if mode == "cubic" and seed % 2:
        more["exclude_outside"] = 1
    sizes = np.array([*x.shape[:2], *rng.integers(1, 12, x.ndim - 2)])
    check(rng, "Resize", x, "", "", (sizes,), rtol=1e-5, atol=1e-5, **more)
    check(rng, "Resize", x, "", (rng.uniform(0.6, 2.5, 2).astype(np.float32),), atol=1e-5, axes=(0, 1), **more)


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_the_nearest_as_tensorflow_has_it(opset):
    """An attribute of opset 11 and 12 that tf2onnx goes on writing; ONNX Runtime takes it."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(opset)
    for _ in range(40):
        shape, sizes = rng.integers(1, 9, (2, 2)).tolist()
        x, values = rng.standard_normal((1, 1, *shape)).astype(np.float32), onnx.TensorProto.FLOAT
        resize = onnx.helper.make_node(
            "Resize", ["x", "none", "none", "sizes"], ["y"], mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="tf_half_pixel_for_nn",
        )  # fmt: skip
        constants = [
            onnx.numpy_helper.from_array(np.zeros(0, np.float32), "none"),
            onnx.numpy_helper.from_array(np.array([1, 1, *sizes]), "sizes"),
        ]
        graph = onnx.helper.make_graph(
            [resize], "resize", [onnx.helper.make_tensor_value_info("x", values, x.shape)],
            [onnx.helper.make_tensor_value_info("y", values, (1, 1, *sizes))], constants,
        )  # fmt: skip
        opsets = [onnx.helper.make_opsetid("", opset)]
        data = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
        wanted = runtime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        np.testing.assert_array_equal(fl.Model.load(data)(x), wanted)


def test_what_is_known_once_shapes_are():
    rng = np.random.default_rng(0)
    graph = Lying(rng)
    b = graph.builder
    x = graph.input(floats(rng, 600, 700))  # more than folding takes
    large = b("ConstantOfShape", np.array([600, 700]), value=np.array([2.5], np.float32))
    steps = b("Range", np.float32(0), np.float32(700), np.float32(1))
    graph.check(
        b("Mul", b("Add", x, large), b("EyeLike", x, k=1)), b("Add", x, steps), b("Shape", x), b("Size", x), large
    )


@pytest.mark.parametrize("ratio", [False, True])
def test_a_mask_that_nothing_takes(ratio):
    rng = np.random.default_rng(0)
    graph = Lying(rng)
    y, _ = graph.builder("Dropout", graph.input(floats(rng, 3, 4)), *[np.float32(0.5)] * ratio, outputs=2)
    graph.check(graph.builder("Tanh", y))


def test_a_mask_that_drops_nothing():
    rng = np.random.default_rng(0)
    graph = Lying(rng)
    y, mask = graph.builder("Dropout", graph.input(floats(rng, 3, 4)), outputs=2)
    graph.check(y, mask)
