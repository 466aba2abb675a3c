"""Products of matrices."""

from __future__ import annotations

from ....errors import FormatError
from .call import Call
from .promotion import given
from .registry import operator


@operator("linear.default")
def _linear(call: Call) -> str:
    x, w = call.tensor("input"), call.tensor("weight")
    bias = [call.tensor("bias")] if call.has("bias") else []
    if call.rank(w) == 1:
        made = call.op("MatMul", x, w)
        return call.op("Add", made, *bias) if bias else made
    if call.rank(x) == 2:
        return call.op("Gemm", x, w, *bias, transB=1)
    made = call.op("MatMul", x, call.transpose(w, 1, 0))
    return call.op("Add", made, *bias) if bias else made


@operator("addmm.default")
def _addmm(call: Call) -> str:
    alpha, beta = call.number("alpha", 1), call.number("beta", 1)
    inputs = [call.tensor(name) for name in ("mat1", "mat2", "self")]
    return call.op("Gemm", *inputs, alpha=alpha, beta=beta)


@operator("addmv.default", "baddbmm.default", "addbmm.default")
def _add_product(call: Call) -> str:
    names = {"addmv": ("mat", "vec")}.get(call.kind.partition(".")[0], ("batch1", "batch2"))
    x = call.tensor("self")
    product = call.op("MatMul", *(call.tensor(name) for name in names))
    if call.kind.startswith("addbmm"):
        product = call.op("ReduceSum", product, call.int_list(0), keepdims=0)
    scaled = []
    for one, factor in ((x, call.number("beta", 1)), (product, call.number("alpha", 1))):
        scaled.append(one if factor == 1 else call.op("Mul", one, *given(call, call.kind_of(x), factor)))
    return call.op("Add", *scaled)


@operator("mm.default", "bmm.default", "matmul.default", "mv.default", "dot.default", "vdot.default")
def _matmul(call: Call) -> str:
    names = {"mm": ("self", "mat2"), "bmm": ("self", "mat2"), "mv": ("self", "vec"), "dot": ("self", "tensor")}
    return call.op("MatMul", *map(call.tensor, names.get(call.kind.partition(".")[0], ("self", "other"))))


@operator("outer.default", "ger.default")
def _outer(call: Call) -> str:
    return call.op("Mul", call.unsqueeze(call.tensor("self"), 1), call.unsqueeze(call.tensor("vec2"), 0))


@operator("einsum.default")
def _einsum(call: Call) -> str:
    equation, tensors = call.value("equation"), call.tensors("tensors")
    if not isinstance(equation, str) or len(equation) > 200:
        raise FormatError(f"equation: expected a short one, found {str(equation)[:80]!r}")
    return call.op("Einsum", *tensors, equation=equation.replace(" ", ""))


@operator("_trilinear.default")
def _trilinear(call: Call) -> str:
    """A product of three with sums over some axes; axes are put in where `expand` says."""
    parts = []
    for k in range(1, 4):
        x = call.tensor(f"i{k}")
        for axis in call.ints(f"expand{k}"):
            x = call.unsqueeze(x, call.axis(axis, call.rank(x) + 1))
        parts.append(x)
    product = call.op("Mul", call.op("Mul", parts[0], parts[2]), parts[1])
    axes = call.ints("sumdim")
    return call.op("ReduceSum", product, call.int_list(*axes), keepdims=0) if axes else product


@operator("bilinear.default")
def _bilinear(call: Call) -> str:
    tensors = [call.tensor(name) for name in ("input1", "weight", "input2")]
    made = call.op("Einsum", *tensors, equation="...i,oij,...j->...o")
    return call.op("Add", made, call.tensor("bias")) if call.has("bias") else made
