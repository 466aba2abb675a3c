"""What tests of copies ask of a thing; here, since processes that are spawned import it by its name."""

import numpy as np

import fusedlstm as fl

X = np.random.default_rng(7).standard_normal((3, 11, 6)).astype(np.float32)
FRAMES = np.random.default_rng(8).standard_normal((1, 4, 5, 6, 2)).astype(np.float32)


def flat(made):
    return [one for part in made for one in flat(part)] if isinstance(made, (tuple, list)) else [np.array(made)]


def used(thing):
    """What it gives, as bytes; streams go on from where they are."""
    if hasattr(thing, "process"):
        made = thing.process(X[:1, 5:])
    else:
        made = thing(FRAMES if isinstance(thing, fl.ConvLSTM) else X)
    return [(one.shape, one.tobytes()) for one in flat(made)]
