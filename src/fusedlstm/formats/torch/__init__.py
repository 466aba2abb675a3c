"""PyTorch: checkpoints, TorchScript, exported programs, live modules."""
