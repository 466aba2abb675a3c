"""Write onnx_tf2onnx.onnx with tf2onnx from a Keras model, and that model's output.

python tests/data/make_onnx_tf2onnx.py        (tensorflow 2.15.1, tf2onnx 1.16.1, onnx 1.15.0)
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
import tf2onnx

here = Path(__file__).parent
tf.keras.utils.set_random_seed(0)
layers = tf.keras.layers
inputs = layers.Input((6, 3))
y = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="enc")(inputs)
model = tf.keras.Model(inputs, layers.LSTM(5, return_sequences=True, name="dec")(y))
for weight in model.weights:
    weight.assign(tf.random.uniform(weight.shape, -0.5, 0.5))
tf2onnx.convert.from_keras(model, opset=17, output_path=str(here / "onnx_tf2onnx.onnx"))
x = np.random.default_rng(0).standard_normal((2, 6, 3)).astype(np.float32)
np.savez(here / "onnx_tf2onnx_outputs.npz", x=x, y=model(x))
