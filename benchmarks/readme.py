"""Write README's blocks of figures from the stored report: python benchmarks/readme.py

Between its markers, from report/report.json and report/models.json; --check says whether it is as it should be.
"""

import textwrap
from pathlib import Path

import click
from suite import model_tables, told
from suite.models import aim_of
from suite.tables import table

from fusedlstm.bench.terminal import number

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
LOW = {
    "fusedlstm float16": "float16",
    "fusedlstm bfloat16": "bfloat16",
    "fusedlstm bfloat16 by bfloat16": "bfloat16 by bfloat16",
    "fusedlstm int8": "int8",
    "fusedlstm int8 by 16 and 8": "int8 by 16 and 8 bits",
    "fusedlstm int8 by 8": "int8 by 8 bits",
    "openvino bfloat16": "OpenVINO bfloat16",
    "onnxruntime int8": "ONNX Runtime int8",
}
LOW_CASES = ("amp_step", "vad_step", "lm_step", "seq64", "seq256", "seq1024", "b32_256", "b128_512")
NAMES = {"onnxruntime": "ONNX Runtime"}


def bench(found):
    """The block of LSTMs."""
    about, rows = found.about, found.select(1, "step", "sequence", "batch")
    machine = f"{about['cpu']} ({about['cores']} cores, {about['isa']}, {about['date'].split()[0]}; torch "
    parts = [
        filled(
            f"Microseconds a call, medians of one run of `fusedlstm bench` on {machine}{about['versions']['torch']}),",
            "with one thread and with two. Error: the largest difference from a float64 LSTM. ≈: the quartiles of the",
            "ratio hold 1, neither is faster.",
        ),
        *([filled(f"The machine was busy: {'; '.join(found.busy)}.")] if found.busy else []),
        *(
            [filled(f"Not measured everywhere: {', '.join(found.doubtful)}. One may be the best.")]
            if found.doubtful
            else []
        ),
        _speeds(found, rows),
        *_small_steps(found),
        "Lower precisions in the same run, one thread, with the root-mean-square error of y:",
        _low(rows),
        filled(
            "Quartiles, every engine's setting, the machine's limits, our targets and pictures:",
            "[benchmarks/report/report.md](benchmarks/report/report.md). On an Intel Xeon, by an earlier build:",
            "[benchmarks/report-xeon](benchmarks/report-xeon/report.md).",
        ),
    ]
    return "\n\n".join(parts)


def filled(*words):
    """A paragraph."""
    return textwrap.fill(" ".join(words), 120, break_long_words=False, break_on_hyphens=False)


def _speeds(found, rows):
    head = ["case", "steps × batch", "LSTM", "fusedlstm", "error", "PyTorch", "error", "best peer", "faster by"]
    head += ["two threads", "best peer", "faster by"]
    body = []
    for row in rows:
        ours, torch, two = row.ours, row.engines.get("torch"), found.row(row.case.name, 2)
        shape = row.case.shape.replace(" x", " ×").replace("bidir", "both ways")
        body.append(
            [
                *(row.case.name, f"{row.case.time} × {row.case.batch}", shape),
                *(f"**{number(ours.microseconds)}**", f"{ours.max_error:.0e}"),
                *(("", "") if torch is None else (number(torch.microseconds), f"{torch.max_error:.0e}")),
                *_beside(row),
                *(("", "", "") if two is None else (f"**{number(two.ours.microseconds)}**", *_beside(two))),
            ]
        )
    return table(head, body, left=(0, 2, 7, 10))


def _beside(row):
    best = row.best_peer
    return ("", "") if best is None else (f"{best} {number(row.engines[best].microseconds)}", row.told)


def _small_steps(found):
    lines = []
    fresh = [row for row in found.select(1, "step") if row.fresh is not None]
    if fresh:
        told = ", ".join(
            f"{row.case.name} {number(row.ours.microseconds)} and {number(row.fresh.microseconds)}" for row in fresh
        )
        lines.append(filled(f"A bare `step()`, and one whose sample has to be put in its place first: {told} µs."))
    blocks = found.select(1, "block")
    if blocks:
        told = []
        for row in blocks:
            theirs, ours = found.rtneural_ns(row), row.ours.microseconds / row.case.time * 1e3
            told.append(f"{row.case.shape} {ours:,.0f}" + ("" if theirs is None else f" (RTNeural {theirs:,.0f})"))
        where = ""
        if found.rtneural is not None:
            same = found.rtneural["cpu"] == found.about["cpu"]
            where = "; RTNeural is C++ with sizes fixed at compile time, " + (
                "built on the same kind of machine" if same else f"on {found.rtneural['cpu']}"
            )
        steps = f"{blocks[0].case.time:,}"
        lines.append(filled(f"A step inside a block of {steps}, in nanoseconds: {', '.join(told)}{where}."))
    return lines


def _low(rows):
    def cell(one):
        return "" if one is None else f"{number(one.microseconds)} <sub>{one.rms_error:.0e}</sub>"

    body = [
        [row.case.name, cell(row.ours), *(cell(row.low_precision.get(name)) for name in LOW)]
        for row in rows
        if row.case.name in LOW_CASES
    ]
    return table(["case", "float32", *LOW.values()], body)


def models(rows):
    """The block of whole models."""
    shown = [row for row in rows if row.threads == 1 and not (row.stream and aim_of(row) is None)]
    body = []
    for row in shown:
        best = row.best_peer
        ort, peer = row.engines.get("onnxruntime"), row.engines[best]
        how = peer.how.split(",")[0]
        how = f" ({how})" if how and "thread" not in how else ""
        body.append(
            [
                *(row.title, f"**{number(row.ours.microseconds)}**", "" if ort is None else number(ort.microseconds)),
                *(f"{best}{how} {number(peer.microseconds)}", row.told, model_tables.told_aim(row, NAMES)),
                f"{peer.difference:.0e}",
            ]
        )
    head = ["model", "fusedlstm, µs", "ONNX Runtime, µs", "best peer, µs", "faster", "aim", "difference"]
    missed = sum(cells[5].startswith("(") for cells in body)
    return "\n\n".join(
        [
            filled(
                "Microseconds a call (or a step of a stream, states handed over), one thread, beside the fastest of",
                "ONNX Runtime, OpenVINO, LiteRT, tract, PyTorch and Keras that runs the file or what its framework's",
                "converters make of it (`python benchmarks/models.py DIR`). Difference: the largest between their",
                "outputs and ours, of the largest number. Every engine's figures, and why some are missing:",
                "[benchmarks/report/models.md](benchmarks/report/models.md).",
            ),
            table(head, body),
            filled(
                f"Aims are our own; {missed} are missed, in brackets. ≈: the quartiles of the ratio hold 1.",
                "[docs/design.md](docs/design.md) says where the time goes, and `fusedlstm profile` shows it for any",
                "file.",
            ),
        ]
    )


def between(text, name, block):
    """The text with a new block between a pair of markers."""
    start, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}{block}{end}{after}"


@click.command(help=__doc__)
@click.option("--check", is_flag=True)
def main(check):
    old = README.read_text()
    new = between(old, "bench", bench(told.load(HERE / "report" / "report.json")))
    new = between(new, "models", models(model_tables.load(HERE / "report" / "models.json")[1]))
    if check and new != old:
        raise click.ClickException("README.md: expected the figures of benchmarks/report; python benchmarks/readme.py")
    README.write_text(new)


if __name__ == "__main__":
    main()
