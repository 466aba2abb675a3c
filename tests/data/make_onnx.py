"""Write onnx_torch.onnx and onnx_torch_dynamo.onnx with PyTorch's two exporters, and PyTorch's output of both.

python tests/data/make_onnx.py        (torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2)
"""

from pathlib import Path

import numpy as np
import torch

here = Path(__file__).parent
torch.manual_seed(1)
module = torch.nn.LSTM(3, 4, 2, bidirectional=True).eval()
x = torch.randn(6, 2, 3)
torch.onnx.export(
    module, (x,), here / "onnx_torch.onnx", dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "time", 1: "batch"}}
)
program = torch.onnx.export(module, (x,), dynamo=True)
for node in program.model.graph:
    node.metadata_props.clear()  # stack traces, with the paths of this machine
program.save(here / "onnx_torch_dynamo.onnx", external_data=False)
y, (h, c) = module(x)
np.savez(here / "onnx_outputs.npz", x=x, y=y.detach(), h=h.detach(), c=c.detach())
