"""The code in a TorchScript archive, of which one thing is read: whether an LSTM is batch first. Nothing is run.

A scripted LSTM's class says ``batch_first : Final[bool] = False``; a traced one calls ``torch.lstm(..., False)``, whose
last argument it is.
"""

from __future__ import annotations

import re
from contextlib import suppress

from ...errors import FormatError
from ..containers.zip import Archive

MAX_CODE = 4 << 20
"""Of one file of classes."""

_CLASS = re.compile(r"^class (\w+)\(", re.MULTILINE)
_SAID = re.compile(r"^  batch_first : Final\[bool\] = (True|False)$", re.MULTILINE)
_LIST = r"(?:\w{1,100}|\[[^\]]{0,500}\])"
# Not the call for packed sequences, whose fourth argument is a list of tensors and whose last the directions.
_CALLED = re.compile(
    rf"\btorch\.lstm\(\w{{1,100}}, {_LIST}, {_LIST}, (?:True|False), \d+, [^,()]{{1,100}}, \w{{1,100}}, "
    r"(?:True|False), (True|False)\)"
)


class Code:
    """The classes of an archive; `root` is the folder that holds everything, with its slash."""

    def __init__(self, archive: Archive, root: str) -> None:
        self._archive, self._root = archive, root
        self._classes: dict[str, dict[str, str]] = {}

    def batch_first(self, kind: str) -> bool | None:
        """What the class of an LSTM says of its layout; None of another class, or where it says nothing definite."""
        module, _, name = kind.rpartition(".")
        if not name.startswith("LSTM"):
            return None
        text = self._of(module).get(name, "")
        said = set(_SAID.findall(text)) or set(_CALLED.findall(text))
        return said == {"True"} if len(said) == 1 else None

    def _of(self, module: str) -> dict[str, str]:
        """The classes of a module by name; none where its code cannot be read, as it is not needed."""
        if module not in self._classes:
            member = f"{self._root}code/{module.replace('.', '/')}.py"
            text = ""
            if member in self._archive and self._archive.size(member) <= MAX_CODE:
                with suppress(FormatError):
                    text = self._archive.read(member).decode("utf-8", "replace")
            parts = _CLASS.split(text)  # what stands before the first class, then names and bodies in turn
            self._classes[module] = dict(zip(parts[1::2], parts[2::2]))
        return self._classes[module]
