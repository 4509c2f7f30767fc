"""When each step ran: one bar a node on a common axis, with the idle time between sittings cut out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from steps.progress import human_seconds
from steps.receipts import Receipt
from steps.reporting.words import pause, percent

# Idle time is cut when it is long in itself and long beside the work: pods that start within seconds are one sitting.
LONG_SECONDS = 15.0
LONG_SHARE = 0.25
GAP_SHARE = 0.04  # of the axis, for each cut
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200)
TICKS = 5  # at most, on the whole axis
TICK_ROOM = 14.0  # percent of the axis that a tick's label needs


@dataclass(frozen=True)
class Row:
    """One node: ``left`` and ``width`` in percent of the axis."""

    service: str
    step: str
    left: float
    width: float
    wall: str
    cpu: str
    failed: bool
    began: str


@dataclass(frozen=True)
class Tick:
    """A line across the chart, in percent of the axis."""

    left: float
    text: str


@dataclass(frozen=True)
class Timeline:
    rows: list[Row]
    ticks: list[Tick]
    cuts: list[Tick]
    began: str
    ended: str
    wall: str
    cpu: str
    cut: str


def utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def timeline(receipts: Sequence[Receipt]) -> Timeline:
    """The chart of at least one receipt."""
    spans = [_span(receipt) for receipt in receipts]
    sittings = _sittings(spans)
    work = sum(end - begin for begin, end in sittings) or 1.0
    gap = work * min(GAP_SHARE, 0.3 / len(sittings))
    axis = work + gap * (len(sittings) - 1)
    starts = []  # where each sitting begins on the axis, in seconds
    for begin, end in sittings:
        starts.append((begin, starts[-1][2] + gap if starts else 0.0, (starts[-1][2] + gap if starts else 0.0) + end - begin))

    def place(moment: float) -> float:
        begin, start, _ = next(sitting for sitting in reversed(starts) if sitting[0] <= moment)
        return start + moment - begin

    rows = [
        Row(
            service=receipt.service,
            step=receipt.step,
            left=percent(place(begin), axis),
            width=percent(end - begin, axis),
            wall=human_seconds(receipt.seconds),
            cpu=human_seconds(receipt.cpu_seconds),
            failed=receipt.failure is not None,
            began=utc(_began(receipt)),
        )
        for receipt, (begin, end) in zip(receipts, spans, strict=True)
    ]
    idle = [after[0] - before[1] for before, after in zip(sittings, sittings[1:], strict=False)]
    return Timeline(
        rows=rows,
        ticks=_ticks(starts, work, axis),
        cuts=[
            Tick(percent(start - gap / 2, axis), pause(seconds))
            for (_, start, _), seconds in zip(starts[1:], idle, strict=True)
        ],
        began=utc(min(map(_began, receipts))),
        ended=utc(datetime.fromtimestamp(sittings[-1][1], UTC)),
        wall=human_seconds(sum(receipt.seconds for receipt in receipts)),
        cpu=human_seconds(sum(receipt.cpu_seconds for receipt in receipts)),
        cut=", ".join(pause(seconds) for seconds in idle[:6]),
    )


def _began(receipt: Receipt) -> datetime:
    return datetime.fromisoformat(receipt.started).astimezone(UTC)


def _span(receipt: Receipt) -> tuple[float, float]:
    begin = _began(receipt).timestamp()
    return begin, begin + receipt.seconds


def _sittings(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The times in which something ran, short pauses included."""
    limit = max(LONG_SECONDS, LONG_SHARE * sum(end - begin for begin, end in spans))
    result: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if result and begin - result[-1][1] <= limit:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((begin, end))
    return result


def _ticks(starts: Sequence[tuple[float, float, float]], work: float, axis: float) -> list[Tick]:
    """The time of day where a sitting begins, then round seconds after it, as far as there is room for labels."""
    step = next((step for step in STEPS if work / step <= TICKS), STEPS[-1])
    result: list[Tick] = []
    for begin, start, end in starts:
        label = datetime.fromtimestamp(begin, UTC).strftime("%H:%M:%S")
        at = start
        while at <= end:
            left = percent(at, axis)
            if not result or left - result[-1].left >= TICK_ROOM:
                result.append(Tick(left, label))
            at += step
            label = f"+{_round(at - start)}"
    return result


def _round(seconds: float) -> str:
    return pause(seconds) if seconds >= 60 else f"{seconds:.3g} s"
