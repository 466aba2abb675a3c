"""Small graphs for tests, put together node by node, and what must hold of a rewritten one."""

import numpy as np

from fusedlstm.graph import Graph, Value, evaluate, node
from fusedlstm.graph.passes import fold, simplify
from fusedlstm.graph.specialise import deciding_inputs, specialise

FLOAT, INT = np.dtype(np.float32), np.dtype(np.int64)


def random(*shape, seed=0, scale=1.0):
    return (np.random.default_rng([seed, *shape]).standard_normal(shape) * scale).astype(np.float32)


class Builder:
    """Nodes one after the other; each call gives the name of its first output."""

    def __init__(self, **inputs):
        self.inputs = [
            Value(name, *(kind if isinstance(kind, tuple) and isinstance(kind[0], np.dtype) else (FLOAT, kind)))
            for name, kind in inputs.items()
        ]
        self.nodes, self.constants, self.count = [], {}, 0
        self.prefix = ""

    def name(self):
        self.count += 1
        return f"{self.prefix}t{self.count}"

    def const(self, value, dtype=None):
        name = self.name()
        self.constants[name] = np.asarray(value, dtype or (np.float32 if np.asarray(value).dtype.kind == "f" else None))
        return name

    def __call__(self, op, *inputs, outputs=1, **attributes):
        names = [one if isinstance(one, str) else self.const(one) for one in inputs]
        made = [self.name() for _ in range(outputs)]
        self.nodes.append(node(op, names, made, **attributes))
        return made[0] if outputs == 1 else made

    def graph(self, *outputs):
        return Graph(self.inputs, [Value(name) for name in outputs], self.nodes, self.constants)


def ops(graph):
    """The operators of a graph, those inside nodes as well."""
    return [one.op for _, one in graph.walk()]


def values_for(graph, seed=0, **sizes):
    """Random inputs; open sizes are given by name, 3 by default."""
    return {
        value.name: random(
            *(size if isinstance(size, int) else sizes.get(str(size), 3) for size in value.shape), seed=seed + k
        )
        if value.dtype.kind == "f"
        else np.zeros(value.shape, value.dtype)
        for k, value in enumerate(graph.inputs)
    }


def close(found, wanted, tolerance=2e-5, least=1e-3):
    for name, value in wanted.items():
        assert found[name].shape == value.shape and found[name].dtype == value.dtype, name
        scale = max(np.abs(value).max(initial=0), least) if value.dtype.kind == "f" else 1
        np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance * scale)


def simplified(graph, inputs=None, **sizes):
    """The graph after all passes; it computes the same, and so it does for the shapes of one call."""
    rewritten = simplify(graph)
    Graph(rewritten.inputs, rewritten.outputs, rewritten.nodes, rewritten.constants)  # names and order hold
    inputs = inputs or values_for(graph, **sizes)
    wanted = evaluate(graph, inputs)
    close(evaluate(rewritten, inputs), wanted)
    close(evaluate(fold(graph), inputs), wanted)
    values = {name: inputs[name] for name in deciding_inputs(rewritten)}
    special = specialise(rewritten, {name: value.shape for name, value in inputs.items()}, values)
    close(evaluate(special, inputs), wanted)
    for one in special.nodes:
        for name in filter(None, one.outputs):
            assert all(type(size) is int for size in special.types[name].shape)
    return rewritten
