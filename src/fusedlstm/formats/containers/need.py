"""Optional libraries: imported when a file needs them, with the extra to install when missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def need(module: str, extra: str) -> ModuleType:
    """Import a library that a format needs.

    Raises
    ------
    ImportError
        It is not installed; the message says which extra brings it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f'this file needs {module}, which is not installed: pip install "fusedlstm[{extra}]"'
        ) from error
