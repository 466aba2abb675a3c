"""Write tensorflow1_cells.npz and tensorflow1_outputs.npz with TensorFlow 2.21 and tf_keras: TF_USE_LEGACY_KERAS=1."""

import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_eager_execution()
rng = np.random.default_rng(0)
cells = tf.nn.rnn_cell
settings = {"forget_bias": 0.5, "cell_clip": 0.2, "proj_clip": 0.1}
inputs = rng.normal(size=(2, 6, 3)).astype(np.float32)
x = tf.placeholder(tf.float32, inputs.shape)
with tf.variable_scope("plain"):
    plain = tf.nn.dynamic_rnn(cells.BasicLSTMCell(4), x, dtype=tf.float32)
with tf.variable_scope("full"):
    full = tf.nn.dynamic_rnn(cells.LSTMCell(4, use_peepholes=True, num_proj=2, **settings), x, dtype=tf.float32)
with tf.variable_scope("stack"):
    stack = tf.nn.dynamic_rnn(cells.MultiRNNCell([cells.LSTMCell(4), cells.LSTMCell(3)]), x, dtype=tf.float32)
with tf.variable_scope("both"):
    (_, backward), _ = tf.nn.bidirectional_dynamic_rnn(cells.LSTMCell(4), cells.LSTMCell(4), x, dtype=tf.float32)
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for variable in tf.global_variables():
        variable.load(rng.uniform(-0.7, 0.7, variable.shape).astype(np.float32), session)
    variables = {variable.name: session.run(variable) for variable in tf.global_variables()}
    state = plain[1]
    names = {"plain_y": plain[0], "plain_h": state.h, "plain_c": state.c, "full_y": full[0], "full_h": full[1].h}
    names |= {"full_c": full[1].c, "stack_y": stack[0], "backward_y": backward}
    outputs = session.run(names, {x: inputs})
np.savez_compressed("tensorflow1_cells.npz", **variables, **{f"full/rnn/lstm_cell/{k}": v for k, v in settings.items()})
np.savez_compressed("tensorflow1_outputs.npz", x=inputs, **outputs)
