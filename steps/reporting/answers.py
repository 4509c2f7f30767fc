"""A task's answer as something to look at: labels with their scores, marked words, vectors in short, or JSON.

What an answer is shows in its shape, not in its task's name, so a new task needs nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from steps.core.text import ChartBar, chart_bars, display_text, percent
from steps.reporting.media import Medium, media_in, without_media

MAX_ROWS = 12
MAX_NUMBERS = 96  # of a vector, drawn
MAX_JSON = 4000  # characters
MAX_TEXT = 2000


@dataclass(frozen=True)
class Score:
    name: str
    score: str
    width: float


@dataclass(frozen=True)
class Piece:
    """A run of the text; ``entity`` is empty where nothing was found."""

    text: str
    entity: str = ""


@dataclass(frozen=True)
class Part:
    """One field of an answer. ``kind``, one of ``labels``, ``entities``, ``vectors``, ``text`` and ``json``, says what is
    filled in; ``media`` are the files in it.
    """

    kind: str
    name: str
    scores: list[Score] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    marks: list[ChartBar] = field(default_factory=list)
    text: str = ""
    note: str = ""
    media: list[Medium] = field(default_factory=list)


def parts(answer: Mapping[str, Any], request: Mapping[str, Any]) -> list[Part]:
    """The answer's fields, each in the form that suits it; ``request`` has the text that entities lie in."""
    return [
        replace(_part(display_text(name, 60), without_media(value), request), media=media_in(name, value))
        for name, value in answer.items()
    ]


def _part(name: str, value: Any, request: Mapping[str, Any]) -> Part:
    if _all(value, {"label", "score"}):
        return _labels(name, value)
    if _all(value, {"entity", "score", "word", "start", "end"}):
        return _entities(name, value, request.get("text"))
    numbers, shape = _numbers(value)
    if numbers:
        return _vectors(name, numbers, shape)
    if isinstance(value, str):
        return Part("text", name, text=display_text(value, MAX_TEXT))
    return Part("json", name, text=display_text(json.dumps(value, indent=2, ensure_ascii=False), MAX_JSON))


def _all(value: Any, keys: set[str]) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(entry, dict) and entry.keys() >= keys and _is_number(entry["score"]) for entry in value)
    )


def _labels(name: str, entries: list[dict[str, Any]]) -> Part:
    rows = [
        Score(display_text(entry["label"], 80), f"{entry['score']:.3f}", percent(entry["score"], 1))
        for entry in entries[:MAX_ROWS]
    ]
    return Part("labels", name, scores=rows, note=_more(len(entries) - len(rows)))


def _entities(name: str, entries: list[dict[str, Any]], text: Any) -> Part:
    rows = [
        Score(
            f"{display_text(entry['word'], 60)} · {display_text(entry['entity'], 40)}",
            f"{entry['score']:.3f}",
            percent(entry["score"], 1),
        )
        for entry in entries[:MAX_ROWS]
    ]
    pieces = _marked(text, entries) if isinstance(text, str) else []
    return Part("entities", name, scores=rows, pieces=pieces, note=_more(len(entries) - len(rows)))


def _marked(text: str, entries: list[dict[str, Any]]) -> list[Piece]:
    """The text cut where entities begin and end; one that overlaps another, or has no place, is left out."""
    text = text[:MAX_TEXT]
    pieces: list[Piece] = []
    at = 0
    placed = [entry for entry in entries if isinstance(entry["start"], int) and isinstance(entry["end"], int)]
    for entry in sorted(placed, key=lambda entry: (entry["start"], entry["end"])):
        start, end = entry["start"], entry["end"]
        if at <= start < end <= len(text):
            pieces += [
                Piece(display_text(text[at:start], MAX_TEXT)),
                Piece(display_text(text[start:end], MAX_TEXT), display_text(entry["entity"], 40)),
            ]
            at = end
    return [*pieces, Piece(display_text(text[at:], MAX_TEXT))]


def _vectors(name: str, numbers: list[float], shape: list[int]) -> Part:
    first = ", ".join(f"{number:.4g}" for number in numbers[:6])
    drawn = numbers[:MAX_NUMBERS]
    note = f"{' × '.join(map(str, shape))} numbers"
    if len(drawn) < len(numbers) or len(shape) > 1:
        note += f"; the first {len(drawn)} are drawn"
    return Part("vectors", name, marks=chart_bars(drawn), text=f"[{first}{', …' if len(numbers) > 6 else ''}]", note=note)


def _numbers(value: Any) -> tuple[list[float], list[int]]:
    """The first innermost list of nested lists of numbers, and the shape along it; empty where there are none."""
    shape: list[int] = []
    while isinstance(value, list) and value and isinstance(value[0], list):
        shape.append(len(value))
        value = value[0]
    if isinstance(value, list) and value and all(map(_is_number, value)):
        return value, [*shape, len(value)]
    return [], []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _more(count: int) -> str:
    return f"and {count} more" if count > 0 else ""
