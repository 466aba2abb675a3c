"""Random Keras models, of every kind of layer, branches, masks and states among them, against Keras 2 and 3."""

import keras_random
import pytest
from keras_graphs import check
from keras_models import keras

pytestmark = pytest.mark.filterwarnings("ignore")


def agree(keras, count, seed, folder):
    """Every model is tried, so that all that differ are known."""
    largest, tried, failed = 0.0, 0, []
    for k, model, given in keras_random.models(keras, count, seed):
        try:
            largest = max(largest, check(model, folder, ("m.keras", "m.h5"), given, tolerance=2e-5))
        except Exception as error:
            failed.append(f"model {k} of {seed}: {[type(one).__name__ for one in model.layers]}: {error!r}")
        tried += 1
    assert not failed, "\n".join(failed)
    assert tried > 0.8 * count  # Keras itself refuses some
    print(f"largest error of {tried} models: {largest:.1e}")


def test_random_models(tmp_path):
    agree(keras, 10, 0, tmp_path)


@pytest.mark.slow
def test_many_random_models(tmp_path):
    agree(keras, 500, 1, tmp_path)


@pytest.mark.slow
def test_many_random_models_of_keras_2(tmp_path):
    agree(pytest.importorskip("tf_keras"), 500, 2, tmp_path)
