"""The oracle of ConvLSTM in float64 NumPy, written from the definition. Shares no code with the engine.

    i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of  W * x_t + R * h_{t-1} + b,    c_t = f c_{t-1} + i g,    h_t = o tanh(c_t)

(Shi et al. 2015, equation 3, without the peepholes); ``*`` is the convolution of deep learning, with zeros around the
frame where it is "same": https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2.
"""

import itertools

import numpy as np
from reference import apply


def convolve(frames, kernel, strides, dilation, padding):
    """frames (batch, *space, channels), kernel (out, *kernel, channels) -> (batch, *space, out)."""
    space, taps = frames.shape[1:-1], kernel.shape[1:-1]
    reach = [(k - 1) * d + 1 for k, d in zip(taps, dilation)]
    if padding == "same":
        size = [-(-n // s) for n, s in zip(space, strides)]
        zeros = [max((o - 1) * s + r - n, 0) for o, s, r, n in zip(size, strides, reach, space)]
        frames = np.pad(frames, [(0, 0), *((z // 2, z - z // 2) for z in zeros), (0, 0)])
    else:
        size = [(n - r) // s + 1 for n, r, s in zip(space, reach, strides)]
    total = 0.0
    for tap in itertools.product(*map(range, taps)):
        seen = tuple(slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, o, s in zip(tap, dilation, size, strides))
        total = total + frames[(slice(None), *seen)] @ kernel[(slice(None), *tap)].T
    return total


def conv_lstm(weights, x, state=None):
    """y, (h, c) for x (batch, time, *space, channels), or (batch, time, channels, *space) with channels_first."""
    x = np.asarray(x, dtype=float)
    if weights.channels_first:
        x = np.moveaxis(x, 2, -1)
        state = state and tuple(np.moveaxis(one, 1, -1) for one in state)
    if weights.reverse:
        x = x[:, ::-1]
    kernel, recurrent = weights.weight_ih.astype(float), weights.weight_hh.astype(float)
    bias = 0.0 if weights.bias is None else weights.bias.astype(float)
    ones = (1,) * weights.rank
    frames = [
        convolve(frame, kernel, weights.strides, weights.dilation, weights.padding) + bias for frame in x.swapaxes(0, 1)
    ]
    h, c = state or (np.zeros((*frames[0].shape[:-1], weights.filters)),) * 2
    y = []
    for frame in frames:
        i, f, g, o = np.split(frame + convolve(h, recurrent, ones, ones, "same"), 4, axis=-1)
        c = apply(weights.gate, f) * c + apply(weights.gate, i) * apply(weights.candidate, g)
        h = apply(weights.gate, o) * apply(weights.output, c)
        y.append(h)
    y = np.stack(y, 1)
    if weights.reverse and not weights.flip_output:
        y = y[:, ::-1]
    if weights.channels_first:
        y, h, c = np.moveaxis(y, -1, 2), np.moveaxis(h, -1, 1), np.moveaxis(c, -1, 1)
    return y, (h, c)
