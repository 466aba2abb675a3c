"""The picture of the home page, from the stored report: how long a call of whole models takes, here and elsewhere."""

import json

# Of Okabe and Ito's palette, which the colour-blind tell apart, and shapes for who sees none of them.
OURS, ORT, OTHER = ("#0072b2", "o"), ("#d55e00", "s"), ("#cc79a7", "D")
THEMES = {"light": {"ink": "#22303c", "faint": "#5a6772", "grid": "#dfe4e8"}}
THEMES["dark"] = {"ink": "#e6eaed", "faint": "#a9b4bd", "grid": "#3a444d"}
BRIGHT = {"#0072b2": "#56b4e9", "#d55e00": "#e69f00", "#cc79a7": "#cc79a7"}
SHOWN = {
    "silero_vad.onnx": "Silero voice activity, ONNX",
    "dtln_1.tflite": "DTLN noise suppression, TFLite",
    "engine_wear.onnx": "engine wear, ONNX",
    "turbofan_autoencoder.keras": "turbofan autoencoder, Keras 3",
    "census_names.h5": "a name's origin, Keras 2",
    "next_word.keras": "next word, Keras 3",
    "step of 2 x LSTM 64 + dense": "step of 2 × LSTM 64 + dense, PyTorch",
    "forecaster: LSTM 64 + dense, 30 x 9": "forecaster, 30 steps, PyTorch",
}


def draw(report, folder):
    """A picture for pages in the light, one for pages in the dark."""
    stored = json.loads(report.read_text())["models"]
    rows = {row["name"]: row["engines"] for row in stored if row["threads"] == 1 and not row["stream"]}
    folder.mkdir(exist_ok=True)
    for theme, colours in THEMES.items():
        figure = _figure({SHOWN[name]: rows[name] for name in SHOWN if name in rows}, theme == "dark", **colours)
        figure.savefig(folder / f"models-{theme}.svg", transparent=True, metadata={"Date": None})


def _figure(rows, dark, ink, faint, grid):
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    matplotlib.rcParams["svg.fonttype"] = "path"
    figure = Figure(figsize=(5.6, 0.62 * len(rows) + 0.9), layout="constrained")
    axes = figure.subplots()
    for y, (name, engines) in enumerate(rows.items()):
        axes.annotate(name, (0, y - 0.34), xycoords=("axes fraction", "data"), va="center", color=ink)
        times = {name: one["microseconds"] for name, one in engines.items()}
        ours = times.pop("fusedlstm")
        axes.plot([ours, max(times.values())], [y, y], color=grid, lw=2, zorder=1)
        for peer, us in times.items():
            _point(axes, us, y, ORT if peer == "onnxruntime" else OTHER, dark, 34)
        _point(axes, ours, y, OURS, dark, 70)
        axes.annotate(
            f"{ours:,.3g}", (ours, y), (-8, 0), textcoords="offset points", ha="right", va="center", color=ink
        )
    for kind, label, size in ((OURS, "fusedlstm", 70), (ORT, "ONNX Runtime", 34), (OTHER, "other engines", 34)):
        _point(axes, [], [], kind, dark, size, label=label)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, labelcolor=ink, borderaxespad=0.2)
    axes.set_yticks([])
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 2, high)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("microseconds a call, one thread (logarithmic; left is faster)", color=ink)
    axes.set_ylim(len(rows) - 0.6, -0.7)
    axes.grid(axis="x", color=grid, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, which="both", colors=faint)
    return figure


def _point(axes, x, y, kind, dark, size, **options):
    colour, marker = kind
    axes.scatter(x, y, size, BRIGHT[colour] if dark else colour, marker, zorder=3, linewidths=0, **options)
