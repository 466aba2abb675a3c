"""Where the initial state of an ONNX LSTM comes from: the caller, or the model itself."""

from __future__ import annotations

from ..weights import FormatError
from ._onnx_fold import Constants
from ._onnx_graph import Scope, attributes, is_op, to_array

# Operators whose output holds nothing but elements of their first input.
_CARRIES = ("Identity", "Transpose", "Reshape", "Unsqueeze", "Squeeze", "Slice", "Split", "Cast", "Gather")
_REPEATS = ("Expand", "Tile")


def check_state(scope: Scope, name: str, constants: Constants) -> None:
    """Refuse an initial state that the model fixes to anything but zeros.

    Zeros of a shape known only at run time are fine, and so is whatever depends on the model's inputs: the caller
    passes it.
    """
    stack, seen = [(scope, name)], set()
    while stack:
        scope, name = stack.pop()
        home = scope.find(name)
        if (home, name) in seen:
            continue
        seen.add((home, name))
        node = home.nodes.get(name)
        if node is None or is_op(node, "Constant"):
            fine = name in home.runtime or not constants.get(home, name).any()
        elif is_op(node, "ConstantOfShape"):
            fill = attributes(node).get("value")
            fine = fill is None or not to_array(name, fill).any()
        elif is_op(node, "Concat"):
            stack.extend((home, one) for one in node.input)
            continue
        elif is_op(node, *_CARRIES, *_REPEATS) and name not in home.runtime:
            stack.extend((home, one) for one in node.input[:1])
            continue
        else:
            fine = name in home.runtime
        if not fine:
            raise FormatError(
                f"expected zeros or a state that the caller passes, found one that the model fixes (tensor {name!r}); "
                "a learned initial state is not supported yet"
            )
