"""Write flax_linen.msgpack and flax_nnx.msgpack with Flax, and Flax's output of both.

python tests/data/make_flax.py        (flax 0.12.8, jax 0.10.2)
"""

from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
from flax import nnx, serialization

here = Path(__file__).parent
x = np.random.default_rng(0).standard_normal((2, 6, 3)).astype(np.float32)


class Linen(nn.Module):
    def setup(self):
        self.enc = nn.Bidirectional(nn.RNN(nn.LSTMCell(4)), nn.RNN(nn.OptimizedLSTMCell(4)))
        self.dec = nn.RNN(nn.OptimizedLSTMCell(5))

    def __call__(self, x):
        return self.dec(self.enc(x))


class Nnx(nnx.Module):
    def __init__(self, rngs):
        ends = (nnx.RNN(nnx.OptimizedLSTMCell(3, 4, rngs=rngs), rngs=rngs) for _ in range(2))
        self.enc = nnx.Bidirectional(*ends, rngs=rngs)
        self.dec = nnx.RNN(nnx.LSTMCell(8, 5, rngs=rngs), rngs=rngs)

    def __call__(self, x):
        return self.dec(self.enc(x))


variables = jax.tree_util.tree_map(lambda a: a + 0.1, Linen().init(jax.random.key(0), x))  # biases that are not zero
(here / "flax_linen.msgpack").write_bytes(serialization.to_bytes(variables))
module = Nnx(nnx.Rngs(0))
nnx.update(module, jax.tree_util.tree_map(lambda a: a + 0.1, nnx.state(module, nnx.Param)))
state = nnx.to_pure_dict(nnx.state(module, nnx.Param))
(here / "flax_nnx.msgpack").write_bytes(serialization.to_bytes(state))
np.savez(here / "flax_outputs.npz", x=x, linen=Linen().apply(variables, x), nnx=module(x))
