"""Train a model that finds people, places, companies and dates in sentences, and save it as PyTorch does.

    pip install torch faker onnxruntime onnx
    python train.py                          # two minutes on two cores

The sentences come from the grammar below; their names from the package faker (MIT), in five languages. The test
sentences have names, and a third of them forms, that are in none of the others.
"""

import calendar
import json
import os
import platform
import random
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from faker import Faker
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

HERE = Path(__file__).parent
KINDS = ["other", "person", "place", "company", "date"]
STEPS, BATCH = 350, 32
LANGUAGES = ["en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT"]
FORMS = """{person} was born in {place} on {date} .
{person} , who works for {company} , moved to {place} in {date} .
On {date} {company} opened a new office in {place} .
{company} said on {date} that {person} will lead its business in {place} .
The mayor of {place} , {person} , met the head of {company} .
{person} and {person} founded {company} in {date} .
Shares of {company} fell after {person} left in {date} .
We flew from {place} to {place} on {date} , and it rained all day .
Please send the report to {person} at {company} by {date} .
My friend {person} lives in {place} with her brother {person} .
In {date} the old bridge of {place} was closed .
{company} buys {company} , a maker of small engines from {place} .
The painting was sold to {person} for two million in {place} .
He wrote to {person} on {date} , but there was no answer .
Nobody in {place} had heard of {company} before {date} .
{place} , {date} : The river rose again , said {person} .
According to {person} of {company} the price will rise .
After ten years in {place} , {person} went back to {place} .
The train to {place} was late , as it was on {date} .
Between {date} and {date} the factory of {company} stood still .
"We had no choice , " said {person} , who runs {company} .
Dear {person} , thank you for the order of {date} .
The doctor {person} saw the first patients in {place} .
A lawyer for {company} did not want to speak about {person} .
{person} won the race in {place} for the third time .
Today the weather in {place} is fine and the market is open .
The report says that the new law will help small firms .
There are many good books about this , and I have read some of them .
Visitors from {place} and {place} like the museum best .
The contract between {company} and {company} ends on {date} .
{person} studied law in {place} before she joined {company} .
Born in {place} , {person} came to this town in {date} as a child .
The city of {place} will pay {company} for the new trams until {date} .
Last week {person} told the newspaper that {company} owes him money .
They met {person} at the station of {place} .
The letter of {date} came from {place} .""".splitlines()
NEW = """{person} leaves {company} after a dispute in {place} .
It was {person} who found the mistake on {date} .
The people of {place} remember {date} well .
Since {date} , {company} has built ships near {place} .
Did you know that {person} and {person} grew up in {place} ?
I bought it from {company} and gave it to {person} .""".splitlines()
MONTHS = calendar.month_name[1:]
DAYS = list(calendar.day_name)


def names():
    """Lists of parts of names to learn from, and others to test with."""
    fakes = [Faker(language) for language in LANGUAGES]
    for fake in fakes:
        fake.seed_instance(0)
    makers = {"first": "first_name", "last": "last_name", "place": "city", "company": "company"}
    known, new = {}, {}
    for kind, maker in makers.items():
        found = sorted({getattr(fake, maker)() for fake in fakes for _ in range(700)})
        random.Random(0).shuffle(found)
        new[kind], known[kind] = found[: len(found) // 5], found[len(found) // 5 :]
    return known, new


def phrase(kind, pool, rng):
    if kind == "person":
        title = rng.choice(["", "", "", "", "Dr. ", "Mrs. ", "Mr. ", "Professor "])
        first, last = rng.choice(pool["first"]), rng.choice(pool["last"])
        return rng.choice([f"{title}{first} {last}", f"{first} {last}", f"{title or first + ' '}{last}"])
    if kind == "date":
        day, month, year = rng.randint(1, 28), rng.choice(MONTHS), rng.randint(1850, 2030)
        forms = [
            f"{day} {month} {year}",
            f"{month} {day} , {year}",
            f"{year}",
            f"{month} {year}",
            f"{rng.choice(DAYS)}",
        ]
        return rng.choice([*forms, f"{year}-{rng.randint(1, 12):02}-{day:02}", f"{day} {month}"])
    return rng.choice(pool[kind])


def sentence(forms, pool, rng):
    """Words and their kinds."""
    words, kinds = [], []
    for token in rng.choice(forms).split():
        kind = token.strip("{}") if token[0] == "{" else "other"
        parts = phrase(kind, pool, rng).split() if token[0] == "{" else [token]
        words, kinds = words + parts, kinds + [KINDS.index(kind)] * len(parts)
    return words, kinds


class Tagger(nn.Module):
    """A kind for each letter."""

    def __init__(self, letters):
        super().__init__()
        self.emb = nn.Embedding(letters, 16)
        self.rnn = nn.LSTM(16, 32, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(64, len(KINDS))

    def forward(self, x, lengths=None):
        x = self.emb(x)
        if lengths is not None:
            x = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, _ = self.rnn(x)
        if lengths is not None:
            y, _ = pad_packed_sequence(y, batch_first=True)
        return torch.log_softmax(self.head(y), -1)


def batch_of(sentences, alphabet):
    """Letters, lengths and the kind of each letter, -1 where it does not matter."""
    lengths = torch.tensor([len(" ".join(words)) for words, _ in sentences])
    x = torch.zeros(len(sentences), int(lengths.max()), dtype=torch.long)
    wanted = torch.full_like(x, -1)
    for k, (words, kinds) in enumerate(sentences):
        x[k, : lengths[k]] = torch.tensor([alphabet.get(letter, 0) for letter in " ".join(words)])
        at = 0
        for word, kind in zip(words, kinds):
            wanted[k, at : at + len(word)] = kind
            at += len(word) + 1
    return x, lengths, wanted


def spans(kinds):
    """Entities as (first word, behind the last word, kind)."""
    edges = [0] + [k for k in range(1, len(kinds)) if kinds[k] != kinds[k - 1]] + [len(kinds)]
    return {(a, b, kinds[a]) for a, b in pairwise(edges) if kinds[a]}


def f1(scores, sentences):
    """Entities that are found whole and with the right kind: the harmonic mean of precision and recall."""
    right = found = there = 0
    for row, (words, kinds) in zip(scores, sentences):
        ends = np.cumsum([len(word) + 1 for word in words])
        means = [row[end - len(word) - 1 : end - 1].mean(0) for word, end in zip(words, ends)]
        got, wanted = spans([int(mean.argmax()) for mean in means]), spans(kinds)
        right, found, there = right + len(got & wanted), found + len(got), there + len(wanted)
    return 2 * right / (found + there)


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
    rng, (known, new) = random.Random(0), names()
    test = [sentence(NEW if k % 3 == 0 else FORMS, new, rng) for k in range(300)]
    letters = sorted({letter for _ in range(3000) for word in sentence(FORMS, known, rng)[0] for letter in word + " "})
    alphabet = {letter: k + 1 for k, letter in enumerate(letters)}  # 0 is any other letter
    net = Tagger(len(alphabet) + 1)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-2, total_steps=STEPS)
    for step in range(STEPS):
        x, lengths, wanted = batch_of([sentence(FORMS, known, rng) for _ in range(BATCH)], alphabet)
        x[torch.rand(x.shape) < 0.02] = 0
        loss = nn.functional.nll_loss(net(x, lengths).flatten(0, 1), wanted.flatten(), ignore_index=-1)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}: loss {loss.item():.4f}", flush=True)

    net.eval()
    x, lengths, _ = batch_of(test, alphabet)
    with torch.no_grad():
        value = f1(net(x, lengths).numpy(), test)
        one = x[:1, : lengths[0]]
        names_of = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {1: "time"}}}
        torch.onnx.export(net, (one,), "tagger.onnx", dynamo=False, **names_of)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession("tagger.onnx", options)
        os.remove("tagger.onnx")
        about = {
            "framework": f"torch {torch.__version__}",
            "metric": "F1 of entities",
            "value": value,
            "us_per_call": microseconds(lambda: net(one)),
            "onnxruntime_us_per_call": microseconds(lambda: session.run(None, {"x": one.numpy()})),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared",
        }
    torch.save(net.state_dict(), HERE / "tagger.pt")
    words, kinds = zip(*test)
    (HERE / "test.json").write_text(json.dumps({"words": words, "kinds": kinds}, separators=(",", ":")) + "\n")
    (HERE / "alphabet.json").write_text(json.dumps("".join(letters)) + "\n")
    (HERE / "framework.json").write_text(json.dumps(about, indent=2) + "\n")
    print(about)


if __name__ == "__main__":
    main()
