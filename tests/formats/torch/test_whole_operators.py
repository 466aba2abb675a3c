"""PyTorch's operators one by one, with their options, against PyTorch: as exported, and decomposed."""

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch
import torch_programs
from torch.nn import functional as F

from fusedlstm.formats.torch.whole.reader import OPERATORS

T = torch.tensor
INF = float("inf")


def r(*shape, seed=0, low=-2.0, high=2.0):
    generator = torch.Generator().manual_seed(seed + 31 * len(shape))
    return torch.rand(shape, generator=generator) * (high - low) + low


def ints(*shape, low=-5, high=6, seed=0, dtype=torch.int64):
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def bools(*shape, seed=0):
    return ints(*shape, low=0, high=2, seed=seed).bool()


SMALL = T([-1e-4, 1e-4, 3e-6, -0.3, 2.5, 0.0, -0.9])
ODD = T([0.0, -0.0, INF, -INF, float("nan"), 1.5, -2.5])


def arithmetic():
    x, y, i, j = r(3, 4), r(4, seed=1), ints(3, 4), ints(4, low=1, seed=3)
    yield "add", lambda x, y: x + y, x, y
    yield "add alpha", lambda x, y: torch.add(x, y, alpha=2), x, y
    yield "add number", lambda x: x + 2, x
    yield "add numbers", lambda i: i + 2.5, i
    yield "add mixed", lambda x, i: x + i, x, i
    yield "add of no dimension", lambda i, f: i + f, i, T(1.5)
    yield "add of another width", lambda x, d: x + d, x, T(1.5, dtype=torch.float64)
    yield "add int32", lambda i, j: i + j, i.int(), j
    yield "add truths", lambda a, b: a + b, bools(3), bools(3, seed=4)
    yield "sub", lambda x, y: torch.sub(x, y, alpha=0.5), x, y
    yield "rsub", lambda x, i: (torch.rsub(x, 1), torch.rsub(x, x, alpha=3), 2 - i), x, i
    yield "mul", lambda x, y, i: (x * y, x * 3, i * 2, i * i), x, y, i
    yield "mul truths", lambda a, b: (a * b, a * 2, a * 2.5), bools(3), bools(3, seed=4)
    yield "div", lambda x, y, i, j: (x / y, x / 3, i / j, i / 2), x, y, i, j
    yield "div floor", lambda x, y, i, j: (x // y, x // 0.3, i // j, i // 3, i // -3), x, y, i, j
    yield "div exact", lambda x: (x // 0.1, torch.div(x, 0.1, rounding_mode="trunc")), T([1.0, -1.0, 0.3, 0.7])
    yield (
        "div trunc",
        lambda x, y, i, j: [torch.div(a, b, rounding_mode="trunc") for a, b in ((x, y), (i, j))],
        x,
        y,
        i,
        j,
    )
    yield "remainder", lambda x, y, i, j: (x % y, x % 0.7, i % j, i % -3), x, y, i, j
    yield "fmod", lambda x, y, i, j: (torch.fmod(x, y), torch.fmod(i, j), torch.fmod(x, 0.7)), x, y, i, j
    yield "pow", lambda x, y, j: (x.abs() ** y, x**2, x**3, x.abs() ** 0.5, j**2, 2**x), x, y, j
    yield "square", lambda x: (x.square(), x.neg(), -x, x.abs(), x.sign(), +x), x
    yield "whole", lambda i: (i.neg(), i.abs(), i.sign(), i.square()), i
    yield "extremes", lambda x, y, i, j: (x.maximum(y), x.minimum(y), torch.max(i, j), torch.min(x, y)), x, y, i, j
    yield "clamp", lambda x, y, i: (x.clamp(-1, 1), x.clamp(min=0.5), x.clamp(max=0), i.clamp(-2, 3)), x, y, i
    yield "clamp tensors", lambda x, y: (x.clamp(y, y + 1), x.clamp(max=y), x.clamp_min(0), x.clamp_max(0)), x, y
    yield "lerp", lambda x, y: (x.lerp(y, 0.3), x.lerp(y, y)), x, y
    yield (
        "addcmul",
        lambda x, y: (torch.addcmul(x, y, x, value=0.5), torch.addcdiv(x, x, y), torch.addcmul(x, y, y)),
        x,
        y,
    )
    yield (
        "where",
        lambda c, x, y: (torch.where(c, x, y), torch.where(c, x, 0.0), torch.where(c, 1, 2)),
        bools(3, 4),
        x,
        y,
    )
    yield "masked_fill", lambda c, x: (x.masked_fill(c, -INF), x.masked_fill(c, T(2.0))), bools(3, 4), x


def comparisons():
    x, y, i, b = r(3, 4), r(4, seed=1), ints(3, 4), bools(3, 4)
    yield "compare", lambda x, y: (x == y, x != y, x > y, x >= y, x < y, x <= y), x, y
    yield "numbers", lambda i: (i == 2, i != 2, i > 2.5, i >= 2, i < 2, i <= -1), i
    yield "mixed", lambda x, i: (x > i, i == x, x >= 1), x, i
    yield "truths", lambda b: (b == b, b != b, b > b, b >= b), b
    yield "logic", lambda b, x: (b & (x > 0), b | (x > 0), b ^ (x > 0), ~b, b.logical_not()), b, x
    yield "logical", lambda x, i: [f(x, i) for f in (torch.logical_and, torch.logical_or, torch.logical_xor)], x, i
    yield "logical_not", lambda x, i: (x.logical_not(), i.logical_not()), x, i
    yield "bits", lambda i: (i & 3, i | 4, i ^ 5, ~i), i
    yield "kinds", lambda x: (x.isnan(), x.isinf(), x.isfinite()), ODD
    yield "sign of odd ones", lambda x: (x.sign(), x.sgn()), ODD
    yield "nan_to_num", lambda x: (x.nan_to_num(), x.nan_to_num(1.0, 2.0, -3.0)), ODD


def functions():
    x = r(3, 4)
    for name in [
        "exp",
        "sin",
        "cos",
        "tan",
        "sinh",
        "cosh",
        "tanh",
        "sigmoid",
        "asinh",
        "atan",
        "erf",
        "floor",
        "ceil",
        "trunc",
        "frac",
        "round",
    ]:
        yield name, lambda x, f=torch.__dict__[name]: f(x), x
    for name in ("log", "log2", "log10", "sqrt", "rsqrt", "reciprocal"):
        yield name, lambda x, f=torch.__dict__[name]: f(x), r(5, low=0.1, high=4)
    for name in ("asin", "acos", "atanh"):
        yield name, lambda x, f=torch.__dict__[name]: f(x), r(5, low=-0.9, high=0.9)
    y = T([0.0, 1.0, -1.0, 2.0, 1e-30, -1e30])
    yield "atan2", lambda y: (torch.atan2(y[:, None], y), torch.arctan2(y, y.long().clamp(-2, 2))), y
    yield "atan2 odd", lambda y: torch.atan2(y[:, None], y), ODD
    yield "acosh", torch.acosh, r(5, low=1.1, high=4)
    yield "small", lambda x: (x.expm1(), x.log1p()), SMALL
    yield "infinite", lambda x: (x.expm1(), x.log1p()), T([INF, 0.0, 100.0])
    yield "exp2", lambda x: x.exp2(), x
    yield "round", lambda x: (x.round(decimals=1), (x * 2).round(), x.round(decimals=-1)), x * 10
    yield "of whole", lambda i: (i.exp(), i.tanh(), i.sqrt(), i.floor(), i.round(), i.trunc()), ints(4, low=1)


def activations():
    x = r(3, 6, low=-4, high=4)
    for name in [
        "relu",
        "relu6",
        "selu",
        "silu",
        "mish",
        "hardswish",
        "softsign",
        "tanhshrink",
        "logsigmoid",
        "hardsigmoid",
        "softplus",
        "gelu",
        "elu",
    ]:
        yield name, lambda x, f=F.__dict__[name]: f(x), x
    yield (
        "far",
        lambda x: (F.softplus(x), F.logsigmoid(x), F.mish(x), F.gelu(x), F.elu(x)),
        T([-80.0, 80.0, -20.0, 20.0]),
    )
    yield "leaky_relu", lambda x: (F.leaky_relu(x), F.leaky_relu(x, 0.3), F.leaky_relu(x, -0.2)), x
    yield "elu alpha", lambda x: (F.elu(x, 0.5), F.celu(x), F.celu(x, 0.7), F.celu(x, 2.0)), x
    yield "gelu tanh", lambda x: F.gelu(x, approximate="tanh"), x
    yield "softplus beta", lambda x: (F.softplus(x, 2.0), F.softplus(x, 0.5, 1.0), F.softplus(x, 1, 3)), x
    yield "hardtanh", lambda x: (F.hardtanh(x), F.hardtanh(x, -0.5, 2.0)), x
    yield "shrink", lambda x: (F.hardshrink(x), F.hardshrink(x, 1.5), F.softshrink(x), F.softshrink(x, 1.0)), x
    yield "threshold", lambda x: (F.threshold(x, 0.5, -7.0), F.threshold(x, -1, 0)), x
    yield "prelu", lambda x, w: (F.prelu(x, w), F.prelu(x, w[:1])), r(2, 3, 5), r(3, seed=2)
    yield "prelu flat", lambda x, w: F.prelu(x, w), r(2, 3), r(3, seed=2)
    yield "rrelu", lambda x: F.rrelu(x), x
    yield "glu", lambda x: (F.glu(x), F.glu(x, -1)), x
    yield "glu first", lambda x: F.glu(x, 0), r(4, 3)
    yield "softmax", lambda x: (x.softmax(-1), x.softmax(0), F.softmax(x, 1, dtype=torch.float64)), x
    yield "log_softmax", lambda x: (x.log_softmax(-1), x.log_softmax(0), F.softmin(x, 1)), x
    yield "softmax of whole", lambda i: F.softmax(i, 0, dtype=torch.float32), ints(4)


def matrix():
    x, w, b = r(3, 4), r(5, 4, seed=1), r(5, seed=2)
    yield "linear", lambda x, w, b: (F.linear(x, w, b), F.linear(x, w)), x, w, b
    yield "linear deep", lambda x, w, b: (F.linear(x, w, b), F.linear(x[0, 0], w, b)), r(2, 3, 4), w, b
    yield "addmm", lambda x, w, b: (torch.addmm(b, x, w.t()), torch.addmm(b, x, w.t(), beta=0.5, alpha=2)), x, w, b
    yield "addmv", lambda w, b, v: torch.addmv(b, w, v, beta=2), w, b, r(4)
    yield "mm", lambda x, w: (x.mm(w.t()), x @ w.t(), torch.matmul(x[0], w.t())), x, w
    yield "bmm", lambda x, y: (x.bmm(y), x @ y, x @ y[0], x[0] @ y), r(2, 3, 4), r(2, 4, 5, seed=1)
    yield (
        "baddbmm",
        lambda x, y, b: (torch.baddbmm(b, x, y), torch.baddbmm(b, x, y, beta=0.5, alpha=2)),
        r(2, 3, 4),
        r(2, 4, 5),
        b,
    )
    yield "vectors", lambda x, y: (x @ y, x.dot(y), torch.outer(x, y)), r(4), r(4, seed=5)
    yield "mv", lambda x, y: (x.mv(y), x @ y), x, r(4)
    yield (
        "einsum",
        lambda x, y: (torch.einsum("bij,bjk->bik", x, y), torch.einsum("bij,bjk->b", x, y)),
        r(2, 3, 4),
        r(2, 4, 5),
    )
    yield "einsum more", lambda x: (torch.einsum("ij->ji", x), torch.einsum("ij,ij->i", x, x)), x
    yield "bilinear", lambda x, y, w, b: F.bilinear(x, y, w, b), r(3, 4), r(3, 2), r(5, 4, 2), r(5)
    yield "broadcast", lambda x, y: x @ y, r(2, 1, 3, 4), r(5, 4, 2)
    yield "cosine", lambda x, y: (F.cosine_similarity(x, y), F.cosine_similarity(x, y, dim=0)), x, r(3, 4, seed=4)
    yield "normalize", lambda x: (F.normalize(x), F.normalize(x, p=1, dim=0)), x


def convolutions():
    x1, w1, x2, w2, b = r(2, 4, 9), r(6, 4, 3, seed=1), r(2, 4, 7, 8), r(6, 4, 3, 2, seed=1), r(6)
    t1, t2, b4 = r(2, 6, 5), r(2, 6, 4, 3), r(4)
    w3, v3 = r(3, 2, 3, 2, 2), r(2, 3, 2, 2, 2)
    halves, ones = w1[:, :2], w1[:4, :1]
    short = w1[..., :2].clone()
    yield "conv1d", lambda x: (F.conv1d(x, w1, b), F.conv1d(x, w1, stride=2, padding=2, dilation=2)), x1
    yield "conv1d same", lambda x: [F.conv1d(x, w, None, 1, "same", d) for w in (w1, short) for d in (1, 3)], x1
    yield "conv1d valid", lambda x: F.conv1d(x, w1, padding="valid"), x1
    yield "conv1d groups", lambda x: (F.conv1d(x, halves, groups=2), F.conv1d(x, ones, groups=4)), x1
    yield "conv1d alone", lambda x: F.conv1d(x[0], w1), x1
    yield "conv2d", lambda x: (F.conv2d(x, w2, b), F.conv2d(x, w2, None, (2, 1), (1, 0), (1, 2))), x2
    yield "conv2d same", lambda x: F.conv2d(x, w2, padding="same"), x2
    yield "conv2d alone", lambda x: F.conv2d(x[0], w2, padding=1), x2
    yield "conv3d", lambda x: F.conv3d(x, w3, padding=1, stride=2), r(1, 2, 5, 4, 3)
    yield "turned1d", lambda x: (F.conv_transpose1d(x, w1, b4), F.conv_transpose1d(x, w1, None, 3, 1, 2)), t1
    yield "turned1d dilated", lambda x: F.conv_transpose1d(x, w1, dilation=2, groups=2), t1
    yield "turned1d alone", lambda x: F.conv_transpose1d(x[0], w1), t1
    yield "turned2d", lambda x: (F.conv_transpose2d(x, w2), F.conv_transpose2d(x, w2, None, 2, 1, 1)), t2
    yield "turned3d", lambda x: F.conv_transpose3d(x, v3, stride=2), r(1, 2, 3, 2, 2)
    yield "unfold", lambda x: (F.unfold(x, (3, 2), 2, 1, (2, 1)), F.unfold(x, 1), F.unfold(x[0], (2, 3))), x2
    yield (
        "fold",
        lambda x: (F.fold(x, (7, 8), (3, 2), 2, 1, (2, 3)), F.fold(x[0], (11, 9), (3, 2), 2, 1, (3, 3))),
        r(2, 12, 9),
    )


def pools():
    x1, x2, x3 = r(2, 3, 11), r(2, 3, 8, 9), r(1, 2, 5, 6, 7)
    for kind in ("max", "avg"):
        pool1, pool2, pool3 = (getattr(F, f"{kind}_pool{n}d") for n in (1, 2, 3))
        yield f"{kind} 1d", lambda x, f=pool1: (f(x, 3), f(x, 3, 2), f(x, 3, 2, 1), f(x[0], 2)), x1
        yield (
            f"{kind} 1d ceil",
            lambda x, f=pool1: [
                f(x, k, s, p, ceil_mode=True) for k, s, p in ((3, 2, 0), (2, 3, 1), (4, 3, 2), (3, 5, 1))
            ],
            x1,
        )
        yield f"{kind} 2d", lambda x, f=pool2: (f(x, 2), f(x, (3, 2), (2, 1), (1, 0)), f(x[0], 2)), x2
        yield f"{kind} 2d ceil", lambda x, f=pool2: (f(x, 3, 2, 1, ceil_mode=True), f(x, 2, 3, ceil_mode=True)), x2
        yield f"{kind} 3d", lambda x, f=pool3: f(x, 2), x3
    yield "max dilated", lambda x: F.max_pool1d(x, 3, 2, 1, 2), x1
    yield "max places", lambda x: F.max_pool2d(x, 2, 2, return_indices=True), x2
    yield "max places 1d", lambda x: F.max_pool1d(x, 3, 2, 1, return_indices=True), x1
    yield (
        "avg without pads",
        lambda x: (F.avg_pool1d(x, 3, 2, 1, count_include_pad=False), F.avg_pool1d(x, 4, 3, 2, True, False)),
        x1,
    )
    yield "avg divided", lambda x: F.avg_pool2d(x, 2, divisor_override=3), x2
    for kind in ("avg", "max"):
        a1, a2, a3 = (getattr(F, f"adaptive_{kind}_pool{n}d") for n in (1, 2, 3))
        yield f"adaptive {kind} 1d", lambda x, f=a1: [f(x, n) for n in (1, 2, 4, 7, 11)], x1
        yield (
            f"adaptive {kind} 2d",
            lambda x, f=a2: (f(x, 1), f(x, (4, 3)), f(x, (None, 5)), f(x, (3, 1)), f(x[0], 2)),
            x2,
        )
        yield f"adaptive {kind} 3d", lambda x, f=a3: f(x, 1), x3
    yield "lp", lambda x: F.lp_pool1d(x, 2, 3), x1
    yield "nearest", lambda x: (F.interpolate(x, 23), F.interpolate(x, scale_factor=2)), x1
    yield "nearest 2d", lambda x: (F.interpolate(x, (11, 5)), F.interpolate(x, scale_factor=(2, 1.5))), x2
    yield "linear", lambda x: [F.interpolate(x, 23, mode="linear", align_corners=c) for c in (False, True)], x1
    yield (
        "bilinear",
        lambda x: [F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=c) for c in (False, True)],
        x2,
    )
    yield "bicubic", lambda x: F.interpolate(x, (12, 13), mode="bicubic"), x2


def norms():
    x1, x2 = r(3, 6, 5), r(2, 6, 4, 3)
    mean, var, w, b = r(6), r(6, low=0.5, high=2), r(6, seed=3), r(6, seed=4)
    yield (
        "batch",
        lambda x, m, v, w, b: (F.batch_norm(x, m, v, w, b), F.batch_norm(x, m, v, eps=0.1)),
        x1,
        mean,
        var,
        w,
        b,
    )
    yield "batch flat", lambda x, m, v, w, b: F.batch_norm(x, m, v, w, b), r(4, 6), mean, var, w, b
    yield "batch 2d", lambda x, m, v, w, b: F.batch_norm(x, m, v, w, b), x2, mean, var, w, b
    yield "layer", lambda x, w, b: (F.layer_norm(x, (5,)), F.layer_norm(x, (6, 5), eps=0.1)), x1, w, b
    yield "layer affine", lambda x, w, b: (F.layer_norm(x, (6,), w, b), F.layer_norm(x, (6,), w)), r(3, 2, 6), w, b
    yield "group", lambda x, w, b: (F.group_norm(x, 2), F.group_norm(x, 3, w, b, 0.1), F.group_norm(x, 6)), x1, w, b
    yield "instance", lambda x, w, b: (F.instance_norm(x), F.instance_norm(x, weight=w, bias=b)), x1, w, b
    yield "instance kept", lambda x, m, v: F.instance_norm(x, m, v, use_input_stats=False), x2, mean, var
    yield "rms", lambda x, w: (F.rms_norm(x, (6,)), F.rms_norm(x, (6,), w, 0.1), F.rms_norm(x, (2, 6))), r(3, 2, 6), w
    yield "local response", lambda x: F.local_response_norm(x, 3), x2


def attentions():
    q, k, v = r(2, 3, 5, 4), r(2, 3, 6, 4, seed=1), r(2, 3, 6, 7, seed=2)
    mask = bools(5, 6, seed=3)
    mask[2] = False
    attend = F.scaled_dot_product_attention
    yield "plain", lambda q, k, v: (attend(q, k, v), attend(q, k, v, scale=0.3), attend(q[0], k[0], v[0])), q, k, v
    yield "mask", lambda q, k, v, m: attend(q, k, v, m), q, k, v, mask
    yield "added", lambda q, k, v, m: attend(q, k, v, m), q, k, v, r(2, 1, 5, 6)
    yield "causal", lambda q, k, v: attend(q, k, v, is_causal=True), q, k, v
    yield "shared", lambda q, k, v: attend(q, k, v, enable_gqa=True), r(1, 4, 5, 4), r(1, 2, 6, 4), r(1, 2, 6, 4)


def reductions():
    x, i, b = r(3, 4, 5), ints(3, 4), bools(3, 4)
    for name in ("sum", "mean", "amax", "amin"):
        yield (
            name,
            lambda x, f=name: [getattr(x, f)(dim=d, keepdim=k) for d in (0, -1, (1, 2)) for k in (False, True)],
            x,
        )
    yield "whole", lambda x: (x.sum(), x.mean(), x.amax(), x.max(), x.min(), x.prod(), x.std(), x.var()), x
    yield "of whole numbers", lambda i: (i.sum(), i.sum(1), i.amax(0), i.prod(1), i.max(), i.float().mean()), i
    yield (
        "sum dtype",
        lambda x, i, b: (x.sum(dtype=torch.float64), b.sum(), b.sum(1), i.sum(dtype=torch.int32)),
        x,
        i,
        b,
    )
    yield "prod", lambda x: (x.prod(1), x.prod(-1, keepdim=True)), x
    yield "truths", lambda b, x: (b.any(), b.all(), b.any(1), b.all(0, keepdim=True), (x > 1).any(), x.any(1)), b, x
    yield "places", lambda x: [*x.max(1), *x.min(0), *x.max(-1, keepdim=True)], x
    yield "argmax", lambda x: (x.argmax(), x.argmin(), x.argmax(1), x.argmin(-1, keepdim=True)), x
    yield "argmax of equal", lambda x: (x.argmax(1), x.argmin(1)), T([[1.0, 3, 3, 0, 0]])
    yield "var", lambda x: (x.var(1), x.var((0, 2), correction=0), x.std(1, correction=2), x.std(0, keepdim=True)), x
    yield (
        "var_mean",
        lambda x: [*torch.var_mean(x, 1), *torch.std_mean(x, (0, 1), keepdim=True), x.var(unbiased=False)],
        x,
    )
    yield "norm", lambda x: [torch.linalg.vector_norm(x, p, d) for p in (0, 1, 2, 3, INF, -INF) for d in (0, (1, 2))], x
    yield "norms", lambda x: (x.norm(), x.norm(dim=1), x.norm(p=1, dim=0, keepdim=True), torch.linalg.norm(x[0, 0])), x
    yield "logsumexp", lambda x: (x.logsumexp(1), x.logsumexp((0, 2), keepdim=True)), x
    yield "cumsum", lambda x, i: (x.cumsum(1), i.cumsum(0), x.cumsum(-1), i.bool().cumsum(1)), x, i
    yield "cumprod", lambda x: x.cumprod(1), x
    yield "count", lambda i: (i.count_nonzero(), i.count_nonzero(1)), i
    yield "topk", lambda x: [*x.topk(2), *x.topk(3, 1, largest=False)], x
    yield "sort", lambda x: [*x.sort(), *x.sort(1, descending=True), x.argsort(0)], x


def moves():
    x, y = r(2, 3, 4), r(2, 3, 4, seed=1)
    yield (
        "reshape",
        lambda x: (x.view(6, 4), x.reshape(-1, 2), x.flatten(), x.flatten(1), x.flatten(0, 1), x.view(-1)),
        x,
    )
    yield "unflatten", lambda x: (x.unflatten(2, (2, 2)), x.unflatten(-1, (2, -1)), x.view_as(x), x[..., None]), x
    yield (
        "squeeze",
        lambda x: (x.squeeze(), x.squeeze(0), x.squeeze(1), x.squeeze((0, 2)), x.unsqueeze(-1)),
        r(1, 3, 1, 2),
    )
    yield (
        "turn",
        lambda x: (x.permute(2, 0, 1), x.transpose(0, -1), x[0].t(), x.movedim(0, 2), x.mT, x.swapaxes(0, 1)),
        x,
    )
    yield (
        "expand",
        lambda x: (
            x[:, :1].expand(2, 5, 4),
            x.expand(3, -1, -1, -1),
            x[:, :1].expand_as(x),
            x.broadcast_to(2, 2, 3, 4),
        ),
        x,
    )
    yield (
        "repeat",
        lambda x: (
            x.repeat(1, 2, 3),
            x.repeat(2, 1, 1, 1),
            x.tile((2,)),
            x.repeat_interleave(2, 1),
            x.repeat_interleave(3),
        ),
        x,
    )
    yield (
        "slices",
        lambda x: (
            x[:, 1:],
            x[..., :-1],
            x[:, ::2],
            x[1],
            x[:, -1],
            x[:, 0:100],
            x[0, 1:, -2:],
            x.narrow(1, 1, 2),
            x.select(2, -1),
        ),
        x,
    )
    yield (
        "split",
        lambda x: [
            *x.split(2, 2),
            *x.split([1, 2], 1),
            *x.chunk(2, -1),
            *x.chunk(3, 2),
            *x.unbind(1),
            *x.tensor_split(3, 2),
        ],
        x,
    )
    yield (
        "join",
        lambda x, y: (torch.cat([x, y]), torch.cat([x, y, x], -1), torch.stack([x, y], 1), torch.hstack([x, y])),
        x,
        y,
    )
    yield "join mixed", lambda x, i: (torch.cat([x, i], 2), torch.stack([x[..., 0], i[..., 0]])), x, ints(2, 3, 4)
    yield "join nothing", lambda x: torch.cat([torch.zeros(0), x], 1), x
    yield "flip", lambda x: (x.flip(1), x.flip((0, 2)), x.flip(-1)), x
    yield "roll", lambda x: (x.roll(1, 1), x.roll(-2, 2), x.roll((1, 5), (0, 1)), x.roll(3)), x
    yield (
        "pad",
        lambda x: (F.pad(x, (1, 2)), F.pad(x, (0, 1, 2, 0), value=-1.5), F.pad(x, (-1, 0)), F.pad(x, (1, -2))),
        x,
    )
    yield "pad modes", lambda x: [F.pad(x, (1, 2), mode=m) for m in ("reflect", "replicate", "circular")], x
    yield (
        "pad 2d",
        lambda x: [F.pad(x, (1, 2, 2, 1), mode=m) for m in ("reflect", "replicate", "circular")],
        r(2, 3, 4, 5),
    )
    yield "triangle", lambda x: (x.triu(), x.tril(), x.triu(1), x.tril(-1)), x
    yield "types", lambda x: (x.to(torch.int32), x.long(), x.double(), x.bool(), x.to(torch.int8)), x
    yield "types of", lambda x, i: (x.type_as(i), i.to(x), i.float(), i.to(x.dtype)), x, ints(2, 3)
    yield (
        "same",
        lambda x: (x.clone(), x.contiguous(), x.detach(), F.dropout(x, 0.5, False), x.permute(1, 0, 2).contiguous()),
        x,
    )
    yield "shuffle", lambda x: (F.pixel_shuffle(x, 2), F.pixel_unshuffle(x, 2)), r(2, 8, 4, 6)
    yield "unfold", lambda x: (x.unfold(1, 2, 1), x.unfold(2, 3, 1), x.unfold(2, 2, 2)), x
    yield (
        "meshgrid",
        lambda a, b: [*torch.meshgrid(a, b, indexing="ij"), *torch.meshgrid(a, b, indexing="xy")],
        r(3),
        r(2),
    )
    yield (
        "strided",
        lambda x: (x.as_strided((2, 2), (1, 5), 3), x.as_strided((2, 3, 4), (12, 4, 1)), x.as_strided((3, 3), (1, 0))),
        x,
    )
    yield "diff", lambda x: (x.diff(), x.diff(dim=1)), x


def indexing():
    x, i = r(4, 5, 6), ints(3, low=-4, high=4)
    yield (
        "embedding",
        lambda w, i: (F.embedding(i, w), F.embedding(i, w, padding_idx=0)),
        r(9, 4),
        ints(2, 3, low=0, high=9),
    )
    yield "gather", lambda x, i: (x.gather(1, i), x.gather(0, i[:, :2])), x, ints(4, 3, 6, low=0, high=4)
    yield "along", lambda x, i: torch.take_along_dim(x, i, 1), x, ints(4, 3, 6, low=0, high=4)
    yield "select", lambda x, i: (x.index_select(1, i), x.index_select(-1, i.int())), x, ints(3, low=0, high=5)
    yield "index", lambda x, i: (x[i], x[:, i], x[..., i], x[[0, 2]], x[i[:, None]]), x, i
    yield (
        "index pairs",
        lambda x, i, j: (x[i, j], x[:, i, j], x[i, :, j], x[i[:, None], j]),
        x,
        i,
        ints(3, low=0, high=5, seed=8),
    )
    yield "put", lambda x, i, v: x.index_put((i,), v), x, T([2, 0]), r(2, 5, 6)
    yield (
        "put pairs",
        lambda x, i: (x.index_put((i, i), T(7.0)), x.index_put((i,), T(1.0), accumulate=True)),
        x,
        T([2, 0, 2]),
    )
    yield "put mask", lambda x: x.index_put((x > 1,), T(0.0)), x
    yield (
        "scatter",
        lambda x, i, s: (x.scatter(1, i, s), x.scatter(1, i, 7.0), x.scatter_add(1, i, s)),
        x,
        ints(4, 2, 6, low=0, high=5),
        r(4, 3, 6),
    )
    yield (
        "put slices",
        lambda x, s: (torch.select_scatter(x, s[:, 0], 1, -1), torch.slice_scatter(x, s, 1, 1, 3)),
        x,
        r(4, 2, 6),
    )
    yield "put steps", lambda x, s: torch.slice_scatter(x, s, 1, 0, 4, 2), x, r(4, 2, 6)
    yield "one_hot", lambda i: F.one_hot(i, 5), ints(2, 3, low=0, high=5)
    yield (
        "rows",
        lambda x, i, s: (
            x.index_add(1, i, s),
            x.index_copy(1, i, s),
            x.index_fill(1, i, 2.0),
            x.index_add(1, i, s, alpha=2),
        ),
        x,
        T([3, 0]),
        r(4, 2, 6),
    )


def creation():
    x = r(2, 3)
    yield (
        "filled",
        lambda x: (torch.zeros(2, 3) + x, torch.ones(3) * x, torch.full((2, 3), 1.5) + x, torch.full((2,), 3)),
        x,
    )
    yield "like", lambda x: (torch.zeros_like(x), torch.ones_like(x, dtype=torch.int64), torch.full_like(x, 2.5)), x
    yield (
        "new",
        lambda x: (x.new_zeros(3), x.new_ones(2, 2), x.new_full((2,), 1.5), x.new_tensor([1.0, 2.0]) + x[:, :2]),
        x,
    )
    yield (
        "arange",
        lambda x: (torch.arange(5), torch.arange(1, 7, 2), torch.arange(0, 1, 0.25), torch.arange(3.0) + x),
        x,
    )
    yield (
        "linspace",
        lambda x: (torch.linspace(0, 1, 5), torch.eye(3) @ x.t(), torch.tensor([1, 2]), torch.eye(2, 3)),
        x,
    )
    yield "scalars", lambda x: (x + torch.tensor(2), torch.scalar_tensor(2.5) * x, torch.tensor(True) & (x > 0)), x


def test_operators_are_in_the_docs():
    text = (
        (Path(__file__).parents[3] / "docs" / "models.md").read_text().partition("## PyTorch")[2].partition("## How")[0]
    )
    names = set(re.findall(r"\w+", text))
    variants = r"_copy$|_with_indices$|_forward$|_with_noise_functional$|_strided$|_permuted$"  # of decomposed programs
    inner = ("_", "unsafe_", "math", "torch", "sym_", "reflection_", "replication_", "lift_fresh")
    own = {re.sub(variants, "", name.partition(".")[0]) for name in OPERATORS}
    assert not {name for name in own - names if not name.startswith(inner)}


FAMILIES = [arithmetic, comparisons, functions, activations, matrix, convolutions, pools, norms, attentions, reductions]
FAMILIES += [moves, indexing, creation]


def compare(family, decomposed):
    cases = {name: (function, *inputs) for name, function, *inputs in family()}
    module = torch_programs.Cases(cases)
    inputs = (module.inputs(),)
    data = torch_programs.exported(module, inputs, decomposed=decomposed)
    torch_programs.check(data, module, inputs)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.__name__)
def test_operators(family):
    compare(family, False)


@pytest.mark.parametrize("family", [convolutions, norms, attentions, creation], ids=lambda one: one.__name__)
def test_operators_of_decomposed_programs(family):
    compare(family, True)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.__name__)
def test_more_operators_of_decomposed_programs(family):
    compare(family, True)
