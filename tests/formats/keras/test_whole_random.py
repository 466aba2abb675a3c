"""Random Keras models, of every kind of layer, branches, masks and states among them, against Keras 2 and 3."""

import keras_random
import pytest
from keras_graphs import check, flat
from keras_models import keras

import fusedlstm as fl

pytestmark = pytest.mark.filterwarnings("ignore")


REFUSED = "unroll: expected False beside a mask of a sequence that is run backward"  # docs/models.md says why


def agree(keras, count, seed, folder):
    """Every model is tried, so that all that differ are known."""
    largest, compared, refused, failed = 0.0, 0, 0, []
    for k, model, given in keras_random.models(keras, count, seed):
        try:
            flat(model(given if len(given) > 1 else given[0], training=False))
        except Exception:  # Keras's own: its torch backend turns no masks of unrolled layers
            continue
        try:
            largest = max(largest, check(model, folder, ("m.keras", "m.h5"), given, tolerance=2e-5))
            compared += 1
        except Exception as error:
            if isinstance(error, fl.FormatError) and REFUSED in str(error):
                refused += 1
                continue
            failed.append(f"model {k} of {seed}: {[type(one).__name__ for one in model.layers]}: {error!r}")
    assert not failed, "\n".join(failed)
    assert compared > 0.8 * count  # Keras itself refuses some
    assert refused <= 0.02 * count
    print(f"largest error of {compared} models: {largest:.1e}; {refused} refused")


def test_random_models(tmp_path):
    agree(keras, 10, 0, tmp_path)


@pytest.mark.slow
def test_many_random_models(tmp_path):
    agree(keras, 500, 1, tmp_path)


@pytest.mark.slow
def test_many_random_models_of_keras_2(tmp_path):
    agree(pytest.importorskip("tf_keras"), 500, 2, tmp_path)
