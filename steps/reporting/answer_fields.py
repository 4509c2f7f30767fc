"""A task's answer as something to look at: labels with their scores, marked text, vectors in short, or JSON.

The form follows from the answer's structure and not from the task's name, so a new task needs nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from pydantic import JsonValue

from steps.core.text import ChartBar, chart_bars, display_text, percent
from steps.reporting.media_files import MediaFile, describe_media, find_media

MAX_ROWS = 12
MAX_NUMBERS = 96  # of a vector, drawn
MAX_JSON = 4000  # characters
MAX_TEXT = 2000  # characters

JsonObject = dict[str, JsonValue]


@dataclass(frozen=True)
class Score:
    """A label and its score, as text and in percent of the width of a bar."""

    name: str
    score: str
    width: float


@dataclass(frozen=True)
class TextSpan:
    """Consecutive characters of the text; ``entity`` is empty where nothing was found."""

    text: str
    entity: str = ""


@dataclass(frozen=True)
class AnswerField:
    """One field of an answer.

    Attributes:
        kind: ``labels``, ``entities``, ``vectors``, ``text`` or ``json``; says which of the others are filled in.
        name: The field's name.
        scores: Labels or entities with their scores, the first ``MAX_ROWS``.
        spans: The text of the request, in spans with and without an entity.
        bars: The first numbers of a vector, drawn.
        text: A text, JSON, or the first numbers of a vector.
        note: What is left out.
        media: The files in the field.
    """

    kind: str
    name: str
    scores: list[Score] = field(default_factory=list)
    spans: list[TextSpan] = field(default_factory=list)
    bars: list[ChartBar] = field(default_factory=list)
    text: str = ""
    note: str = ""
    media: list[MediaFile] = field(default_factory=list)


def answer_fields(answer: Mapping[str, JsonValue], request: Mapping[str, JsonValue]) -> list[AnswerField]:
    """Return the answer's fields, each in the form that suits it; ``request`` has the text that entities refer to."""
    return [
        replace(_field(display_text(name, 60), describe_media(value), request), media=find_media(name, value))
        for name, value in answer.items()
    ]


def _field(name: str, value: JsonValue, request: Mapping[str, JsonValue]) -> AnswerField:
    if _all_scored(value, {"label", "score"}):
        return _labels(name, value)
    if _all_scored(value, {"entity", "score", "word", "start", "end"}):
        return _entities(name, value, request.get("text"))
    numbers, shape = _numbers(value)
    if numbers:
        return _vectors(name, numbers, shape)
    if isinstance(value, str):
        return AnswerField("text", name, text=display_text(value, MAX_TEXT))
    return AnswerField("json", name, text=display_text(json.dumps(value, indent=2, ensure_ascii=False), MAX_JSON))


def _all_scored(value: JsonValue, keys: set[str]) -> TypeGuard[list[JsonObject]]:
    """Whether this is a list of objects that have these fields, among them a number ``score``."""
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(entry, dict) and entry.keys() >= keys and _is_number(entry["score"]) for entry in value)
    )


def _score(name: str, entry: JsonObject) -> Score:
    score = entry["score"]
    assert _is_number(score)
    return Score(name, f"{score:.3f}", percent(score, 1))


def _labels(name: str, entries: list[JsonObject]) -> AnswerField:
    rows = [_score(display_text(entry["label"], 80), entry) for entry in entries[:MAX_ROWS]]
    return AnswerField("labels", name, scores=rows, note=_more(len(entries) - len(rows)))


def _entities(name: str, entries: list[JsonObject], text: JsonValue) -> AnswerField:
    rows = [
        _score(f"{display_text(entry['word'], 60)} · {display_text(entry['entity'], 40)}", entry)
        for entry in entries[:MAX_ROWS]
    ]
    spans = _text_spans(text, entries) if isinstance(text, str) else []
    return AnswerField("entities", name, scores=rows, spans=spans, note=_more(len(entries) - len(rows)))


def _text_spans(text: str, entries: list[JsonObject]) -> list[TextSpan]:
    """The text split where entities begin and end; an entity that overlaps another, or has no position, is left out."""
    text = text[:MAX_TEXT]
    spans: list[TextSpan] = []
    done = 0
    positions = [
        (start, end, entry["entity"])
        for entry in entries
        if isinstance(start := entry["start"], int) and isinstance(end := entry["end"], int)
    ]
    for start, end, entity in sorted(positions, key=lambda each: each[:2]):
        if done <= start < end <= len(text):
            spans += [
                TextSpan(display_text(text[done:start], MAX_TEXT)),
                TextSpan(display_text(text[start:end], MAX_TEXT), display_text(entity, 40)),
            ]
            done = end
    return [*spans, TextSpan(display_text(text[done:], MAX_TEXT))]


def _vectors(name: str, numbers: list[float], shape: list[int]) -> AnswerField:
    first = ", ".join(f"{number:.4g}" for number in numbers[:6])
    drawn = numbers[:MAX_NUMBERS]
    note = f"{' × '.join(map(str, shape))} numbers"
    if len(drawn) < len(numbers) or len(shape) > 1:
        note += f"; the first {len(drawn)} are drawn"
    return AnswerField("vectors", name, bars=chart_bars(drawn), text=f"[{first}{', …' if len(numbers) > 6 else ''}]", note=note)


def _numbers(value: JsonValue) -> tuple[list[float], list[int]]:
    """The first innermost list of nested lists of numbers, and the shape along it; empty where there are none."""
    shape: list[int] = []
    while isinstance(value, list) and value and isinstance(value[0], list):
        shape.append(len(value))
        value = value[0]
    if not isinstance(value, list):
        return [], []
    numbers = [item for item in value if _is_number(item)]
    return (numbers, [*shape, len(value)]) if len(numbers) == len(value) > 0 else ([], [])


def _is_number(value: JsonValue) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _more(count: int) -> str:
    return f"and {count} more" if count > 0 else ""
