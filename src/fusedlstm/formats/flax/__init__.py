"""Flax: trees of parameters, linen and nnx."""
