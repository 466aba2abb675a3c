"""Random modules of PyTorch's beside what takes their place."""

import pytest
from torch_modules import largest_difference, random_module, torch

import fusedlstm.torch as door

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")


def check(seed):
    module, arguments = random_module(seed)
    with torch.no_grad():
        expected = module(*arguments)
        assert door.accelerate(module) is module
        found = module(*arguments)
        assert not door.report(module)[0].why
        assert largest_difference(found, expected) <= 1e-5
        door.restore(module)
        assert largest_difference(module(*arguments), expected) == 0


@pytest.mark.parametrize("seed", range(30))
def test_a_random_module(seed):
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_random_modules(block):
    for seed in range(30 + 30 * block, 60 + 30 * block):
        check(seed)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("dtype", "limit"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_half_the_bits(seed, dtype, limit):
    """As `astype` says: weights rounded, everything else in float32, which is closer to the truth than PyTorch is."""
    module, arguments = random_module(seed + 500)
    module = module.to(dtype)

    def cast(one, to):
        if isinstance(one, torch.Tensor):
            return one.to(to)
        if one is None:
            return None
        if hasattr(one, "batch_sizes"):
            return one.to(to)
        return tuple(cast(part, to) for part in one)

    arguments = [cast(one, dtype) for one in arguments]
    with torch.no_grad():
        door.accelerate(module)
        found = module(*arguments)
        assert not door.report(module)[0].why
        with pytest.raises((ValueError, RuntimeError)):  # PyTorch's own
            module(cast(arguments[0], torch.float32))
        door.restore(module)
        exact = module.double()(*[cast(one, torch.float64) for one in arguments])
    assert largest_difference(cast(found, torch.float64), exact) <= limit
