"""What the fuzzer found once, for ever: weights or FormatError, within the bounds."""

import pytest
from bounds import within_bounds
from fuzz_targets import CONTAINERS, FOUND, ask_everything

FILES = sorted(FOUND.glob("*-*"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_found(path):
    _, wrapped = CONTAINERS[path.name.partition("-")[0]]
    data = wrapped(path.read_bytes())
    ask_everything(data)
    within_bounds(data)


@pytest.mark.parametrize("container", CONTAINERS)
def test_what_the_fuzzer_starts_from(container):
    """Seeds of each container are read or refused, and most are read: else it would start from nothing."""
    from fusedlstm import FormatError, LSTMWeights, formats

    seeds, wrapped = CONTAINERS[container]
    good = 0
    for data in map(wrapped, seeds()):
        ask_everything(data)
        try:
            good += bool(formats.open(data).tensors or formats.open(data).listed(LSTMWeights))
        except FormatError:
            continue
    assert good
