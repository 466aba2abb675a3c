"""ONNX's own tests of every operator that graphs take: right, or refused by name and counted."""

import re
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from onnx_models import numpy_helper, onnx
from planned import run_special

from fusedlstm.errors import FormatError
from fusedlstm.formats.onnx.upgrade import _UPGRADES, NEWEST, OLDEST
from fusedlstm.formats.onnx.whole import from_proto
from fusedlstm.graph import OPERATORS, evaluate
from fusedlstm.graph.passes import fold, simplify
from fusedlstm.graph.specialise import deciding_inputs, specialise

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnx.backend.test.loader import load_model_tests

    CASES = load_model_tests(kind="node")

OURS = {*OPERATORS, *_UPGRADES}
# Refused when they run: which inputs ask for training is known only then.
TRAINING = r"test_training_dropout\w*"
TYPES = "expected a type of numbers that is supported"


def of_ours(case):
    """Whether a case holds operators of ours alone."""
    return all(one.op_type in OURS and one.domain in ("", "ai.onnx") for one in case.model.graph.node)


WANTED = [case for case in CASES if case.model is not None and of_ours(case)]


def arrays(values):
    return [numpy_helper.to_array(one) if hasattr(one, "data_type") else np.asarray(one) for one in values]


def refusal(case):
    """Why a case is refused, "" if it is not."""
    if re.fullmatch(TRAINING, case.name):
        return "training"
    try:
        return "; ".join(from_proto(case.model).refusals)
    except FormatError as error:
        return str(error)


def test_each_is_right():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        right = 0
        for case in WANTED:
            if refusal(case):
                continue
            right += 1
            graph = from_proto(case.model)
            for inputs, outputs in case.data_sets:
                fed = {value.name: array for value, array in zip(graph.inputs, arrays(inputs))}
                for one in (graph, fold(graph), simplify(graph)):
                    check(case, evaluate(one, fed), arrays(outputs))
                special = specialised(simplify(graph), fed)
                if special is not None:
                    check(case, evaluate(special, fed), arrays(outputs))
    assert right >= 1350


WITHOUT_STEPS = "has no steps yet|weights that are computed|arithmetic on uint64"


def test_each_runs():
    """The same by the engine."""
    right, without = 0, Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in WANTED:
            if refusal(case):
                continue
            graph = simplify(from_proto(case.model))
            for inputs, outputs in case.data_sets:
                fed = {value.name: array for value, array in zip(graph.inputs, arrays(inputs))}
                special = specialised(graph, fed)
                if special is None:
                    continue
                try:
                    found = run_special(special, fed)
                except FormatError as error:
                    without[str(error)] += 1
                    continue
                right += 1
                check(case, dict(zip((value.name for value in special.outputs), found)), arrays(outputs))
    assert all(re.search(WITHOUT_STEPS, reason) for reason in without), without
    assert right >= 1270


def specialised(graph, fed):
    """The graph for these shapes; None if its shapes depend on what it computes."""
    values = {name: fed[name] for name in deciding_inputs(graph)}
    try:
        return specialise(graph, {name: value.shape for name, value in fed.items()}, values)
    except FormatError as error:
        if not re.search("depends on values|no LSTM is not supported", str(error)):
            raise
        return None


def check(case, found, wanted):
    for (name, array), expected in zip(found.items(), wanted):
        where = f"{case.name} {name}"
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape), where
        half = np.float16 in (array.dtype, *(one.dtype for one in arrays(case.data_sets[0][0])))
        np.testing.assert_allclose(
            array.astype(np.float64),
            expected.astype(np.float64),
            rtol=2e-3 if half else 5e-4,
            atol=1e-3 if half else 1e-6,
            err_msg=where,
        )


def test_what_is_refused_is_counted():
    reasons = Counter()
    for case in WANTED:
        reason = refusal(case)
        if reason:
            kind = "type" if TYPES in reason or "bfloat16" in reason else reason
            reasons[re.sub(r"^.*?: ", "", kind)[:60]] += 1
    types = reasons.pop("type")
    others = sum(reasons.values())
    # float8, float4, int4, int2, bfloat16, text: types that NumPy does not have, nearly all of them in tests of Cast.
    assert types <= 200, types
    assert others <= len(WANTED) // 50, reasons


@pytest.mark.parametrize("op", sorted(set(OPERATORS) - {"Cast"}))
def test_attributes_are_those_of_the_specification(op):
    """In every operator set that is read: none that ours does not take, but for what is said in another way now."""
    if "." in op:
        pytest.skip("our own")
    seen = set()
    for version in range(OLDEST, NEWEST + 1):
        try:
            schema = onnx.defs.get_schema(op, version)
        except onnx.defs.SchemaError:
            continue
        if schema.since_version in seen or op in _UPGRADES:
            continue
        seen.add(schema.since_version)
        assert set(schema.attributes) - {"stash_type"} <= set(OPERATORS[op].attributes)
        for name, attribute in schema.attributes.items():
            known = OPERATORS[op].attributes.get(name)
            if known is None or name == "activations" or not attribute.default_value.type:
                continue
            default = onnx.helper.get_attribute_value(attribute.default_value)
            default = default.decode() if isinstance(default, bytes) else default
            default = tuple(default) if isinstance(default, list) else default
            if known.kind == "a dtype":
                assert known.default is None
            else:
                assert known.default == (pytest.approx(default) if isinstance(default, float) else default), name


def test_the_table_in_the_documentation_names_each():
    text = (Path(__file__).parents[2] / "docs" / "operators.md").read_text().partition("## What passes")[0]
    rows = re.findall(r"^\| `([\w.]+)`", text, re.MULTILINE)
    assert sorted(rows) == sorted(OPERATORS)
