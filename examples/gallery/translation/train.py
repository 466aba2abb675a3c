"""Train a model that turns dates as people write them into ISO 8601, and save both halves by PyTorch's ONNX exporter.

    pip install torch onnx onnxruntime
    python train.py                          # two minutes on two cores

The dates come from the generator below: five languages, many orders and spellings, and a slip of the pen in one of ten.
The days of the test are in no date that was learnt from.
"""

import datetime
import json
import os
import platform
import random
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

HERE = Path(__file__).parent
MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
}
DAYS = {
    "en": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "de": "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
    "fr": "lundi mardi mercredi jeudi vendredi samedi dimanche",
    "es": "lunes martes miércoles jueves viernes sábado domingo",
    "it": "lunedì martedì mercoledì giovedì venerdì sabato domenica",
}
FORMS = {
    "en": [
        "{m} {o}, {y}",
        "{d} {m} {y}",
        "the {o} of {m} {y}",
        "{w}, {m} {d}, {y}",
        "{b} {d} {y}",
        "{d} {b} '{s}",
        "{n}/{d}/{y}",
    ],
    "de": ["{d}. {m} {y}", "{w}, der {d}. {m} {y}", "{d}.{n}.{y}", "{d}. {b}. {y}", "{d}.{n}.{s}", "den {d}. {m} {y}"],
    "fr": ["le {d} {m} {y}", "{w} {d} {m} {y}", "{d} {b}. {y}", "le {w} {d} {m} {y}"],
    "es": ["{d} de {m} de {y}", "el {d} de {m} de {y}", "{w}, {d} de {m} de {y}", "{d} {b} {y}"],
    "it": ["{d} {m} {y}", "{w} {d} {m} {y}", "il {d} {m} {y}", "{d} {b} {y}"],
}
OUTPUT = "0123456789-^$"  # ^ begins, $ ends
LONGEST, HIDDEN, STEPS, BATCH = 36, 48, 1000, 64
FIRST, SPAN = datetime.date(1930, 1, 1).toordinal(), 36_500


def pair(rng, test):
    """A date as somebody writes it, and in ISO 8601; two digits of a year are those of 1930 to 2029."""
    day = FIRST + rng.randrange(SPAN)
    day += (day % 11 == 3) != test and (3 - day % 11 if test else 1)  # each eleventh day is the test's
    date, language = datetime.date.fromordinal(day), rng.choice(list(FORMS))
    month = MONTHS[language].split()[date.month - 1]
    tail = "th" if 4 <= date.day <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(date.day % 10, "th")
    parts = {
        "d": date.day,
        "n": date.month,
        "y": date.year,
        "s": f"{date.year % 100:02}",
        "m": month,
        "o": f"{date.day}{tail}",
    }
    weekday = DAYS[language].split()[date.weekday()]
    text = rng.choice(FORMS[language]).format(**parts, w=weekday, b=month[: 4 if language == "fr" else 3])
    text = rng.choice([str, str, str.lower, str.upper])(text)
    if rng.random() < 0.1:  # a letter is forgotten, or comes twice
        places = [k for k, letter in enumerate(text) if letter.isalpha()]
        if places:
            k = rng.choice(places)
            text = text[:k] + rng.choice(["", text[k] * 2]) + text[k + 1 :]
    return text, date.isoformat()


class Encoder(nn.Module):
    """What a text says at each letter, and the state in which the decoder starts."""

    def __init__(self, letters):
        super().__init__()
        self.emb = nn.Embedding(letters, 16)
        self.rnn = nn.LSTM(16, HIDDEN // 2, batch_first=True, bidirectional=True)

    def forward(self, text):
        memory, (h, c) = self.rnn(self.emb(text))
        return memory, torch.cat([h[0], h[1]], 1), torch.cat([c[0], c[1]], 1)


class Decoder(nn.Module):
    """One letter more: where to look in the text, and what comes next."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(len(OUTPUT), 12)
        self.rnn = nn.LSTM(12 + HIDDEN, HIDDEN, batch_first=True)
        self.query = nn.Linear(HIDDEN, HIDDEN)
        self.head = nn.Linear(2 * HIDDEN, len(OUTPUT))

    def forward(self, letter, memory, seen, h, c):
        y, (h, c) = self.rnn(torch.cat([self.emb(letter), seen], 1)[:, None], (h[None], c[None]))
        attention = torch.softmax(torch.bmm(self.query(y), memory.transpose(1, 2)), 2)
        seen = torch.bmm(attention, memory)
        scores = torch.log_softmax(self.head(torch.cat([y, seen], 2)), 2)
        return scores[:, 0], attention[:, 0], seen[:, 0], h[0], c[0]


def numbers_of(texts, alphabet):
    rows = np.zeros((len(texts), LONGEST), np.int64)  # 0 is what stands behind the text
    for row, text in zip(rows, texts):
        row[: len(text)] = [alphabet.index(letter) + 1 for letter in text]
    return torch.tensor(rows)


def greedy(encoder, decoder, text):
    """The likeliest letter, ten times."""
    memory, h, c = encoder(text)
    letter, seen, written = torch.full((len(text),), OUTPUT.index("^")), torch.zeros(len(text), HIDDEN), []
    for _ in range(10):
        scores, _, seen, h, c = decoder(letter, memory, seen, h, c)
        letter = scores.argmax(1)
        written.append(letter)
    return ["".join(OUTPUT[k] for k in row) for row in torch.stack(written, 1).tolist()]


def onnx_greedy(encoder, decoder, text):
    memory, h, c = encoder.run(None, {"text": text})
    letter, seen = np.full(1, OUTPUT.index("^")), np.zeros((1, HIDDEN), np.float32)
    for _ in range(10):
        given = {"letter": letter, "memory": memory, "seen": seen, "h": h, "c": c}
        scores, _, seen, h, c = decoder.run(None, given)
        letter = scores.argmax(1)


def microseconds(call, calls=100):
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(1e6 * float(np.median(times)), 1)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = random.Random(0)
    pairs, test = [pair(rng, False) for _ in range(40_000)], [pair(rng, True) for _ in range(1000)]
    alphabet = "".join(sorted({letter for text, _ in pairs + test for letter in text}))
    x = numbers_of([text for text, _ in pairs], alphabet)
    y = torch.tensor([[OUTPUT.index(letter) for letter in f"^{iso}$"] for _, iso in pairs])
    encoder, decoder = Encoder(len(alphabet) + 1), Decoder()
    weights = [*encoder.parameters(), *decoder.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=8e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=8e-3, total_steps=STEPS)
    for step in range(STEPS):
        rows = torch.randint(len(x), (BATCH,))
        memory, h, c = encoder(x[rows])
        seen, loss = torch.zeros(BATCH, HIDDEN), 0.0
        for k in range(11):
            scores, _, seen, h, c = decoder(y[rows, k], memory, seen, h, c)
            loss = loss + nn.functional.nll_loss(scores, y[rows, k + 1]) / 11
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}: loss {loss.item():.4f}", flush=True)

    encoder.eval(), decoder.eval()
    texts = numbers_of([text for text, _ in test], alphabet)
    with torch.no_grad():
        value = float(np.mean([found == iso for found, (_, iso) in zip(greedy(encoder, decoder, texts), test)]))
        free, given = {0: "batch"}, {}
        names = ["memory", "h", "c"]
        given["encoder"] = (encoder, (texts[:2],), ["text"], names)
        memory, h, c = encoder(texts[:2])
        inputs = (torch.zeros(2, dtype=torch.long), memory, torch.zeros(2, HIDDEN), h, c)
        outputs = ["scores", "attention", "seen_out", "h_out", "c_out"]
        given["decoder"] = (decoder, inputs, ["letter", "memory", "seen", "h", "c"], outputs)
        for name, (net, example, takes, gives) in given.items():
            options = {"input_names": takes, "output_names": gives, "dynamic_axes": dict.fromkeys(takes + gives, free)}
            torch.onnx.export(net, example, HERE / f"{name}.onnx", dynamo=False, **options)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        halves = [onnxruntime.InferenceSession(HERE / f"{name}.onnx", options) for name in given]
        about = {
            "framework": f"torch {torch.__version__}",
            "metric": "dates right",
            "value": value,
            "us_per_call": microseconds(lambda: greedy(encoder, decoder, texts[:1])),
            "onnxruntime_us_per_call": microseconds(lambda: onnx_greedy(*halves, texts[:1].numpy())),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared",
        }
    (HERE / "test.tsv").write_text("".join(f"{text}\t{iso}\n" for text, iso in test))
    (HERE / "alphabet.json").write_text(json.dumps(alphabet) + "\n")
    (HERE / "framework.json").write_text(json.dumps(about, indent=2) + "\n")
    print(about)


if __name__ == "__main__":
    main()
