"""Train a writer of fiddle tunes with Flax, and write its parameters as Flax does, in msgpack.

    python train.py                # needs flax, optax and music21 (its collection of tunes; nothing else of it)

The tunes are those of Ryan's Mammoth Collection (Boston, 1883), as ABC in the package music21. Each is moved to the
key of D. A note is one of a vocabulary of pairs: pitch and length.
"""

import importlib.util
import json
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path
from timeit import repeat

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

HERE = Path(__file__).parent
STEPS, BATCH, LONGEST, TEST = 1100, 32, 160, 100
LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
SHARPS = {"C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5, "F#": 6, "F": -1, "Bb": -2, "Eb": -3, "Ab": -4, "Db": -5}
MODES = {"": 0, "maj": 0, "m": -3, "min": -3, "mix": -1, "dor": -2}
NOTE = re.compile(
    r"(?P<bar>\|)|\((?P<tuplet>3)|(?P<broken>[<>])|"
    r"(?P<sign>\^|_|=)?(?P<name>[A-Ga-gz])(?P<octave>[,']*)(?P<up>\d*)(?P<down>/*\d*)"
)


def notes_of(abc):
    """The tune in the key of D as pairs (pitch as MIDI counts, or 0 for a rest; length in 96ths of a whole note)."""
    field = dict(re.findall(r"^([MLK]): *(\S+)", abc, re.M))
    tonic, mode = re.fullmatch(r"([A-G][#b]?)(\w*)", field["K"]).groups()
    sharps = SHARPS[tonic] + MODES[mode.lower()[:3]]
    key = dict.fromkeys("FCGDAEB"[:sharps], 1) if sharps > 0 else dict.fromkeys("BEADGCF"[:-sharps], -1)
    up = (LETTERS[tonic[0]] + ("#" in tonic) - ("b" in tonic) - 2 + 6) % 12 - 6  # this far above D
    body = re.sub(r"%.*|^\w:.*|\{.*?\}|\".*?\"|!.*?!", "", abc, flags=re.M)
    notes, signs, in_tuplet, longer = [], {}, 0, Fraction(1)
    for found in NOTE.finditer(body):
        if found["bar"]:
            signs = {}
        elif found["tuplet"]:
            in_tuplet = 3
        elif found["broken"]:  # the note before it is dotted and the next one halved, or the other way round
            short, long = Fraction(1, 2), Fraction(3, 2)
            notes[-1][1] *= long if found["broken"] == ">" else short
            longer = short if found["broken"] == ">" else long
        else:
            name, octave, pitch = found["name"].upper(), found["octave"], 0
            if name != "Z":
                if found["sign"]:
                    signs[found["name"], octave] = {"^": 1, "_": -1, "=": 0}[found["sign"]]
                raised = signs.get((found["name"], octave), key.get(name, 0))
                pitch = 60 + LETTERS[name] + raised + 12 * (found["name"].islower() + octave.count("'"))
                pitch -= 12 * octave.count(",") + up
            length = Fraction(field["L"]) * 96 * int(found["up"] or 1) * longer
            if found["down"]:
                number = found["down"].strip("/")
                length /= int(number) if number else 2 ** found["down"].count("/")
            if in_tuplet:
                length, in_tuplet = length * 2 / 3, in_tuplet - 1
            notes.append([pitch, length])
            longer = Fraction(1)
    return [(pitch, int(length)) for pitch, length in notes]


def tunes():
    folder = Path(importlib.util.find_spec("music21").origin).parent / "corpus" / "ryansMammoth"
    for path in sorted(folder.glob("*.abc")):
        abc = path.read_text(encoding="utf-8", errors="replace")
        try:
            if not re.search(r"\[[^|12]", abc):  # a chord, or a change of key
                yield notes_of(abc)
        except (KeyError, AttributeError):
            pass  # a key that is not read here, such as E phrygian


class Writer(nn.Module):
    """The scores of every next note."""

    notes: int

    def setup(self):
        self.emb = nn.Embed(self.notes, 32)
        self.lstm = nn.RNN(nn.OptimizedLSTMCell(96))
        self.drop = nn.Dropout(0.3)
        self.head = nn.Dense(self.notes)

    def __call__(self, x, train=False, state=None):
        x = self.drop(self.emb(x), deterministic=not train)
        state, y = self.lstm(x, initial_carry=state, return_carry=True)
        return self.head(self.drop(y, deterministic=not train)), state


def bits(scores, wanted, valid):
    """The mean surprise of a note."""
    surprise = optax.softmax_cross_entropy_with_integer_labels(scores, wanted) / jnp.log(2)
    return (surprise * valid).sum() / valid.sum()


def main():
    all_tunes = {tuple(tune[:10]): tune for tune in tunes() if 40 <= len(tune) < LONGEST}  # some are there twice
    counts = Counter(note for tune in all_tunes.values() for note in tune)
    vocabulary = [(0, 0), *sorted(note for note, count in counts.items() if count >= 25)]  # 0: begin and end
    number = {note: k for k, note in enumerate(vocabulary)}
    known = [[number[note] for note in tune] for tune in all_tunes.values() if set(tune) <= set(number)]
    np.random.default_rng(0).shuffle(known)
    lengths = np.array([len(tune) + 1 for tune in known])
    x = np.zeros((len(known), LONGEST + 1), np.uint8)
    for row, tune in zip(x, known):
        row[1 : len(tune) + 1] = tune
    valid = np.arange(LONGEST) < lengths[:, None]
    print(
        f"{len(known)} tunes of {len(all_tunes)}, {lengths.sum()} notes, {len(vocabulary)} different ones", flush=True
    )

    net = Writer(len(vocabulary))
    params = net.init(jax.random.key(0), x[:1, :4])
    rate = optax.cosine_decay_schedule(8e-3, STEPS)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=0.02))

    def loss_of(params, rows, valid, key):
        return bits(net.apply(params, rows[:, :-1], train=True, rngs={"dropout": key})[0], rows[:, 1:], valid)

    @jax.jit
    def learn(params, state, rows, valid, key):
        loss, slope = jax.value_and_grad(loss_of)(params, rows, valid, key)
        change, state = optimiser.update(slope, state, params)
        return optax.apply_updates(params, change), state, loss

    @jax.jit
    def test_of(params):
        return bits(net.apply(params, x[:TEST, :-1])[0], x[:TEST, 1:], valid[:TEST])

    state, rng = optimiser.init(params), np.random.default_rng(1)
    for step in range(STEPS):
        rows = rng.integers(TEST, len(x), BATCH)
        params, state, loss = learn(params, state, x[rows], valid[rows], jax.random.key(step))
        if step % 100 == 99:
            print(f"step {step + 1}: {loss:.3f} bits a note, test {test_of(params):.3f}", flush=True)
    value = float(test_of(params))
    (HERE / "music.msgpack").write_bytes(flax.serialization.to_bytes(params))
    test = {"tunes": x[:TEST], "lengths": lengths[:TEST].astype(np.int64)}
    np.savez_compressed(HERE / "test_data.npz", **test, vocabulary=np.array(vocabulary, np.uint8))

    one = jax.jit(lambda note, state: net.apply(params, note, state=state))
    note = np.zeros((1, 1), np.int32)
    _, state = one(note, (jnp.zeros((1, 96)), jnp.zeros((1, 96))))
    spent = min(repeat(lambda: jax.block_until_ready(one(note, state)), number=100, repeat=30)) / 100
    about = {
        "framework": f"flax {flax.__version__}",
        "metric": "bits a note",
        "value": value,
        "us_per_call": round(1e6 * spent, 1),
        "onnxruntime_us_per_call": None,
        "onnxruntime": "Flax writes no ONNX",
        "us_of": "a note, the state handed over",
        "machine": "AMD EPYC, one thread, shared",
    }
    (HERE / "framework.json").write_text(json.dumps(about, indent=2) + "\n")
    print(about)


if __name__ == "__main__":
    main()
