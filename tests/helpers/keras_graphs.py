"""Keras models held against what `fl.Model` makes of their files."""

import numpy as np

import fusedlstm as fl

TOLERANCE = 1e-5


def randomized(model, seed=0, scale=0.4):
    """Random weights; variances stay positive."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed" in weight.name or "count" in weight.name:
            continue
        value = rng.normal(size=weight.shape, scale=scale)
        if "variance" in weight.name:
            value = np.abs(value) + 0.5
        weight.assign(value)
    return model


def inputs_for(model, rng, batch=3, time=7, largest=5):
    """Random inputs: whole numbers where an input is of whole numbers, or has no features."""
    found = []
    for one in model.inputs:
        shape = [batch if one.shape[0] is None else one.shape[0]]
        shape += [time if size is None else size for size in one.shape[1:]]
        kind = np.dtype(getattr(one.dtype, "name", one.dtype))
        if kind.kind in "iu":
            found.append(rng.integers(0, largest, shape).astype(kind))
        else:
            found.append(rng.normal(size=shape).astype(kind))
    return found


def agree(found, wanted, tolerance=TOLERANCE):
    """Outputs as Keras has them, relative to the largest of each; returns the largest error."""
    assert len(found) == len(wanted)
    largest = 0.0
    for ours, theirs in zip(found, wanted):
        theirs = np.asarray(theirs)
        assert ours.shape == theirs.shape
        assert np.isfinite(theirs).all()
        scale = max(1.0, np.abs(theirs).max(initial=0))
        np.testing.assert_allclose(ours / scale, theirs / scale, rtol=0, atol=tolerance)
        largest = max(largest, np.abs(ours / scale - theirs / scale).max(initial=0))
    return largest


def flat(value):
    """The outputs of a Keras model as a list of arrays."""
    if isinstance(value, dict):
        return [one for key in value for one in flat(value[key])]
    if isinstance(value, (list, tuple)):
        return [one for part in value for one in flat(part)]
    return [np.asarray(value.detach() if hasattr(value, "detach") else value)]


def run(model, inputs):
    """What a whole model gives, as a list."""
    found = model(*inputs)
    return list(found) if isinstance(found, tuple) else [found]


def check(model, folder, files=("m.keras", "m.h5"), inputs=None, batches=((3, 7),), seed=1, tolerance=TOLERANCE):
    """A Keras model against itself from each kind of file."""
    largest = 0.0
    for file in (*files, "alive"):
        if file != "alive":
            model.save(folder / file)
        ours = fl.Model.load(folder / file) if file != "alive" else fl.Model.from_keras(model)
        for batch, time in batches:
            given = inputs or inputs_for(model, np.random.default_rng(seed), batch, time)
            wanted = flat(model(given if len(given) > 1 else given[0], training=False))
            cast = [one.astype(spec.dtype) for one, spec in zip(given, ours.inputs.values())]
            largest = max(largest, agree(run(ours, cast), wanted, tolerance))
    return largest
