"""The tensors of a weights file as NumPy arrays: what lies around an LSTM."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from . import formats


def load_tensors(source: formats.Given, prefix: str | None = None) -> dict[str, npt.NDArray[np.generic]]:
    """Load every tensor of a weights file by its name, as safely as everything else: no code of the file runs.

    Parameters
    ----------
    source : str, path, bytes or binary file object
        The file, its content, or a folder or zip archive that holds one; any format that `LSTM.load` knows.
    prefix : str, optional
        Only those under it, such as ``"decoder"`` or ``"head."``; names stay whole.

    Returns
    -------
    dict of str to ndarray
        In the file's types, as they are stored; bfloat16, which NumPy lacks, comes as float32. Names are those of the
        source framework, as the prefixes of `LSTM.load` are. Arrays may be read-only. A tensor of a type that NumPy
        lacks is left out, with a warning.

    Raises
    ------
    OSError, ImportError, FormatError
        As for `LSTM.load`; FormatError also where there is no tensor under `prefix`.

    Examples
    --------
    >>> import fusedlstm as fl
    >>> tensors = fl.load_tensors("checkpoint.pt", prefix="head")       # doctest: +SKIP
    >>> y = x @ tensors["head.weight"].T + tensors["head.bias"]         # doctest: +SKIP
    """
    return formats.open(source).arrays(prefix)
