"""Texts and numbers for a reader: cut to a sensible length, rounded, with their units."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

# Marks that reorder the text around them (Unicode TR9): a label must not rearrange the text beside it.
BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def display_text(value: object, limit: int = 200) -> str:
    """Return the value as text of at most ``limit`` characters; control and bidirectional characters become U+FFFD."""
    text = str(value)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return "".join("\ufffd" if _hidden(char) else char for char in text)


def _hidden(char: str) -> bool:
    return char in BIDI_CONTROLS or (unicodedata.category(char) == "Cc" and char not in "\n\t")


def printable(text: str) -> str:
    """Replace everything that is not printable: names and texts of a hostile model end up in terminals and logs."""
    return "".join(character if character.isprintable() or character in "\n\t" else "�" for character in text)


def format_bytes(count: int) -> str:
    """Format a number of bytes in the decimal units of disks and networks: ``1.2 MB``."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")


def format_seconds(seconds: float) -> str:
    """Format a duration: ``0.4 s``, ``12 s``, ``3 min 5 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def format_count(count: int) -> str:
    """Format ``66,955,010`` as ``67 million``; exact below a million."""
    for size, word in ((10**12, "trillion"), (10**9, "billion"), (10**6, "million")):
        if count >= size:
            return f"{count / size:.3g} {word}"
    return f"{count:,}"


def format_latency(seconds: float) -> str:
    """Format a short duration to the millisecond: ``4.2 ms``, ``93 ms``, ``1.24 s``."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def format_duration(seconds: float) -> str:
    """Format a step's time: as ``format_seconds``, and to the millisecond below a second."""
    return format_seconds(seconds) if seconds >= 1 else format_latency(seconds)


def format_rough_duration(seconds: float) -> str:
    """Format a duration in one unit, where it need not be exact: ``40 s``, ``12 min``, ``3 h``, ``5 days``."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def join_words(words: Sequence[str]) -> str:
    """Join words as a sentence does: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def percent(part: float, whole: float) -> float:
    """Return ``part`` of ``whole`` as a percentage between 0 and 100, for widths; 0 where ``whole`` is 0."""
    return round(min(100.0, max(0.0, 100 * part / whole)), 3) if whole > 0 else 0.0


@dataclass(frozen=True)
class ChartBar:
    """One upright bar of a small chart, in percent of its height from the top."""

    top: float
    height: float


def chart_bars(values: Sequence[float]) -> list[ChartBar]:
    """Return numbers as upright bars from a common zero line."""
    low, high = min(0.0, *values), max(0.0, *values)
    span = high - low
    return [ChartBar(percent(high - max(value, 0.0), span), percent(abs(value), span)) for value in values]
