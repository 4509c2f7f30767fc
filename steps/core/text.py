"""Texts and numbers for a reader: cut to a sensible length, rounded, with their units."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

# Marks that reorder the text around them (Unicode TR9): a label must not rearrange the page.
BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def display_text(value: object, limit: int = 200) -> str:
    """The value as a text of at most ``limit`` characters; control characters become a replacement mark."""
    text = str(value)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return "".join("\ufffd" if _hidden(char) else char for char in text)


def _hidden(char: str) -> bool:
    return char in BIDI_CONTROLS or (unicodedata.category(char) == "Cc" and char not in "\n\t")


def printable(text: str) -> str:
    """The text without control characters: names and words of a hostile model end up in terminals and logs."""
    return "".join(character if character.isprintable() or character in "\n\t" else "�" for character in text)


def format_bytes(count: int) -> str:
    """A byte count for a person, in the decimal units of disks and networks: ``1.2 MB``."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")


def format_seconds(seconds: float) -> str:
    """A duration for a person: ``0.4 s``, ``12 s``, ``3 min 5 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def format_count(count: int) -> str:
    """``66,955,010`` as ``67.0 million``; exact below a million."""
    for size, word in ((10**12, "trillion"), (10**9, "billion"), (10**6, "million")):
        if count >= size:
            return f"{count / size:.3g} {word}"
    return f"{count:,}"


def format_latency(seconds: float) -> str:
    """A short duration to the millisecond: ``4.2 ms``, ``93 ms``, ``1.24 s``."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def format_duration(seconds: float) -> str:
    """A step's time: as everywhere, and to the millisecond below a second."""
    return format_seconds(seconds) if seconds >= 1 else format_latency(seconds)


def format_rough_duration(seconds: float) -> str:
    """A time in one unit, for what need not be exact: ``40 s``, ``12 min``, ``3 h``, ``5 days``."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def join_words(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def percent(part: float, whole: float) -> float:
    """``part`` of ``whole`` as a share between 0 and 100, for widths."""
    return round(min(100.0, max(0.0, 100 * part / whole)), 3) if whole > 0 else 0.0


@dataclass(frozen=True)
class ChartBar:
    """One upright bar of a small chart, in percent of its height from the top."""

    top: float
    height: float


def chart_bars(values: Sequence[float]) -> list[ChartBar]:
    """Numbers as upright bars from a common zero line."""
    low, high = min(0.0, *values), max(0.0, *values)
    span = high - low
    return [ChartBar(percent(high - max(value, 0.0), span), percent(abs(value), span)) for value in values]
