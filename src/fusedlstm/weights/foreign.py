"""Tensors beside an LSTM's own: what they may be, and which LSTM they would change.

nn.LSTM has no other tensors than its own, so anything else under its path belongs to something that computes another
way: an adapter, a mask, a scale, peepholes, a norm. Wrappers keep such tensors one level up, beside the LSTM that they
wrap (``lstm.base_layer.weight_ih_l0``, ``lstm.lora_A.weight``), or anywhere under the LSTM's name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from .named import ignored

_ADAPTER = re.compile(
    r"(?:lora|loha|lokr|locon|lycoris|hada|dora|ia3|vera|boft|oft|adalora|peft|adapters?|delta)(?![a-z]).*", re.I | re.S
)
# Where a wrapper keeps what it wraps; whatever lies beside that is the wrapper's own.
_WRAPPED = ("base_layer", "base_module", "original_module", "original_layer", "org_module", "orig_module")
# What other cells keep under an LSTM's path.
_OTHER_CELL = re.compile(
    r"bias|bias_(?!ih|hh).+|weight_(?!ih|hh|hr).+|w_?[cifo]{1,2}(?:_diag)?|(?:peephole|gamma|beta|zoneout).*"
    r"|(?:(?:layer_?)?norm|ln)(?:_?[a-z]+)?_?[0-9]*(?:\..+)?",
    re.IGNORECASE,
)
# What a checkpoint holds beside a state dict at its top, and no LSTM.
_BESIDES = re.compile(r"(?:optim\w*|opt|opt_state|(?:lr_)?schedulers?|scaler|ema\w*)\..*", re.DOTALL)


def foreign(names: Iterable[tuple[str, str | None]], paths: Collection[str], ignore: tuple[str, ...]) -> dict[str, str]:
    """What to say of each LSTM, by its path, that has tensors beside its own.

    Parameters
    ----------
    names : iterable of (str, str or None)
        Tensors, each with the path of the LSTM that it is part of; None where it is not understood.
    paths : collection of str
        Of the LSTMs, without a dot at the end.
    ignore : tuple of str
        Patterns of names to leave out.
    """
    # Only what is as long as a path can be one: names may have any number of dots.
    under: dict[int, set[str]] = {}
    beside: dict[int, dict[str, str]] = {}
    children: dict[str, list[str]] = {}
    for path in paths:
        parent, _, last = path.rpartition(".")
        under.setdefault(len(path), set()).add(path)
        children.setdefault(parent, []).append(path)
        if last in _WRAPPED:
            beside.setdefault(len(parent), {})[parent] = path
    flat = {path.replace(".", "_"): path for path in paths if path}
    refused: dict[str, str] = {}
    for name, owner in names:
        owners = [path for path in _prefixes(name, under) if path in under[len(path)]]
        owners += [beside[len(one)][one] for one in _prefixes(name, beside) if one in beside[len(one)]]
        owners += [] if owner is not None else _adapted(name, paths, children, flat)
        owners = [path for path in dict.fromkeys(owners) if path not in refused and path != owner]
        if owners and not ignored(name, ignore):
            for path in owners:
                if path or not _BESIDES.fullmatch(name):
                    refused[path] = _message(name, path)
    return refused


def _prefixes(name: str, lengths: Iterable[int]) -> list[str]:
    """What a name starts with, in whole parts, of these lengths."""
    return [name[:length] for length in lengths if length == 0 or name[length : length + 1] == "."]


def _adapted(name: str, paths: Collection[str], children: dict[str, list[str]], flat: dict[str, str]) -> list[str]:
    """The LSTMs that an adapter's tensor means by its name, when it does not lie under them."""
    parts = name.split(".")[:32]
    for at, part in enumerate(parts):
        if _ADAPTER.fullmatch(part):
            rest = ".".join(parts[:at] + parts[at + 1 :])
            ends = [at for at, character in enumerate(rest) if character == "."]
            named = [rest[:end] for end in ends if rest[:end] in paths]
            siblings = [] if part.lower().startswith("adapter") else children.get(".".join(parts[:at]), [])
            return [*named, *siblings, *(path for short, path in flat.items() if part.endswith(f"_{short}"))]
    return []


def _message(name: str, path: str) -> str:
    relative = name.removeprefix(f"{path}.") if path else name
    if _OTHER_CELL.fullmatch(relative):
        return (
            f"{name}: expected the tensors of nn.LSTM or nn.LSTMCell alone, found another cell's (peepholes, layer "
            "normalisation, EA-LSTM or the like), which computes something else"
        )
    *modules, last = relative.split(".")
    part = next((one for one in (*modules, last) if _ADAPTER.fullmatch(one)), modules[-1] if modules else last)
    what, way = "tensors", ""
    if _ADAPTER.fullmatch(part):
        what, way = "an adapter's (LoRA or the like)", "merge it where it was trained (model.merge_and_unload()), or "
    return (
        f"{name}: expected the tensors of nn.LSTM or nn.LSTMCell alone, found {what} beside them that may change what "
        f'it computes; {way}say that they do not: ignore=["{part if part == relative else f"{part}.*"}"]'
    )
