"""A run as the report shows it: the outcome, the model, the time, the sizes and the services."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steps.core.documents import ModelFacts
from steps.core.lock import Lock
from steps.core.receipts import Receipt
from steps.core.text import display_text, format_bytes, format_count, format_duration, join_words, percent
from steps.reporting.document_reader import DocumentReader, int_field, text_field
from steps.reporting.outcome import Outcome, outcome
from steps.reporting.service_records import MODEL_STEPS, records_by_service, without_outdated
from steps.reporting.service_view import NamedValue, ServiceView, service_view
from steps.reporting.size_chart import SizeBar, size_bars
from steps.reporting.timeline import Timeline, timeline

MAX_FILES = 400

Outputs = Mapping[str, object]  # of a step's receipt; empty where the step is not done


@dataclass(frozen=True)
class KeyFigure:
    """A figure in large print.

    Attributes:
        name: What it is.
        words: The value, in parts between which a line may be broken.
        note: More in small print.
        digest: Whether the value is shown in short and copied whole.
    """

    name: str
    words: list[str]
    note: str = ""
    digest: bool = False


@dataclass(frozen=True)
class ModelFile:
    """A file of the lock."""

    path: str
    size: str
    sha256: str


@dataclass(frozen=True)
class ReportView:
    """Everything that the template displays.

    Attributes:
        run: The run's name.
        name: The model's name.
        source: Where the model came from.
        outcome: How the run has ended, or how far it is.
        document_errors: One message for each document that could not be read.
        figures: The model in a few figures.
        timeline: When each step ran; None without a record.
        sizes: The bars of the chart of sizes.
        files: Of the lock, the first ``MAX_FILES``.
        more_files: How many files are left out.
        services: In the order in which they were requested.
        digests: Every name by which a result can be checked, in full.
        versions: Of the libraries that loaded the model.
    """

    run: str
    name: str
    source: list[NamedValue]
    outcome: Outcome
    document_errors: list[str]
    figures: list[KeyFigure]
    timeline: Timeline | None
    sizes: list[SizeBar]
    files: list[ModelFile]
    more_files: int
    services: list[ServiceView]
    digests: list[NamedValue]
    versions: str


def report_view(run: str, status: str, receipts: Sequence[Receipt], documents: DocumentReader) -> ReportView:
    """Return the view of a run.

    Args:
        run: The run's name.
        status: What a workflow engine says of the run, or empty.
        receipts: Its records.
        documents: Reads what the records name.

    Raises:
        SlipwayError: The store is out of reach.
    """
    receipts = without_outdated(receipts)
    model_records = {receipt.step: receipt for receipt in receipts if not receipt.service}
    fetched, loaded = (model_records[step].outputs if step in model_records else {} for step in MODEL_STEPS)
    lock = documents.read(fetched.get("lock"), Lock)
    facts = documents.read(loaded.get("facts"), ModelFacts)
    by_service = records_by_service(receipts)
    services = [
        service_view(name, number, records, facts, documents)
        for number, (name, records) in enumerate(by_service.items(), start=1)
    ]
    return ReportView(
        run=display_text(run, 120),
        name=next(
            (display_text(name, 80) for receipt in receipts if (name := text_field(receipt.inputs, "name"))),
            display_text(run, 80),
        ),
        source=_source(model_records.get("fetch")),
        outcome=outcome(status, receipts, by_service),
        document_errors=documents.errors,
        figures=_key_figures(fetched, lock, loaded, facts),
        timeline=timeline(receipts) if receipts else None,
        sizes=size_bars(fetched, lock, services),
        files=[ModelFile(file.path, format_bytes(file.size), file.sha256) for file in lock.files[:MAX_FILES]] if lock else [],
        more_files=max(0, len(lock.files) - MAX_FILES) if lock else 0,
        services=services,
        digests=_digests(fetched, loaded, services),
        versions=", ".join(f"{display_text(name, 40)} {display_text(number, 40)}" for name, number in facts.versions.items())
        if facts
        else "",
    )


def _source(fetch: Receipt | None) -> list[NamedValue]:
    """Where the model comes from, as it was requested."""
    inputs = fetch.inputs if fetch else {}
    address = text_field(inputs, "source")
    result = (
        [NamedValue("Source", display_text(address, 300), display_text(text_field(inputs, "source_kind"), 40))]
        if address
        else []
    )
    for name in ("include", "exclude"):
        patterns = inputs.get(name)
        if isinstance(patterns, list) and patterns:
            result.append(NamedValue(name.capitalize(), display_text(", ".join(map(str, patterns)), 300)))
    return result


def _key_figures(fetched: Outputs, lock: Lock | None, loaded: Outputs, facts: ModelFacts | None) -> list[KeyFigure]:
    """The key facts. What should be known and cannot be read is ``not available``; what is not known yet is left out."""
    figures: list[KeyFigure] = []
    unknown = ["not available"]
    if facts:
        largest = max(facts.dtypes, key=lambda name: facts.dtypes[name], default="none")
        share = percent(facts.dtypes.get(largest, 0), sum(facts.dtypes.values()))
        others = [display_text(name, 20) for name in facts.dtypes if name != largest]
        labels = f" · {format_count(facts.labels)} labels" if facts.labels else ""
        figures = [
            KeyFigure(
                "Parameters", [format_count(facts.parameters)], f"{facts.parameters:,}" if facts.parameters >= 10**6 else ""
            ),
            KeyFigure(
                "Precision",
                [display_text(largest, 20)],
                f"{share:.1f} %, the rest {join_words(others)}" if others else "all weights",
            ),
            KeyFigure(
                "Architecture",
                _split_camel_case(display_text(facts.architecture, 120)),
                display_text(facts.model_type, 60) + labels,
            ),
            KeyFigure("Licence", [display_text(facts.licence, 80) or "not stated"], "from the model card"),
            KeyFigure(
                "Load time",
                [format_duration(facts.load_seconds)],
                f"{format_bytes(facts.peak_rss_bytes)} of memory at the peak",
            ),
            KeyFigure(
                "Walls",
                [display_text(name, 60) for name in facts.walls] or ["none"],
                "kept the library from other files while it loaded",
            ),
        ]
    elif loaded:
        figures = [KeyFigure(name, unknown) for name in ("Parameters", "Precision", "Architecture", "Licence")]
    if fetched:
        weights = format_bytes(sum(file.size for file in lock.weights)) if lock else unknown[0]
        figures.insert(2, KeyFigure("Weights", [weights], _files(len(lock.weights)) if lock else ""))
        revision = display_text(text_field(fetched, "revision"), 200)
        figures += [
            KeyFigure("Set digest", [_set_digest(fetched)], f"over all {_files(int_field(fetched, 'files'))}", digest=True),
            KeyFigure("Revision", [revision], "commit", digest=True)
            if revision
            else KeyFigure("Revision", ["none"], "the source has no commits"),
        ]
    return figures


def _set_digest(fetched: Outputs) -> str:
    return f"sha256:{display_text(text_field(fetched, 'set_digest'), 80)}"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _split_camel_case(name: str) -> list[str]:
    """A class name in pieces between which a line may be broken."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "\0", name).split("\0")


def _digests(fetched: Outputs, loaded: Outputs, services: Sequence[ServiceView]) -> list[NamedValue]:
    """Every name by which a result can be checked, in full."""
    result = []
    if fetched:
        result.append(NamedValue("Set digest", _set_digest(fetched)))
        if revision := text_field(fetched, "revision"):
            result.append(NamedValue("Commit", display_text(revision, 200)))
    for outputs, name in ((fetched, "lock"), (loaded, "facts")):
        if key := text_field(outputs, name):
            result.append(NamedValue(name.capitalize(), display_text(key, 200)))
    for service in services:
        if service.archive:
            result.append(NamedValue(f"Archive, {service.name}", f"sha256:{service.archive.digest}"))
        if service.image and service.image.digest:
            result.append(NamedValue(f"Image, {service.name}", service.image.digest))
    return result
