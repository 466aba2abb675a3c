"""What the names in PyTorch's pickles mean: storages and tensors, unchecked; nothing is built.

Calls of functions that rebuild tensors are recognised by name and become :class:`Tensor`; what else a checkpoint may
carry (settings, dates, NumPy scalars) becomes ``IGNORED``; an object of a class that TorchScript defines becomes
:class:`Attributes`; every other name is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ...errors import FormatError
from ..containers.pickle import IGNORED, Attributes, Global, Unpickler

RESAVE = "save the tensors alone where it was made: torch.save(model.state_dict(), path)"


@dataclass(frozen=True)
class Storage:
    """The persistent id of a storage: `numel` elements of type `kind` in the record `key`."""

    kind: str
    key: str
    numel: int


@dataclass(frozen=True)
class Tensor:
    """The arguments of a call that rebuilds a tensor, unchecked; `kind` is a storage's or dtype's name."""

    kind: str
    storage: Any
    offset: Any
    size: Any
    stride: Any
    metadata: Any


_STORAGE = re.compile(r"torch(?:\.cuda|\.storage)?\.(\w+Storage)")
# Names whose objects hold no weights. They are carried as IGNORED: naming them runs nothing.
_HARMLESS = re.compile(
    r"(?:__builtin__|builtins)\.(?:bool|bytearray|bytes|complex|dict|float|frozenset|int|list|object|range|set|slice|str|tuple"
    r"|long|unicode|xrange)"
    r"|_codecs\.encode|argparse\.Namespace|collections\.(?:Counter|OrderedDict|defaultdict|deque)"
    r"|datetime\.\w+|decimal\.Decimal|pathlib(?:\._local)?\.\w*Path|uuid\.UUID"
    r"|numpy\.(?:dtype|ndarray|dtypes\.\w+DType|_?core\.(?:multiarray|numeric)\.(?:scalar|_reconstruct|_frombuffer))"
    r"|torch\.(?:Size|Tensor|device|bool|[a-z]+[0-9]+\w*|per_(?:tensor|channel)_\w+)|torch(?:\.cuda|\.storage)?\.\w+Storage"
    r"|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_\w+|torch\.serialization\._get_layout"
    r"|__torch__\.[\w.]+|torch\.jit\._pickle\.\w+"
    r"|torch\.nn\.parameter\.(?:Parameter|Buffer)|(?:pytorch_)?lightning\.[\w.]+\.AttributeDict"
)
_REBUILT_TYPE = "torch._tensor._rebuild_from_type_v2"
_REBUILT = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3")
_PASSED_ON = (
    *("torch.jit._pickle.restore_type_tag", "torch.Size"),
    *("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"),
)


class TorchUnpickler(Unpickler):
    """The pickles in the zip files that ``torch.save`` and ``torch.jit.save`` write."""

    def find(self, name: str) -> Global:
        """A name that runs nothing."""
        if _HARMLESS.fullmatch(name):
            return Global(name)
        what = "a whole pickled module" if name.startswith("torch.nn.") else "an object that is no plain data"
        raise FormatError(
            f"{self.where}: expected a state dict, found {what} ({name!r}), not loaded because that runs code; {RESAVE}"
        )

    def call(self, function: Global, arguments: tuple[Any, ...]) -> Any:
        """A tensor, what a wrapper holds, a dictionary; `IGNORED` for another object."""
        if function.name == _REBUILT_TYPE:
            match arguments:
                case (Global(inner), Global("torch.Tensor" | "torch.nn.parameter.Parameter"), tuple() as rest, _):
                    return IGNORED if inner == _REBUILT_TYPE else self.call(Global(inner), rest)
            return IGNORED
        if function.name.startswith("__torch__."):
            return Attributes(function.name)
        match function.name, arguments[:8]:  # a long tuple would be copied each time
            case (("collections.OrderedDict" | "collections.defaultdict"), _):
                return {}
            case name, (first, *_) if name in _PASSED_ON:
                return first
            case "torch._utils._rebuild_tensor_v2", (Storage() as storage, offset, size, stride, _, _, *more):
                return Tensor(storage.kind, storage, offset, size, stride, more[0] if more else None)
            case "torch._utils._rebuild_tensor_v3", (storage, offset, size, stride, _, _, Global(dtype), *more):
                return Tensor(dtype, storage, offset, size, stride, more[0] if more else None)
            case name, _ if name in (*_PASSED_ON, *_REBUILT):
                raise FormatError(f"{self.where}: expected the arguments of {name}, found others")
        return IGNORED

    def persistent(self, identifier: Any) -> Storage:
        """A storage."""
        match identifier:
            case ("storage", Global(kind), str() as key, _, int() as numel) if 0 <= numel < 2**63:
                if match := _STORAGE.fullmatch(kind):
                    return Storage(match[1], key, numel)
        raise FormatError(
            f"{self.where}: expected the persistent id of a storage (type, key, location, size), found another"
        )
