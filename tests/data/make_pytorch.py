"""Writes the stored PyTorch files and PyTorch's outputs for them (torch 2.13.0): python tests/data/make_pytorch.py"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2, batch_first=True)
        self.head = torch.nn.Linear(4, 1)


if __name__ == "__main__":
    torch.manual_seed(20)
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x = torch.randn(2, 7, 3)
    model.head(model.encoder(x)[0]).sum().backward()
    optimizer.step()
    checkpoint = {"epoch": 3, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(checkpoint, HERE / "pytorch_checkpoint.pt")
    save_file({k: v.bfloat16() for k, v in model.state_dict().items()}, HERE / "pytorch_bfloat16.safetensors")
    np.savez(HERE / "pytorch_state_dict.npz", **{k: v.numpy() for k, v in model.state_dict().items()})
    with torch.no_grad():
        y, (h, c) = model.encoder(x)
        y16, _ = model.bfloat16().float().encoder(x)
    np.savez(HERE / "pytorch_outputs.npz", x=x, y=y, h=h, c=c, y_bfloat16=y16)
