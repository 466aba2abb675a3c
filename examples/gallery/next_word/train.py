"""Train a model that suggests the next word while somebody writes about Python, and save it as Keras does.

    pip install keras tensorflow onnxruntime tf2onnx
    python train.py                          # two minutes on two cores

The text is what every Python has with it, under the licence of Python itself (PSF): the language reference that
`help()` shows (pydoc_data) and the docstrings of the standard library. One paragraph in ten is held out.
"""

import ast
import json
import os
import platform
import random
import re
import sysconfig
import time
from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
from keras import layers

HERE = Path(__file__).parent
WORDS, STEPS = 600, 16
START, UNKNOWN = "<start>", "<other>"


def paragraphs():
    """Every paragraph of prose, once."""
    texts = list(topics.values())
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        if not {"test", "tests", "site-packages", "idlelib", "lib2to3"} & set(file.parts):
            try:
                tree = ast.parse(file.read_bytes())
            except SyntaxError:
                continue
            nodes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
            texts += [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, nodes)]
    found = (part.strip() for text in texts for part in re.split(r"\n\s*\n", text))
    return sorted({part for part in found if re.match(r"[A-Z][a-z]* [a-z]", part) and len(part.split()) > 5})


def words_of(text):
    return re.findall(r"[a-z]+(?:'[a-z]+)?|[.,:;()]", text.lower())


def numbers_of(texts, vocabulary):
    """Rows of STEPS + 1 numbers; each paragraph starts with START and goes on in the next row."""
    place = {word: k for k, word in enumerate(vocabulary)}
    rows = []
    for text in texts:
        numbers = [place[START]] + [place.get(word, place[UNKNOWN]) for word in words_of(text)]
        rows += [numbers[k : k + STEPS + 1] for k in range(0, len(numbers) - STEPS, STEPS)]
    return np.array(rows, np.int32)


def top3(scores, wanted):
    """How often the word that came is among three suggestions; what is not in the vocabulary can't be suggested."""
    scores = scores.copy()
    scores[..., :2] = 0
    hit = (np.argsort(-scores, -1)[..., :3] == wanted[..., None]).any(-1)
    return float(hit[wanted > 1].mean())


def microseconds(call, calls=200):
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(1e6 * float(np.median(times)), 1)


def main():
    keras.utils.set_random_seed(0)
    tf.config.threading.set_intra_op_parallelism_threads(2)
    texts = paragraphs()
    random.Random(0).shuffle(texts)
    held_out, known = texts[: len(texts) // 10], texts[len(texts) // 10 :]
    counts = Counter(word for text in known for word in words_of(text))
    vocabulary = [START, UNKNOWN] + [word for word, _ in counts.most_common(WORDS - 2)]
    train, test = numbers_of(known, vocabulary), numbers_of(held_out, vocabulary)
    print(f"{len(texts)} paragraphs, {train.size} words to learn from, {test.size} held out")

    inputs = keras.Input((None,), dtype="int32", name="words")
    x = layers.Dropout(0.1)(layers.Embedding(WORDS, 24)(inputs))
    x = layers.Dropout(0.2)(layers.LSTM(56, return_sequences=True, name="lstm")(x))
    model = keras.Model(inputs, layers.Dense(WORDS, "softmax", name="next_word")(x))
    epochs, batch = 14, 64
    schedule = keras.optimizers.schedules.CosineDecay(0.006, epochs * len(train) // batch)
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy")
    model.fit(train[:, :-1], train[:, 1:], batch, epochs, verbose=2, validation_data=(test[:, :-1], test[:, 1:]))

    test = test[:400]
    value = top3(model.predict(test[:, :-1], verbose=0), test[:, 1:])
    model = keras.Model(model.inputs, model.outputs)  # without the optimizer's state
    run = tf.function(model)
    run(test[:1, :-1])
    model.save(HERE / "next_word.keras")
    np.savez_compressed(HERE / "test_data.npz", words=test.astype(np.uint16), vocabulary=np.array(vocabulary))

    model.export("next_word.onnx", "onnx", verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession("next_word.onnx", options)
    os.remove("next_word.onnx")
    one = test[:1, :-1]
    about = {
        "framework": f"keras {keras.__version__}",
        "metric": "top-3 accuracy",
        "value": value,
        "us_per_call": microseconds(lambda: run(one).numpy()),
        "onnxruntime_us_per_call": microseconds(lambda: session.run(None, {session.get_inputs()[0].name: one})),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared",
    }
    (HERE / "framework.json").write_text(json.dumps(about, indent=2) + "\n")
    print(about)


if __name__ == "__main__":
    main()
