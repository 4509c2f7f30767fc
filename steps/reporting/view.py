"""A run as the report shows it: the verdict, the model, the time, the sizes and the services."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from steps.core.documents import ModelFacts
from steps.core.lock import Lock
from steps.core.receipts import Receipt
from steps.core.text import display_text, format_bytes, format_count, format_duration, join_words, percent
from steps.reporting.documents import Documents, text_of
from steps.reporting.services import Fact, ServiceView, service_view
from steps.reporting.sizes import SizeBar, sizes
from steps.reporting.timeline import Timeline, timeline
from steps.reporting.verdict import TRUNK, Verdict, branches_of, current, verdict

MAX_FILES = 400

Outputs = Mapping[str, Any]  # of a step's receipt; empty where the step is not done


@dataclass(frozen=True)
class Tile:
    """A key fact. ``words`` may be broken between; ``digest`` marks a value that is shown short and copied whole."""

    name: str
    words: list[str]
    note: str = ""
    digest: bool = False


@dataclass(frozen=True)
class ModelFile:
    path: str
    size: str
    sha256: str


@dataclass(frozen=True)
class View:
    """Everything that the template displays."""

    run: str
    name: str
    source: list[Fact]
    verdict: Verdict
    unreadable: list[str]
    tiles: list[Tile]
    timeline: Timeline | None
    sizes: list[SizeBar]
    files: list[ModelFile]
    more_files: int
    services: list[ServiceView]
    digests: list[Fact]
    versions: str


def view(run: str, status: str, receipts: Sequence[Receipt], documents: Documents) -> View:
    """The view of a run from its records; ``status`` is what a workflow engine says of it, or empty."""
    receipts = current(receipts)
    trunk = {receipt.step: receipt for receipt in receipts if not receipt.service}
    fetched, loaded = (trunk[step].outputs if step in trunk else {} for step in TRUNK)
    lock = documents.read(fetched.get("lock"), Lock)
    facts = documents.read(loaded.get("facts"), ModelFacts)
    branches = branches_of(receipts)
    services = [
        service_view(name, number, branch, facts, documents) for number, (name, branch) in enumerate(branches.items(), start=1)
    ]
    return View(
        run=display_text(run, 120),
        name=next(
            (display_text(name, 80) for receipt in receipts if (name := text_of(receipt.inputs, "name"))), display_text(run, 80)
        ),
        source=_source(trunk.get("fetch")),
        verdict=verdict(status, receipts, branches),
        unreadable=documents.unreadable,
        tiles=_tiles(fetched, lock, loaded, facts),
        timeline=timeline(receipts) if receipts else None,
        sizes=sizes(fetched, lock, services),
        files=[ModelFile(file.path, format_bytes(file.size), file.sha256) for file in lock.files[:MAX_FILES]] if lock else [],
        more_files=max(0, len(lock.files) - MAX_FILES) if lock else 0,
        services=services,
        digests=_digests(fetched, loaded, services),
        versions=", ".join(f"{display_text(name, 40)} {display_text(number, 40)}" for name, number in facts.versions.items())
        if facts
        else "",
    )


def _source(fetch: Receipt | None) -> list[Fact]:
    """Where the model was asked for, as the person wrote it."""
    inputs = fetch.inputs if fetch else {}
    address = text_of(inputs, "source")
    result = [Fact("Source", display_text(address, 300), display_text(text_of(inputs, "source_kind"), 40))] if address else []
    for name in ("include", "exclude"):
        patterns = inputs.get(name)
        if isinstance(patterns, list) and patterns:
            result.append(Fact(name.capitalize(), display_text(", ".join(map(str, patterns)), 300)))
    return result


def _tiles(fetched: Outputs, lock: Lock | None, loaded: Outputs, facts: ModelFacts | None) -> list[Tile]:
    """The key facts. What should be known and cannot be read is ``not available``; what is not known yet is left out."""
    tiles: list[Tile] = []
    unknown = ["not available"]
    if facts:
        largest = max(facts.dtypes, key=lambda name: facts.dtypes[name], default="none")
        share = percent(facts.dtypes.get(largest, 0), sum(facts.dtypes.values()))
        others = [display_text(name, 20) for name in facts.dtypes if name != largest]
        labels = f" · {format_count(facts.labels)} labels" if facts.labels else ""
        tiles = [
            Tile("Parameters", [format_count(facts.parameters)], f"{facts.parameters:,}" if facts.parameters >= 10**6 else ""),
            Tile(
                "Precision",
                [display_text(largest, 20)],
                f"{share:.1f} %, the rest {join_words(others)}" if others else "all weights",
            ),
            Tile("Architecture", _camel(display_text(facts.architecture, 120)), display_text(facts.model_type, 60) + labels),
            Tile("Licence", [display_text(facts.licence, 80) or "not stated"], "from the model card"),
            Tile(
                "Loaded in",
                [format_duration(facts.load_seconds)],
                f"{format_bytes(facts.peak_rss_bytes)} of memory at its peak",
            ),
        ]
    elif loaded:
        tiles = [Tile(name, unknown) for name in ("Parameters", "Precision", "Architecture", "Licence")]
    if fetched:
        weights = format_bytes(sum(file.size for file in lock.weights)) if lock else unknown[0]
        tiles.insert(2, Tile("Weights", [weights], _files(len(lock.weights)) if lock else ""))
        revision = display_text(text_of(fetched, "revision"), 200)
        tiles += [
            Tile("Set digest", [_set_digest(fetched)], f"names all {_files(fetched.get('files', 0))}", digest=True),
            Tile("Revision", [revision], "commit", digest=True)
            if revision
            else Tile("Revision", ["none"], "the source has no commits"),
        ]
    return tiles


def _set_digest(fetched: Outputs) -> str:
    return f"sha256:{display_text(text_of(fetched, 'set_digest'), 80)}"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _camel(name: str) -> list[str]:
    """A class name in pieces between which a line may be broken."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "\0", name).split("\0")


def _digests(fetched: Outputs, loaded: Outputs, services: Sequence[ServiceView]) -> list[Fact]:
    """Every name by which a result can be checked, in full."""
    result = []
    if fetched:
        result.append(Fact("Set digest", _set_digest(fetched)))
        if revision := text_of(fetched, "revision"):
            result.append(Fact("Commit", display_text(revision, 200)))
    for outputs, name in ((fetched, "lock"), (loaded, "facts")):
        if key := text_of(outputs, name):
            result.append(Fact(name.capitalize(), display_text(key, 200)))
    for service in services:
        if service.archive:
            result.append(Fact(f"Archive, {service.name}", f"sha256:{service.archive.digest}"))
        if service.image and service.image.digest:
            result.append(Fact(f"Image, {service.name}", service.image.digest))
    return result
