"""A tagger of PyTorch's, as it is and with its LSTM run by fusedlstm: python accelerate_torch.py"""

from time import perf_counter

import torch
from torch import nn

import fusedlstm.torch


class Tagger(nn.Module):
    """A tag for each word of a sentence."""

    def __init__(self, words=5000, tags=17, size=128):
        super().__init__()
        self.embedding = nn.Embedding(words, size)
        self.rnn = nn.LSTM(size, size, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * size, tags)

    def forward(self, words):
        return self.head(self.rnn(self.embedding(words))[0])


def milliseconds(model, sentence, calls=50):
    times = []
    for _ in range(calls):
        start = perf_counter()
        model(sentence)
        times.append(perf_counter() - start)
    return 1e3 * sorted(times)[calls // 2]


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, sentence = Tagger().eval(), torch.randint(5000, (1, 40))
    with torch.no_grad():
        scores, before = model(sentence), milliseconds(model, sentence)
        fusedlstm.torch.accelerate(model)
        difference = (model(sentence) - scores).abs().max().item()
        after = milliseconds(model, sentence)
    print(fusedlstm.torch.report(model))
    print(f"{before:.2f} ms a sentence before, {after:.2f} ms after; largest difference {difference:.0e}")


if __name__ == "__main__":
    main()
