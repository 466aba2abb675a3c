"""What the names in PyTorch's pickles mean: storages and tensors, unchecked; nothing is built.

Calls of functions that rebuild tensors are recognised by name and become :class:`Tensor`, NumPy's arrays
:class:`~..containers.ndarrays.Array`; every other object (settings, optimisers, modules, TorchScript's) is a
:class:`~..containers.pickle.Box`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ...errors import FormatError
from ..containers.ndarrays import ArrayUnpickler, Text
from ..containers.pickle import Box, Global

RESAVE = "save the tensors alone where it was made: torch.save(model.state_dict(), path)"


@dataclass(frozen=True)
class Storage:
    """The persistent id of a storage: `numel` elements of type `kind` in the record `key`; seen from `start` on."""

    kind: str
    key: str
    numel: int
    start: int = 0


@dataclass(frozen=True)
class Tensor:
    """The arguments of a call that rebuilds a tensor, unchecked; `kind` is a storage's or dtype's name."""

    kind: str
    storage: Any
    offset: Any
    size: Any
    stride: Any
    metadata: Any


@dataclass(eq=False)
class Saved:
    """A storage that was pickled as the bytes of a file of its own: what `pickle.dump` makes of a tensor."""

    data: bytes | Text
    parsed: Any = None


_STORAGE = re.compile(r"torch(?:\.cuda|\.storage)?\.(\w+Storage)")
_REBUILT_TYPE = ("torch._tensor._rebuild_from_type_v2", "torch._tensor._rebuild_from_type")
_PLAIN_TYPES = ("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer")
_REBUILT = tuple(f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3"))
_PASSED_ON = (
    *("torch.jit._pickle.restore_type_tag", "torch.Size"),
    *("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"),
    "torch._utils._rebuild_device_tensor_from_numpy",
)


class TorchUnpickler(ArrayUnpickler):
    """The pickles that ``torch.save`` and ``torch.jit.save`` write."""

    def call(self, function: Global, arguments: tuple[Any, ...]) -> Any:
        """A tensor, an array, what a wrapper holds, a plain container; a box for another object."""
        if function.name in _REBUILT_TYPE:
            match arguments:
                case (Global(inner), Global(kind), tuple() as rest, _) if inner not in _REBUILT_TYPE:
                    return self.call(Global(inner), rest) if kind in _PLAIN_TYPES else Box(kind, rest)
            return Box(function.name)
        match function.name, arguments[:8]:  # a long tuple would be copied each time
            case name, (first, *_) if name in _PASSED_ON:
                return first
            case "torch._utils._rebuild_tensor", (storage, offset, size, stride) if _is_storage(storage):
                return Tensor(getattr(storage, "kind", ""), storage, offset, size, stride, None)
            case "torch._utils._rebuild_tensor_v2", (storage, offset, size, stride, _, _, *more) if _is_storage(
                storage
            ):
                return Tensor(getattr(storage, "kind", ""), storage, offset, size, stride, more[0] if more else None)
            case "torch._utils._rebuild_tensor_v3", (storage, offset, size, stride, _, _, Global(dtype), *more):
                return Tensor(dtype, storage, offset, size, stride, more[0] if more else None)
            case "torch.storage._load_from_bytes", (bytes() | Text() as data,):
                return Saved(data)
            case name, _ if name in (*_PASSED_ON, *_REBUILT):
                raise FormatError(f"{self.where}: expected the arguments of {name}, found others")
        return super().call(function, arguments)

    def persistent(self, identifier: Any) -> Storage | Global:
        """A storage; the class of a module, which old versions save with its source."""
        match identifier:
            case ("module", Global() as kind, _, _):
                return kind
            case ("storage", Global(kind), str() as key, _, int() as numel, *view) if 0 <= numel < 2**63:
                start = 0
                match view:
                    case [(_, int() as start, int())] if 0 <= start <= numel:  # what is outside is refused when read
                        pass
                    case [] | [None]:
                        pass
                    case _:
                        kind = ""
                if match := _STORAGE.fullmatch(kind):
                    return Storage(match[1], key, numel, start)
        raise FormatError(
            f"{self.where}: expected the persistent id of a storage (type, key, location, size), found another"
        )


def _is_storage(value: Any) -> bool:
    return isinstance(value, Storage | Saved)
