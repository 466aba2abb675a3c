"""A report as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fusedlstm.bench import Figures, FusedLSTM, Row
from fusedlstm.bench.runner import QUANTILES
from fusedlstm.bench.terminal import number

from . import targets
from .told import Told

METHOD = """\
Times are medians, in microseconds a call, through each engine's Python API: from an x in NumPy's memory to a y that
NumPy can read, the state kept as the engine likes best. The engines take turns, round by round, in a process pinned to
as many CPUs as there are threads. Each runs at its own best setting (with two threads or one, whichever is faster), and
its y is compared with a float64 LSTM before it is timed. Inputs are standard normal, weights uniform in ±1/√hidden.
Below a median stand the quartiles.

Targets are what the authors of fusedlstm have set for themselves (benchmarks/suite/targets.py): ✓ met, ✗ missed, ? met
beside the peers that were measured, while one that may be the best was not. ≈: the quartiles of the ratio hold 1, so
that neither is faster."""


def markdown(report: Told, pictures: Sequence[tuple[str, str]] = ()) -> str:
    """The whole report; `pictures` are (file name, what it shows)."""
    about = report.about
    engines = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    parts = [
        "# fusedlstm beside its peers",
        f"**{report.title}**, {about['date']}.\n{about['system']}, Python {about['python']}, {engines}.",
        *warnings(report),
        METHOD,
        *(f"![{words}]({name})" for name, words in pictures),
    ]
    for threads in report.threads:
        parts += _threads(report, threads)
    parts += _scaling(report)
    if report.limits is not None:
        parts += _limits(report)
    return "\n\n".join(parts) + "\n"


def warnings(report: Told) -> list[str]:
    """What one should know before one believes the figures."""
    found = []
    if report.busy:
        found.append(f"> **The machine was busy**: {'; '.join(report.busy)}.")
    if "load" not in report.about:
        found.append("Load and stolen time were not recorded in this run.")
    if report.doubtful:
        found.append(
            f"> **Not measured everywhere**: {', '.join(report.doubtful)}. Stored reports have them as the best peers "
            "of some cases; no target counts as met without them."
        )
    return found


def _threads(report: Told, threads: int) -> list[str]:
    name = f"{threads} thread{'s' if threads > 1 else ''}"
    rows, blocks = report.select(threads, "step", "sequence", "batch"), report.select(threads, "block")
    parts = [f"## {name}"]
    if rows:
        parts += [_summary(rows), _targets(report, rows), f"### Every engine, {name}", _every(rows)]
    if any(row.low_precision for row in rows):
        parts += [f"### Low precision, {name}", low_precision(rows)]
    if blocks:
        parts += [f"### A step inside a block of {blocks[0].case.time:,}, {name}", _blocks(report, blocks)]
    steps = [row for row in rows if row.case.kind == "step"]
    if steps:
        parts += [
            f"### Single steps one by one, {name}",
            *_fresh(steps),
            "Microseconds, told where at least five calls were slower; the clock's own 0.05 included.",
            _latency(steps),
        ]
    absent: dict[str, list[str]] = {}
    for row in (*rows, *blocks):
        for peer, why in row.left_out.items():
            absent.setdefault(f"{peer}: {why}", []).append(row.case.name)
    if absent:
        parts.append("Left out: " + "; ".join(f"{why} ({', '.join(names)})" for why, names in absent.items()) + ".")
    return parts


def _summary(rows: Sequence[Row]) -> str:
    beside = [row for row in rows if row.speedup is not None]
    if not beside:
        return "No peer was measured."
    level = sum(row.level for row in beside)
    ahead = sum(row.speedup > 1 and not row.level for row in beside)
    ticks = [tick for row in beside if (tick := targets.speed_tick(row))]
    even = f", level on {level}" if level else ""
    met = f"{ticks.count('✓')} of {len(ticks)} targets met"
    return f"Ahead of the best peer on {ahead} of {len(beside)} cases{even}; {met}."


def _targets(report: Told, rows: Sequence[Row]) -> str:
    head = [
        "case",
        "time × batch",
        "LSTM",
        "fusedlstm",
        "best peer",
        "",
        "faster by",
        "target",
        "",
        "of the bound",
        "target",
    ]
    body = []
    for row in rows:
        best, share, aim, target = (
            row.best_peer,
            report.bound_share(row),
            report.bound_target(row),
            targets.speed_up(row),
        )
        told = "" if row.speedup is None else f"**{row.told}**"
        if row.level:
            told = f"≈ ({row.speedup:.2f})"
        body.append(
            [
                row.case.name, f"{row.case.time} × {row.case.batch}", row.case.shape, spread(row.ours),
                "" if best is None else spread(row.engines[best]), best or "",
                told, "" if target is None else f"{target:g}",
                targets.speed_tick(row), percent(share),
                percent(aim) + " " + targets.tick(share, aim) if share else "",
            ]
        )  # fmt: skip
    return table(head, body, left=(0, 2, 5))


def _every(rows: Sequence[Row]) -> str:
    """Each cell: time; below it the largest error and the root-mean-square error."""
    engines = _engines(rows)

    def cell(row: Row, engine: str) -> str:
        if engine not in row.engines:
            return "–"
        one = row.engines[engine]
        time = f"**{number(one.microseconds)}**" if one is _fastest(row) else number(one.microseconds)
        return f"{time}<br><sub>{one.max_error:.0e} · {one.rms_error:.0e}</sub>"

    body = [[row.case.name, *(cell(row, engine) for engine in engines)] for row in rows]
    used = {engine: {row.engines[engine].setting for row in rows if engine in row.engines} for engine in engines}
    ways = "; ".join(f"{engine}: {', '.join(sorted(some))}" for engine, some in used.items() if any(some))
    return (
        "Microseconds a call; below, the largest and the root-mean-square error of y.\n\n"
        + table(["case", *engines], body)
        + f"\n\nHow each is called, for each case the fastest of: {ways}."
    )


def low_precision(rows: Sequence[Row]) -> str:
    """Each cell: time; below it the errors. The first column is fusedlstm in float32."""
    names = list(dict.fromkeys(name for row in rows for name in row.low_precision))

    def cell(one: Figures | None) -> str:
        if one is None:
            return "–"
        return f"{number(one.microseconds)}<br><sub>{one.max_error:.0e} · {one.rms_error:.0e}</sub>"

    body = [
        [row.case.name, cell(row.ours), *(cell(row.low_precision.get(name)) for name in names)]
        for row in rows
        if row.low_precision
    ]
    return (
        "Microseconds a call; below, the largest and the root-mean-square error of y against the float64 model, its "
        "weights as they were before rounding.\n\n" + table(["case", f"{FusedLSTM.name} float32", *names], body)
    )


def _blocks(report: Told, rows: Sequence[Row]) -> str:
    head = ["case", "LSTM", "fusedlstm, ns a step", "target", "", "best peer", "", "of the bound", "RTNeural"]
    body = []
    for row in rows:
        per_step, best = 1e3 / row.case.time, row.best_peer
        aim = targets.NANOSECONDS.get(row.case.name) if row.threads == 1 else None
        theirs = report.rtneural_ns(row)
        ours = row.ours.microseconds * per_step
        body.append(
            [
                row.case.name, row.case.shape, f"**{ours:,.0f}**", "" if aim is None else f"{aim:,.0f}",
                "" if aim is None else targets.tick(aim, ours),
                "" if best is None else f"{row.engines[best].microseconds * per_step:,.0f}", best or "",
                percent(report.bound_share(row)), "" if theirs is None else f"{theirs:,.0f}",
            ]
        )  # fmt: skip
    return "\n\n".join([table(head, body, left=(0, 1, 6)), *about_rtneural(report)])


def about_rtneural(report: Told) -> list[str]:
    """Where its figures are from; nothing without them."""
    if report.rtneural is None:
        return []
    where, here = report.rtneural["cpu"], report.about["cpu"]
    machine = "on the same kind of machine" if where == here else f"on another machine, {where}: for reference only"
    return [
        f"RTNeural is C++ with sizes fixed at compile time, one sample a call ({report.rtneural['source']}; "
        f"{report.rtneural['compiler']}). Measured {machine}, {report.rtneural['measured']}."
    ]


def _fresh(rows: Sequence[Row]) -> list[str]:
    """What a step costs with its sample put in place, beside the bare one."""
    body = [
        [row.case.name, row.case.shape, spread(row.ours), spread(row.fresh), row.fresh.setting]
        for row in rows
        if row.fresh is not None
    ]
    head = ["case", "LSTM", "bare step", "with a fresh sample", "how"]
    return (
        ["The sample in its place already, as peers have theirs, or put there:", table(head, body, (0, 1, 4))]
        if body
        else []
    )


def _latency(rows: Sequence[Row]) -> str:
    head = ["case", "engine", *QUANTILES, "how"]
    body = [
        [row.case.name, engine, *(number(one.latency[q]) if q in one.latency else "–" for q in QUANTILES), one.setting]
        for row in rows
        for engine, one in sorted(row.engines.items(), key=lambda item: item[1].latency["p50"])
    ]
    return table(head, body, left=(0, 1, 5))


def _scaling(report: Told) -> list[str]:
    pairs = [(one, report.row(one.case.name, 2)) for one in report.rows if one.threads == 1]
    body = [
        [
            one.case.name, number(one.ours.microseconds), number(two.ours.microseconds),
            f"**{(ratio := one.ours.microseconds / two.ours.microseconds):.2f}**",
            f"{(aim := targets.TWO_THREADS[one.case.hidden_size >= 256]):g}", targets.tick(ratio, aim),
        ]
        for one, two in pairs
        if two is not None
    ]  # fmt: skip
    head = ["case", "1 thread", "2 threads", "faster by", "target", ""]
    return ["## One thread and two", table(head, body)] if body else []


def _limits(report: Told) -> list[str]:
    limits = report.limits
    assert limits is not None
    reads = ", ".join(f"{size(reach)} {speed:.0f}" for reach, speed in limits.reads)
    return [
        "## The machine's limits",
        f"Measured by benchmarks/limits.py, {limits.measured}. One core: {limits.gflops:.0f} GFLOP/s of multiply-adds, "
        f"{limits.cell_ns:.2f} ns a cell update; reads in GB/s by working set: {reads}.",
        "The bound of a case adds up the input projection at the multiply-add peak, the recurrent weights read once a "
        "step (or their multiply-adds, where a batch makes those slower) and the cell updates; calls and threads cost "
        "nothing in it. A share above 100 % is possible: visiting the weights in alternating order finds those read "
        "last still in the caches.",
    ]


def table(head: Sequence[str], body: Iterable[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """A Markdown table, numbers to the right."""
    rule = [":--" if k in left else "--:" for k in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *body))


def spread(one: Figures) -> str:
    """The median, and the quartiles below it."""
    return f"{number(one.microseconds)}<br><sub>{' – '.join(map(number, one.quartiles))}</sub>"


def size(count: float) -> str:
    """Bytes in words."""
    return f"{count / 1024:.0f} KiB" if count < 1 << 20 else f"{count / (1 << 20):g} MiB"


def percent(share: float | None) -> str:
    """A share in per cent; empty for None."""
    return "" if share is None else f"{100 * share:.0f} %"


def _fastest(row: Row) -> Figures:
    return min(row.engines.values(), key=lambda one: one.microseconds)


def _engines(rows: Sequence[Row]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in row.engines)
    return [FusedLSTM.name, *(name for name in names if name != FusedLSTM.name)]
