"""When each step ran: one bar a node on a common axis, with the idle time between sittings cut out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from steps.core.receipts import Receipt
from steps.core.text import format_duration, format_rough_duration, percent

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
    """A line across the chart with a label; ``left`` in percent of the axis."""

    left: float
    text: str


@dataclass(frozen=True)
class Timeline:
    rows: list[Row]
    ticks: list[Tick]
    cuts: list[float]
    began: str
    ended: str
    wall: str
    cpu: str
    cut: str


@dataclass
class _Sitting:
    """A time in which something ran, short pauses included; ``left`` is where it begins on the axis, in seconds."""

    begin: float
    end: float
    left: float = 0.0

    @property
    def seconds(self) -> float:
        return self.end - self.begin


def utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def timeline(receipts: Sequence[Receipt]) -> Timeline:
    """The chart of at least one receipt."""
    spans = [_span(receipt) for receipt in receipts]
    sittings = _sittings(spans)
    work = sum(sitting.seconds for sitting in sittings) or 1.0
    gap = work * min(GAP_SHARE, 0.3 / len(sittings))
    axis = work + gap * (len(sittings) - 1)
    for before, after in pairwise(sittings):
        after.left = before.left + before.seconds + gap

    def place(moment: float) -> float:
        sitting = next(sitting for sitting in reversed(sittings) if sitting.begin <= moment)
        return sitting.left + moment - sitting.begin

    rows = [
        Row(
            service=receipt.service,
            step=receipt.step,
            left=percent(place(begin), axis),
            width=percent(end - begin, axis),
            wall=format_duration(receipt.seconds),
            cpu=format_duration(receipt.cpu_seconds),
            failed=receipt.failure is not None,
            began=utc(_began(receipt)),
        )
        for receipt, (begin, end) in zip(receipts, spans, strict=True)
    ]
    idle = [after.begin - before.end for before, after in pairwise(sittings)]
    return Timeline(
        rows=rows,
        ticks=_ticks(sittings, work, axis),
        cuts=[percent(sitting.left - gap / 2, axis) for sitting in sittings[1:]],
        began=utc(min(map(_began, receipts))),
        ended=utc(datetime.fromtimestamp(max(end for _, end in spans), UTC)),
        wall=format_duration(sum(receipt.seconds for receipt in receipts)),
        cpu=format_duration(sum(receipt.cpu_seconds for receipt in receipts)),
        cut=", ".join(format_rough_duration(seconds) for seconds in idle[:6]),
    )


def _began(receipt: Receipt) -> datetime:
    return datetime.fromisoformat(receipt.started).astimezone(UTC)


def _span(receipt: Receipt) -> tuple[float, float]:
    begin = _began(receipt).timestamp()
    return begin, begin + receipt.seconds


def _sittings(spans: Sequence[tuple[float, float]]) -> list[_Sitting]:
    limit = max(LONG_SECONDS, LONG_SHARE * sum(end - begin for begin, end in spans))
    result: list[_Sitting] = []
    for begin, end in sorted(spans):
        if result and begin - result[-1].end <= limit:
            result[-1].end = max(result[-1].end, end)
        else:
            result.append(_Sitting(begin, end))
    return result


def _ticks(sittings: Sequence[_Sitting], work: float, axis: float) -> list[Tick]:
    """The time of day where a sitting begins, then round seconds after it, as far as there is room for labels."""
    step = next((step for step in STEPS if work / step <= TICKS), STEPS[-1])
    result: list[Tick] = []
    for sitting in sittings:
        label = datetime.fromtimestamp(sitting.begin, UTC).strftime("%H:%M:%S")
        for number in range(int(sitting.seconds / step) + 1):
            left = percent(sitting.left + number * step, axis)
            if not result or result[-1].left + TICK_ROOM <= left <= 100 - TICK_ROOM / 2:
                result.append(Tick(left, f"+{_round(number * step)}" if number else label))
    return result


def _round(seconds: float) -> str:
    return format_rough_duration(seconds) if seconds >= 60 else f"{seconds:.3g} s"
