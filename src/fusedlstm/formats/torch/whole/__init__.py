"""Whole models of exported programs: the graph of PyTorch's operators, without PyTorch."""
