"""Train a model that tells whether a sentence speaks well or ill of something, and save it as Keras 2 does.

    pip install tf_keras tensorflow onnxruntime tf2onnx
    python train.py                          # a minute on two cores

The sentences are those of VADER (C. J. Hutto and E. Gilbert, 2014; MIT): of reviews of films and of goods, and tweets,
each with the mean of twenty people's marks from -4 to 4. They are in the source archive of the package vaderSentiment,
which pip brings here. Sentences of less than 0.7 either way are left out.
"""

import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx
import tf_keras as keras
from tf_keras import layers

HERE = Path(__file__).parent
WORDS, LONGEST = 2000, 40
PAD, UNKNOWN = "", "<other>"


def sentences():
    """Pairs of words and a mark."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        package = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--no-binary=:all:",
            "vaderSentiment==3.3.2",
        ]
        subprocess.run([*package, "-d", folder], check=True)
        with tarfile.open(next(Path(folder).iterdir())) as archive:
            name = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
            inner = io.BytesIO(archive.extractfile(name).read())
    with tarfile.open(fileobj=inner) as archive:
        for kind in ("movieReviewSnippets", "amazonReviewSnippets", "tweets"):
            text = archive.extractfile(f"hutto_ICWSM_2014/{kind}_GroundTruth.txt").read().decode("utf-8", "replace")
            for line in text.splitlines():
                _, mark, sentence = line.split("\t", 2)
                words = re.findall(r"[a-z]+(?:'[a-z]+)?|[!?]|[:;]-?[)(DP]", sentence.lower())
                if abs(float(mark)) >= 0.7 and 3 <= len(words) <= LONGEST:
                    found.append((words, float(mark)))
    return found


def microseconds(call, calls=100):
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(1e6 * float(np.median(times)), 1)


def main():
    keras.utils.set_random_seed(0)
    found = sentences()
    np.random.default_rng(0).shuffle(found)
    counts = Counter(word for words, _ in found[1000:] for word in words)
    vocabulary = [PAD, UNKNOWN] + [word for word, _ in counts.most_common(WORDS - 2)]
    place = {word: k for k, word in enumerate(vocabulary)}
    x = np.zeros((len(found), LONGEST), np.int32)
    for row, (words, _) in zip(x, found):
        row[: len(words)] = [place.get(word, 1) for word in words]
    y = np.array([mark > 0 for _, mark in found], np.float32)
    print(f"{len(x) - 1000} sentences to learn from, {y.mean():.0%} of them speak well")

    inputs = keras.Input((None,), dtype="int32", name="words")
    z = layers.SpatialDropout1D(0.4)(layers.Embedding(WORDS, 12, mask_zero=True)(inputs))
    z = layers.Bidirectional(layers.LSTM(16), name="reader")(z)
    model = keras.Model(inputs, layers.Dense(1, "sigmoid", name="well")(layers.Dropout(0.4)(z)))
    model.compile(keras.optimizers.Adam(0.004), "binary_crossentropy", ["accuracy"])
    stop = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    hold = slice(1000, 2000)
    checks = (x[hold], y[hold])
    model.fit(x[2000:], y[2000:], 64, 6, 2, [stop], validation_data=checks)

    test, wanted = x[:1000], y[:1000]
    value = float(np.mean((model.predict(test, verbose=0)[:, 0] > 0.5) == (wanted > 0.5)))
    model.save(HERE / "sentiment.h5", include_optimizer=False)
    np.savez_compressed(
        HERE / "test_data.npz", words=test.astype(np.uint16), well=wanted > 0.5, vocabulary=np.array(vocabulary)
    )

    one = test[:1, : np.count_nonzero(test[0])]
    run = tf.function(model, input_signature=[tf.TensorSpec((None, None), tf.int32, name="words")])
    onnx, reason = None, {}
    try:
        file, _ = tf2onnx.convert.from_function(run, run.input_signature, opset=17)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(file.SerializeToString(), options)
        onnx = microseconds(lambda: session.run(None, {"words": one}))
    except Exception as error:  # tf2onnx does not take every model
        reason = {"onnxruntime": f"tf2onnx: {error}"[:200]}
    about = {
        "framework": f"tf_keras {keras.__version__}",
        "metric": "accuracy",
        "value": value,
        "us_per_call": microseconds(lambda: run(one).numpy()),
        "onnxruntime_us_per_call": onnx,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared",
        **reason,
    }
    (HERE / "framework.json").write_text(json.dumps(about, indent=2) + "\n")
    print(about)


if __name__ == "__main__":
    main()
