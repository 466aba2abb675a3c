"""Make haiku.npz and haiku_outputs.npz: two LSTMs of Haiku, run by it. Needs dm-haiku.

pip install dm-haiku && python tests/data/make_haiku.py
"""

import pathlib

import haiku as hk
import jax
import numpy as np

HERE = pathlib.Path(__file__).parent


def model(x):
    """One LSTM after the other, time first."""
    for size in (5, 4):
        core = hk.LSTM(size)
        x, _ = hk.dynamic_unroll(core, x, core.initial_state(x.shape[1]))
    return hk.Linear(2)(x), x


rng = np.random.default_rng(0)
x = rng.normal(size=(7, 3, 6)).astype(np.float32)
transformed = hk.without_apply_rng(hk.transform(model))
params = transformed.init(jax.random.PRNGKey(0), x)
params = jax.tree_util.tree_map(lambda a: np.asarray(rng.normal(size=a.shape) * 0.4, np.float32), params)
_, y = transformed.apply(params, x)
flat = {f"{module}/{name}": value for module, inside in params.items() for name, value in inside.items()}
np.savez(HERE / "haiku.npz", **flat)
np.savez(HERE / "haiku_outputs.npz", x=x, y=np.asarray(y))
print({name: value.shape for name, value in flat.items()}, hk.__version__, jax.__version__)
