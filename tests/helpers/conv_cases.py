"""Random ConvLSTMs."""

import numpy as np

import fusedlstm as fl


def random_weights(rng, channels, filters, kernel, recurrent=None, bias=True, **kwargs):
    """Uniform in +-1/sqrt(terms of a sum)."""
    recurrent = recurrent or kernel
    bound = 1 / np.sqrt(np.prod(kernel) * channels + np.prod(recurrent) * filters)

    def uniform(*shape):
        return rng.uniform(-2 * bound, 2 * bound, shape).astype(np.float32)

    return fl.ConvLSTMWeights(
        uniform(4 * filters, *kernel, channels),
        uniform(4 * filters, *recurrent, filters),
        uniform(4 * filters) if bias else None,
        **kwargs,
    )


ACTIVATIONS = {
    "gate": ("hard_sigmoid", "sigmoid", "softsign"),
    "candidate": ("tanh", "relu", "gelu", "elu"),
    "output": ("tanh", "softsign", "affine"),
}


def random_activations(rng):
    """One or more that are not the plain cell's, bounded enough for any number of steps."""
    names = {role: str(rng.choice(names)) for role, names in ACTIVATIONS.items()}
    return {role: fl.Activation(name) for role, name in names.items()}


def random_case(rng, largest=40):
    """Weights, x and perhaps a state; any option."""
    rank = int(rng.integers(1, 3))
    kernel = tuple(int(n) for n in rng.integers(1, 5, rank))
    options = {"padding": str(rng.choice(["same", "valid"])), "channels_first": bool(rng.random() < 0.3)}
    if rng.random() < 0.6:
        name = str(rng.choice(["strides", "dilation"]))
        options[name] = tuple(int(n) for n in rng.integers(1, 4, rank))
    options["reverse"] = bool(rng.random() < 0.3)
    options["flip_output"] = options["reverse"] and bool(rng.random() < 0.5)
    if rng.random() < 0.3:
        options |= random_activations(rng)
    channels, filters = (int(n) for n in rng.integers(1, largest, 2))
    recurrent = tuple(int(n) for n in rng.integers(1, 5, rank)) if rng.random() < 0.2 else None
    weights = random_weights(rng, channels, filters, kernel, recurrent, bool(rng.random() < 0.7), **options)
    least = [(k - 1) * d + 1 if options["padding"] == "valid" else 1 for k, d in zip(kernel, weights.dilation)]
    space = tuple(int(n) for n in np.add(least, rng.integers(0, 8, rank)))
    lead = (int(rng.integers(1, 4)), int(rng.integers(1, 5)))
    x = rng.standard_normal((*lead, channels, *space) if weights.channels_first else (*lead, *space, channels))
    state = None
    if rng.random() < 0.5:
        size = weights.output_size(space)
        shape = (lead[0], filters, *size) if weights.channels_first else (lead[0], *size, filters)
        state = tuple(rng.uniform(-1, 1, shape).astype(np.float32) for _ in "hc")
    return weights, x.astype(np.float32), state
