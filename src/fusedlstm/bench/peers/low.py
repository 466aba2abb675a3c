"""Engines with weights narrower than float32, ours and the peers'; all take and give float32."""

from __future__ import annotations

import logging
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from .onnxruntime import OnnxRuntime
from .openvino import OpenVINO
from .ours import FusedLSTM
from .torch import Torch


class Float16(FusedLSTM):
    """float16 weights."""

    name, dtype, low_precision, tolerance = "fusedlstm float16", "float16", True, 1e-3


class Bfloat16(FusedLSTM):
    """bfloat16 weights."""

    name, dtype, low_precision, tolerance = "fusedlstm bfloat16", "bfloat16", True, 2e-2


class BfloatByBfloat(FusedLSTM):
    """bfloat16 weights and activations."""

    name, dtype, products = "fusedlstm bfloat16 by bfloat16", "bfloat16", "bfloat16"
    low_precision, tolerance = True, 2e-2


class Int8(FusedLSTM):
    """int8 weights, 16-bit activations."""

    name, dtype, low_precision, tolerance = "fusedlstm int8", "int8", True, 5e-2


class Int8By16And8(FusedLSTM):
    """int8 weights, x of 16 bits and h of 8."""

    name, dtype, products = "fusedlstm int8 by 16 and 8", "int8", "int16/int8"
    low_precision, tolerance = True, 5e-2


class Int8By8(FusedLSTM):
    """int8 weights, 8-bit activations."""

    name, dtype, products = "fusedlstm int8 by 8", "int8", "int8"
    low_precision, tolerance = True, 1e-1


class OnnxRuntimeInt8(OnnxRuntime):
    """DynamicQuantizeLSTM, as its own quantize_dynamic makes it."""

    name, low_precision, tolerance = "onnxruntime int8", True, 2e-1

    def prepared(self, model: bytes) -> bytes:
        """Quantised by the library."""
        onnx, quantization = import_module("onnx"), import_module("onnxruntime.quantization")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            logging.disable(logging.WARNING)  # it advises a preparation that changes nothing here
            try:
                quantization.quantize_dynamic(
                    onnx.load_from_string(model), path, weight_type=quantization.QuantType.QInt8
                )
            finally:
                logging.disable(logging.NOTSET)
            return path.read_bytes()


class TorchInt8(Torch):
    """quantize_dynamic."""

    name, low_precision, tolerance = "torch int8", True, 2e-1

    def prepared(self, torch: Any, module: Any) -> Any:
        """Quantised by the library."""
        around = torch.nn.Sequential(module)  # children are replaced, not the module that is given
        return torch.ao.quantization.quantize_dynamic(around, {torch.nn.LSTM}, dtype=torch.qint8)[0]


class TorchBfloat16(Torch):
    """The module in bfloat16, its states too."""

    name, low_precision, tolerance = "torch bfloat16", True, 1e-1

    def prepared(self, torch: Any, module: Any) -> Any:
        """In bfloat16."""
        return module.bfloat16()

    def converted(self, *tensors: Any) -> tuple[Any, ...]:
        """In bfloat16."""
        return tuple(tensor.bfloat16() for tensor in tensors)


class OpenVINOBfloat16(OpenVINO):
    """With its inference precision set to bfloat16."""

    name, low_precision, tolerance, precision = "openvino bfloat16", True, 1e-1, "bf16"
