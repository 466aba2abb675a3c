"""Write the figures of README and of the site from the stored report: python benchmarks/readme.py

Between markers of the pages, from report/report.json and report/models.json; --check says whether they are as they
should be.
"""

import textwrap
from pathlib import Path

import click
from suite import model_tables, told
from suite.models import aim_of
from suite.tables import table

from fusedlstm.bench.terminal import number

HERE = Path(__file__).parent
ROOT = HERE.parent
REPORT = "../benchmarks/report"  # from docs/
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
NAMES = {
    "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT", "torch": "PyTorch", "keras": "Keras",
    "jax": "JAX",
}  # fmt: skip
README_CASES = {
    "amp_step": "one step, LSTM 1→40", "vad_step": "one step, 128→128", "lm_step": "one step, 2 × 512",
    "seq64": "100 steps, 64→64", "seq256": "100 steps, 256→256", "seq1024": "100 steps, 1024→1024",
    "bi256": "50 steps, 300→256 both ways", "b8_256": "8 rows of 50 steps, 256→256",
    "b32_256": "32 rows of 50 steps, 256→256",
}  # fmt: skip
README_MODELS = {
    "silero_vad.onnx": "Silero voice activity (ONNX)", "dtln_1.tflite": "DTLN noise suppression (TFLite)",
    "turbofan_autoencoder.keras": "turbofan autoencoder (Keras 3)", "census_names.h5": "a name's origin (Keras 2)",
    "step of 2 x LSTM 64 + dense": "step of 2 × LSTM 64 + dense (PyTorch)", "nnsplit_en.onnx": "nnsplit (ONNX)",
}  # fmt: skip


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
    ]
    return "\n\n".join(parts)


def low(found):
    """The block of lower precisions."""
    about = found.about
    head = filled(
        f"Microseconds a call in one run on {about['cpu']} ({about['isa']}), one thread, with the root-mean-square",
        f"error of y beside float64. The cases, and the whole report: [report.md]({REPORT}/report.md).",
    )
    return f"{head}\n\n{_low(found.select(1, 'step', 'sequence', 'batch'))}"


def both(found, rows):
    """README's block: some LSTMs and some whole models."""
    about, body = found.about, []
    for name, words in README_CASES.items():
        row, two = found.row(name, 1), found.row(name, 2)
        best = row.best_peer
        peer = ("", "") if best is None else (_named(best, row), f"{row.engines[best].max_error:.0e}")
        more = ("", "") if two is None else (number(two.ours.microseconds), two.told)
        body.append(
            [words, f"**{number(row.ours.microseconds)}**", f"{row.ours.max_error:.0e}", *peer, row.told, *more]
        )
    for row in rows:
        if row.title in README_MODELS and row.threads == 1:
            best = row.best_peer
            peer = _named(best, row), f"{row.engines[best].difference:.0e} apart"
            body.append([README_MODELS[row.title], f"**{number(row.ours.microseconds)}**", "", *peer, row.told, "", ""])
    head = ["microseconds a call", "fusedlstm", "error", "best peer", "error", "faster", "two threads", "faster"]
    machine = f"{about['cpu']}, {about['isa']}, {about['date'].split()[0]}"
    words = filled(
        f"A selection, on one thread (and on two, where they were measured) of {machine}.",
        "**The machine was busy.**" if found.busy else "",
        "Error: the largest difference of y from a float64 LSTM; of whole models, from the peer's outputs. Best peer:",
        "of ONNX Runtime, OpenVINO, LiteRT, tract, PyTorch, JAX and Keras. ≈: neither is faster. [All figures, those",
        "where others are faster as well](docs/performance.md).",
    )
    return f"{table(head, body, left=(0, 3))}\n\n{words}"


def _named(peer, row):
    return f"{NAMES.get(peer, peer)} {number(row.engines[peer].microseconds)}"


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

    shown = [row for row in rows if row.case.name in LOW_CASES]
    measured = {name: words for name, words in LOW.items() if any(name in row.low_precision for row in shown)}
    body = [[row.case.name, cell(row.ours), *(cell(row.low_precision.get(name)) for name in measured)] for row in shown]
    return table(["case", "float32", *measured.values()], body)


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
                f"[models.md]({REPORT}/models.md).",
            ),
            table(head, body),
            filled(
                f"Aims are our own; {missed} are missed, in brackets. ≈: the quartiles of the ratio hold 1.",
                "[Design](design.md#where-the-time-goes) says where the time goes, and `fusedlstm profile` shows it",
                "for any file.",
            ),
        ]
    )


def between(text, name, block):
    """The text with a new block between a pair of markers."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if text.count(start) != 1 or text.count(end) != 1:
        raise click.ClickException(f"expected {start.strip()} and {end} once each")
    before, _, rest = text.partition(start)
    return f"{before}{start}{block}\n{end}{rest.partition(end)[2]}"


def blocks():
    """The pages, and what stands between markers of theirs."""
    found, rows = told.load(HERE / "report" / "report.json"), model_tables.load(HERE / "report" / "models.json")[1]
    return {
        "README.md": {"figures": both(found, rows)},
        "docs/performance.md": {"bench": bench(found), "models": models(rows)},
        "docs/precision.md": {"low": low(found)},
    }


@click.command(help=__doc__)
@click.option("--check", is_flag=True)
def main(check):
    for name, made in blocks().items():
        old = new = (ROOT / name).read_text()
        for marker, block in made.items():
            new = between(new, marker, block)
        if check and new != old:
            raise click.ClickException(
                f"{name}: expected the figures of benchmarks/report; python benchmarks/readme.py"
            )
        (ROOT / name).write_text(new)


if __name__ == "__main__":
    main()
