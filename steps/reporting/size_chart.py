"""The sizes of the source, of each archive and of each image, as bars on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steps.core.lock import Lock
from steps.core.text import display_text, format_bytes, percent
from steps.reporting.document_reader import int_field
from steps.reporting.service_view import ServiceView

MAX_LAYERS = 60


@dataclass(frozen=True)
class Segment:
    """A part of a bar, ``width`` in percent of the scale; ``kind`` is how it is drawn."""

    kind: str
    width: float
    title: str


@dataclass(frozen=True)
class SizeBar:
    """A bar of the chart; ``text`` stands beside it."""

    name: str
    segments: list[Segment]
    text: str


@dataclass(frozen=True)
class _Bar:
    name: str
    parts: list[tuple[str, int, str]]  # kind, bytes, title
    text: str


def size_bars(fetched: Mapping[str, object], lock: Lock | None, services: Sequence[ServiceView]) -> list[SizeBar]:
    """Return the bars; ``fetched`` has the outputs of fetch and is empty where that is not done, ``lock`` what it wrote."""
    bars = [_source(fetched, lock)] if fetched else []
    for service in services:
        suffix = f" {service.name}" if len(services) > 1 else ""
        if service.archive:
            archive = service.archive
            bars.append(_Bar(f"Archive{suffix}", [("archive", archive.bytes, archive.size)], archive.size))
        if service.plan:
            layers = [layer for layer in service.plan.layers if layer.bytes > 0]
            parts = [
                ("layer", layer.bytes, f"{display_text(layer.purpose, 80)}: {format_bytes(layer.bytes)}")
                for layer in layers[:MAX_LAYERS]
            ]
            total = format_bytes(sum(layer.bytes for layer in layers))
            bars.append(_Bar(f"Image{suffix}", parts, f"{total} from the build context"))
    scale = max((sum(size for _, size, _ in bar.parts) for bar in bars), default=0)
    return [
        SizeBar(bar.name, [Segment(kind, percent(size, scale), title) for kind, size, title in bar.parts if size > 0], bar.text)
        for bar in bars
    ]


def _source(fetched: Mapping[str, object], lock: Lock | None) -> _Bar:
    fetched_bytes, left = (int_field(fetched, name) for name in ("bytes", "left_bytes"))
    weights = sum(file.size for file in lock.weights) if lock else 0
    parts = [
        ("weights", weights, f"weights: {format_bytes(weights)}"),
        ("other", fetched_bytes - weights, f"other files: {format_bytes(fetched_bytes - weights)}"),
        ("left", left, f"left out: {format_bytes(left)}"),
    ]
    rest = f"{format_bytes(left)} left out" if left else "all of it"
    return _Bar("At the source", parts, f"{format_bytes(fetched_bytes)} fetched, {rest}")
