"""Train an estimator of a robot arm's angle from its cheap sensors with PyTorch, and write a safetensors file.

    python train.py                                 # needs torch, safetensors, onnx, onnxscript, onnxruntime

The arm is a driven pendulum, simulated here 200 times a second. Its gyroscope drifts and its accelerometer shakes;
from both, and from the motor's current, the network tells sine and cosine of the angle, and the angular velocity,
sample by sample.
"""

import io
import json
from pathlib import Path
from timeit import repeat

import numpy as np
import onnxruntime
import torch
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent
RATE = 200  # samples a second


def drives(count, seconds, rng):
    """Sensors (count, time, 4), and angle and angular velocity (count, time, 2), of arms that a motor swings."""
    steps, dt = seconds * RATE, 1 / RATE
    angle, speed, current = rng.uniform(-1, 1, count), rng.normal(0, 1, count), np.zeros(count)
    length, friction = rng.uniform(0.4, 0.6, count), rng.uniform(0.1, 0.5, count)
    wanted = rng.normal(0, 8, count)
    bias = rng.normal(0, 0.15, count)  # of the gyroscope, rad/s: it walks as well
    sensors, truth = np.empty((count, steps, 4)), np.empty((count, steps, 2))
    for t in range(steps):
        wanted = np.where(rng.random(count) < 1.5 * dt, rng.normal(0, 8, count), wanted)
        current += dt / 0.05 * (wanted - current)
        acceleration = current - friction * speed - 9.81 / length * np.sin(angle)
        speed += dt * acceleration
        angle += dt * speed
        bias += rng.normal(0, 0.02, count) * np.sqrt(dt)
        along = 9.81 * np.cos(angle) + length * speed**2  # what an accelerometer at the tip feels
        across = -9.81 * np.sin(angle) - length * acceleration
        noise = rng.normal(0, 1, (count, 4)) * [2.0, 2.0, 0.15, 0.3]
        sensors[:, t] = np.stack([along, across, speed + bias, current], -1) + noise
        truth[:, t] = np.stack([angle, speed], -1)
    return sensors.astype(np.float32), truth.astype(np.float32)


class Estimator(nn.Module):
    """Scaled sensors through an LSTM to sine, cosine and a tenth of the angular velocity."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Linear(4, 4)
        self.rnn = nn.LSTM(4, 48, batch_first=True)
        self.head = nn.Linear(48, 3)
        with torch.no_grad():
            self.scale.weight.copy_(torch.diag(torch.tensor([0.06, 0.08, 0.2, 0.12])))
            self.scale.bias.copy_(torch.tensor([-1.0, 0, 0, 0]))

    def forward(self, sensors, state=None):
        y, state = self.rnn(self.scale(sensors), state)
        return self.head(y), state


def degrees_off(y, truth):
    """Root mean square error of the angle, once the first second has passed."""
    error = np.arctan2(y[..., 0], y[..., 1]) - truth[..., 0]
    return float(np.degrees(np.sqrt(np.mean(np.angle(np.exp(1j * error[:, RATE:])) ** 2))))


def main():
    torch.manual_seed(0)
    sensors, truth = map(torch.from_numpy, drives(512, 12, np.random.default_rng(0)))
    target = torch.stack([truth[..., 0].sin(), truth[..., 0].cos(), truth[..., 1] / 10], -1)
    net, steps = Estimator(), 900
    optimiser = torch.optim.Adam(net.parameters(), 6e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps)
    for step in range(steps):
        rows, start = torch.randint(len(sensors), (32,)), int(torch.randint(sensors.shape[1] - 600, ()))
        part = slice(start, start + 600)
        y, _ = net(sensors[rows, part])
        loss = (y - target[rows, part])[:, 60:].square().mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss.item():.5f}")
    net.eval()
    save_file(net.state_dict(), HERE / "arm.safetensors")

    sensors, truth = drives(2, 20, np.random.default_rng(8))
    np.savez_compressed(HERE / "test_data.npz", sensors=sensors.astype(np.float16), truth=truth.astype(np.float16))
    sensors, truth = sensors.astype(np.float16).astype(np.float32), truth.astype(np.float16).astype(np.float32)
    with torch.inference_mode():
        value = degrees_off(net(torch.from_numpy(sensors))[0].numpy(), truth)

    torch.set_num_threads(1)
    sample, state = torch.from_numpy(sensors[:1, :1]), (torch.zeros(1, 1, 48), torch.zeros(1, 1, 48))
    file = io.BytesIO()
    torch.onnx.export(net, (sample, state), file, input_names=["x", "h", "c"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options)
    feed = {"x": sample.numpy(), "h": state[0].numpy(), "c": state[1].numpy()}
    with torch.inference_mode():
        calls = {"torch": lambda: net(sample, state), "onnx": lambda: session.run(None, feed)}
        us = {name: round(min(repeat(call, number=100, repeat=60)) / 100 * 1e6, 1) for name, call in calls.items()}
    told = {
        "framework": f"torch {torch.__version__.partition('+')[0]}",
        "metric": "error of the angle, degrees (root mean square)",
        "value": value,
        "us_per_call": us["torch"],
        "onnxruntime_us_per_call": us["onnx"],
        "us_of": "a sample of one arm, the state handed over",
        "machine": "AMD EPYC, one thread, shared",
    }
    (HERE / "framework.json").write_text(json.dumps(told, indent=1) + "\n")
    print(told)


if __name__ == "__main__":
    main()
