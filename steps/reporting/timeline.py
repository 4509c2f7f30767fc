"""When each step ran: one bar for each node on a common axis, without the long idle times in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from steps.core.receipts import Receipt
from steps.core.text import format_duration, format_rough_duration, percent

# Idle time is left out when it is long in itself and long beside the work: pods that start within seconds are one period.
LONG_SECONDS = 15.0
LONG_SHARE = 0.25
GAP_SHARE = 0.04  # of the axis, for each break
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200)
TICKS = 5  # at most, on the whole axis
TICK_ROOM = 14.0  # percent of the axis that a tick's label needs


@dataclass(frozen=True)
class TimelineRow:
    """The bar of one node; ``left`` and ``width`` in percent of the axis."""

    service: str
    step: str
    left: float
    width: float
    wall: str
    cpu: str
    failed: bool
    started: str


@dataclass(frozen=True)
class Tick:
    """A line across the chart with a label; ``left`` in percent of the axis."""

    left: float
    text: str


@dataclass(frozen=True)
class Timeline:
    """The chart.

    Attributes:
        rows: One for each node, in the order of their starts.
        ticks: The labels of the axis.
        breaks: Where idle time is left out, in percent of the axis.
        started: When the first step began.
        ended: When the last one ended.
        wall: The time of all steps together.
        cpu: Their CPU time.
        idle_text: How long the idle times are that are left out; empty where there are none.
    """

    rows: list[TimelineRow]
    ticks: list[Tick]
    breaks: list[float]
    started: str
    ended: str
    wall: str
    cpu: str
    idle_text: str


@dataclass
class _ActivePeriod:
    """A time in which something ran, short pauses included; ``left`` is where it begins on the axis, in seconds."""

    begin: float
    end: float
    left: float = 0.0

    @property
    def seconds(self) -> float:
        return self.end - self.begin


def utc_text(moment: datetime) -> str:
    """Write a time as ``2026-11-20 14:03:11 UTC``."""
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def timeline(receipts: Sequence[Receipt]) -> Timeline:
    """Return the chart of at least one receipt."""
    spans = [_span(receipt) for receipt in receipts]
    periods = _active_periods(spans)
    work = sum(period.seconds for period in periods) or 1.0
    gap = work * min(GAP_SHARE, 0.3 / len(periods))
    axis = work + gap * (len(periods) - 1)
    for before, after in pairwise(periods):
        after.left = before.left + before.seconds + gap

    def position(moment: float) -> float:
        period = next(period for period in reversed(periods) if period.begin <= moment)
        return period.left + moment - period.begin

    rows = [
        TimelineRow(
            service=receipt.service,
            step=receipt.step,
            left=percent(position(begin), axis),
            width=percent(end - begin, axis),
            wall=format_duration(receipt.seconds),
            cpu=format_duration(receipt.cpu_seconds),
            failed=receipt.failure is not None,
            started=utc_text(_start_time(receipt)),
        )
        for receipt, (begin, end) in zip(receipts, spans, strict=True)
    ]
    idle = [after.begin - before.end for before, after in pairwise(periods)]
    return Timeline(
        rows=rows,
        ticks=_ticks(periods, work, axis),
        breaks=[percent(period.left - gap / 2, axis) for period in periods[1:]],
        started=utc_text(min(map(_start_time, receipts))),
        ended=utc_text(datetime.fromtimestamp(max(end for _, end in spans), UTC)),
        wall=format_duration(sum(receipt.seconds for receipt in receipts)),
        cpu=format_duration(sum(receipt.cpu_seconds for receipt in receipts)),
        idle_text=", ".join(format_rough_duration(seconds) for seconds in idle[:6]),
    )


def _start_time(receipt: Receipt) -> datetime:
    return datetime.fromisoformat(receipt.started).astimezone(UTC)


def _span(receipt: Receipt) -> tuple[float, float]:
    begin = _start_time(receipt).timestamp()
    return begin, begin + receipt.seconds


def _active_periods(spans: Sequence[tuple[float, float]]) -> list[_ActivePeriod]:
    limit = max(LONG_SECONDS, LONG_SHARE * sum(end - begin for begin, end in spans))
    result: list[_ActivePeriod] = []
    for begin, end in sorted(spans):
        if result and begin - result[-1].end <= limit:
            result[-1].end = max(result[-1].end, end)
        else:
            result.append(_ActivePeriod(begin, end))
    return result


def _ticks(periods: Sequence[_ActivePeriod], work: float, axis: float) -> list[Tick]:
    """The time of day where a period begins, then round seconds after it, as far as there is room for labels."""
    step = next((step for step in STEPS if work / step <= TICKS), STEPS[-1])
    result: list[Tick] = []
    for period in periods:
        label = datetime.fromtimestamp(period.begin, UTC).strftime("%H:%M:%S")
        for number in range(int(period.seconds / step) + 1):
            left = percent(period.left + number * step, axis)
            if not result or result[-1].left + TICK_ROOM <= left <= 100 - TICK_ROOM / 2:
                result.append(Tick(left, f"+{_round(number * step)}" if number else label))
    return result


def _round(seconds: float) -> str:
    return format_rough_duration(seconds) if seconds >= 60 else f"{seconds:.3g} s"
