"""Attention and rotary embeddings in programs, against their meaning."""

import itertools

import numpy as np
import pytest
from graphs import INT, Builder, random
from planned import check_planned

BOOL = np.dtype(np.bool_)
BATCH, HEADS, GROUPS, STEPS, TOTAL, WIDTH, VALUES = 2, 4, 2, 3, 5, 6, 8


def inputs(flat, past, mask):
    shapes = {
        "q": (BATCH, HEADS, STEPS, WIDTH),
        "k": (BATCH, GROUPS, TOTAL, WIDTH),
        "v": (BATCH, GROUPS, TOTAL, VALUES),
    }
    if flat:
        shapes = {name: (shape[0], shape[2], shape[1] * shape[3]) for name, shape in shapes.items()}
    if mask:
        shapes["mask"] = (BOOL, (STEPS, TOTAL)) if mask == "bool" else (BATCH, 1, STEPS, TOTAL - 1)
    if past:
        shapes |= {"past_k": (BATCH, GROUPS, 2, WIDTH), "past_v": (BATCH, GROUPS, 2, VALUES)}
    builder = Builder(**shapes)
    feed = {
        one.name: random(*one.shape, seed=k) > 0 if one.dtype == BOOL else random(*one.shape, seed=k)
        for k, one in enumerate(builder.inputs)
    }
    if mask == "bool":
        feed["mask"][0] = False  # sees nothing
    return builder, feed


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("mask", ["", "bool", "float"])
@pytest.mark.parametrize("past", [False, True])
def test_attention(flat, mask, past):
    numbers = {"q_num_heads": HEADS, "kv_num_heads": GROUPS} if flat else {}
    for causal, (left, right), cap in itertools.product((0, 1), ((-1, -1), (1, 0)), (0.0, 0.5)):
        more = {"is_causal": causal, "left_window_size": left, "right_window_size": right, "softcap": cap}
        for mode in range(4):
            builder, feed = inputs(flat, past, mask)
            names = ["q", "k", "v", "mask" if mask else "", *(["past_k", "past_v"] if past else [])]
            made = builder("Attention", *names, outputs=4, qk_matmul_output_mode=mode, **more, **numbers)
            check_planned(builder.graph(*made), feed)
            if mode == 0:
                check_planned(builder.graph(made[0]), feed)
                check_planned(builder.graph(made[3], made[1]), feed)


@pytest.mark.parametrize("causal", [0, 1])
def test_keys_of_which_some_are_not_there(causal):
    builder = Builder(q=(3, 2, STEPS, WIDTH), k=(3, 2, TOTAL, WIDTH), v=(3, 2, TOTAL, VALUES), valid=(INT, (3,)))
    for left, right in ((-1, -1), (2, 1)):
        more = {"is_causal": causal, "left_window_size": left, "right_window_size": right, "scale": 0.3}
        graph = builder.graph(builder("Attention", "q", "k", "v", "", "", "", "valid", **more))
        feed = {one.name: random(*one.shape) for one in graph.inputs[:3]}
        check_planned(graph, {**feed, "valid": np.array([5, 3, 0])})


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("width", [0, 4])
@pytest.mark.parametrize("flat", [False, True])
def test_rotary_embedding(interleaved, width, flat):
    half = (width or 8) // 2
    shape = (2, 5, 24) if flat else (2, 3, 5, 8)
    more = {"interleaved": interleaved, "rotary_embedding_dim": width, "num_heads": 3 if flat else 0}
    builder = Builder(x=shape, cos=(2, 5, half), sin=(2, 5, half))
    graph = builder.graph(builder("RotaryEmbedding", "x", "cos", "sin", **more))
    check_planned(graph, {one.name: random(*one.shape, seed=k) for k, one in enumerate(graph.inputs)})
    builder = Builder(x=shape, places=(INT, (2, 5)))
    graph = builder.graph(builder("RotaryEmbedding", "x", random(50, half), random(50, half, seed=1), "places", **more))
    check_planned(graph, {"x": random(*shape), "places": np.random.default_rng(0).integers(0, 50, (2, 5))})
