"""PyTorch modules through torch.export, and the check that a file gives their numbers."""

import io
import warnings

import numpy as np
import torch
from torch import nn

import fusedlstm as fl


class Cases(nn.Module):
    """Several functions in one program, which is exported once; its outputs have their names."""

    def __init__(self, cases, parts=None):
        super().__init__()
        self.cases = cases
        self.parts = nn.ModuleDict(parts or {})

    def forward(self, inputs):
        return {name: function(*inputs[name]) for name, (function, *_) in self.cases.items()}

    def inputs(self):
        return {name: tuple(inputs) for name, (_, *inputs) in self.cases.items()}


class Of(nn.Module):
    """A function with parts."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def program(module, inputs, dynamic_shapes=None, decomposed=False):
    """The exported program."""
    if isinstance(module, Of) and dynamic_shapes is not None:
        dynamic_shapes = (dynamic_shapes,)  # which forward takes as one argument
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        made = torch.export.export(module, inputs, dynamic_shapes=dynamic_shapes)
        return made.run_decompositions() if decomposed else made


def saved(made):
    """What torch.export.save writes of a program."""
    file = io.BytesIO()
    torch.export.save(made, file)
    return file.getvalue()


def exported(module, inputs, dynamic_shapes=None, decomposed=False):
    """The bytes of a .pt2 file."""
    return saved(program(module, inputs, dynamic_shapes, decomposed))


def leaves(tree):
    """The tensors and numbers in what a module takes or gives, in PyTorch's order."""
    return [one for one in torch.utils._pytree.tree_leaves(tree) if isinstance(one, (torch.Tensor, int, float))]


def arrays(tree):
    return [np.asarray(one.detach() if isinstance(one, torch.Tensor) else one) for one in leaves(tree)]


def close(found, wanted, name="", tolerance=2e-5):
    """The same types and shapes, and numbers within `tolerance` of the largest."""
    assert found.shape == wanted.shape, f"{name}: {found.shape} instead of {wanted.shape}"
    kind = np.dtype(np.float32) if wanted.dtype.kind == "f" else wanted.dtype  # what the engine computes in
    assert found.dtype == kind, f"{name}: {found.dtype} instead of {kind}"
    if wanted.dtype.kind != "f":
        assert (found == wanted).all(), f"{name}: {found} instead of {wanted}"
        return
    finite = np.isfinite(wanted)
    assert (np.isnan(found) == np.isnan(wanted)).all(), f"{name}: {found} instead of {wanted}"
    assert (found[~finite & ~np.isnan(wanted)] == wanted[~finite & ~np.isnan(wanted)]).all(), name
    error = np.abs(found[finite] - wanted[finite]).max(initial=0)
    assert error <= tolerance * np.abs(wanted[finite]).max(initial=1e-3), f"{name}: {error}"


def check(data, module, inputs, outputs=None, tolerance=2e-5):
    """A file gives the module's numbers."""
    model = data if isinstance(data, fl.Model) else fl.Model.load(data, outputs=outputs)
    with torch.no_grad():
        wanted = arrays(module(*inputs))
    found = model(*arrays(inputs))
    found = found if isinstance(found, tuple) else (found,)
    assert len(found) == len(wanted)
    for name, one, other in zip(model.made, found, wanted):
        close(one, other, name, tolerance)
    return model
