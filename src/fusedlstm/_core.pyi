from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .weights import Activation, Cell

_Floats = npt.NDArray[np.float32]
_Integers = npt.NDArray[np.int64]
_Direction = tuple[Mapping[str, _Floats], Cell | None]

class Lstm:
    def __init__(
        self,
        layers: Sequence[Sequence[_Direction]],
        merge: str,
        reverse: bool,
        residual: Sequence[bool],
        dtype: str,
        products: str,
    ) -> None: ...
    @property
    def handle(self) -> int: ...
    def run(
        self,
        x: _Floats,
        batch_first: bool,
        h_0: _Floats | None,
        c_0: _Floats | None,
        lengths: npt.NDArray[np.int64] | None,
        out: _Floats | None,
        stacked: bool,
    ) -> tuple[_Floats, _Floats, _Floats]: ...

def find_slots(ids: _Integers, turns: _Integers, apart: int, place: _Integers, slots: _Integers) -> bool: ...
def step_slots(
    lstm: Lstm,
    x: _Floats,
    y: _Floats,
    states: _Floats,
    slots: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64] | None,
) -> None: ...

class ConvLstm:
    def __init__(
        self,
        weight_ih: _Floats,
        weight_hh: _Floats,
        bias: _Floats | None,
        strides: tuple[int, ...],
        dilation: tuple[int, ...],
        same: bool,
        cell: Cell | None,
    ) -> None: ...
    def run(self, x: _Floats, y: _Floats, h_0: _Floats | None, c_0: _Floats | None) -> tuple[_Floats, _Floats]: ...

c_api: object

def c_api_address() -> int: ...
def zeros(rows: int, columns: int) -> _Floats: ...
def check_out(out: npt.NDArray[np.generic]) -> None: ...
def isa() -> str: ...
def available_isas() -> list[str]: ...
def use_isa(name: str) -> None: ...
def cpu_model() -> str: ...
def get_num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...
def sigmoid(x: _Floats) -> _Floats: ...
def tanh(x: _Floats) -> _Floats: ...
def sigmoid_times_tanh(a: _Floats, b: _Floats) -> _Floats: ...
def activate(activation: Activation, x: _Floats) -> _Floats: ...

class PackedWeights:
    def __init__(self, matrix: _Floats, bias: _Floats | None, dtype: str, products: str) -> None: ...

class Program:
    def __init__(
        self,
        arena: int,
        inputs: Sequence[tuple[str, tuple[int, ...]]],
        outputs: Sequence[tuple[str, tuple[int, ...]]],
        constants: Sequence[npt.NDArray[Any]],
    ) -> None: ...
    def run(self, *arrays: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]: ...
    def profile(self, *arrays: npt.NDArray[Any]) -> tuple[tuple[npt.NDArray[Any], ...], list[float]]: ...
    def __getattr__(self, step: str) -> Any: ...  # a method for each kind of step

class Live:
    def __init__(
        self, program: Program, pairs: Sequence[tuple[int, int]], overlaps: Sequence[tuple[int, int]]
    ) -> None: ...
    def step(self, release: bool) -> None: ...
    def array(self, index: int) -> npt.NDArray[Any]: ...
    def state(self, index: int) -> npt.NDArray[Any]: ...
    def set_state(self, index: int, value: npt.NDArray[Any]) -> None: ...

class Gru:
    def __init__(self, *arguments: Any) -> None: ...
