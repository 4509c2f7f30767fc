"""A run as the report shows it: the verdict, the model, the time, the sizes and the services."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from steps.documents import Facts
from steps.errors import ExitCode
from steps.lock import Lock
from steps.progress import human_bytes, human_seconds
from steps.receipts import Receipt
from steps.reporting.documents import Documents, text_of
from steps.reporting.services import BRANCH, Fact, ServiceView, service_view
from steps.reporting.timeline import Timeline, timeline
from steps.reporting.words import human_count, listed, percent, shown
from steps.tasks import ALIASES

TRUNK = ("fetch", "load")
MAX_FILES = 400


@dataclass(frozen=True)
class Trouble:
    """One step's failure."""

    node: str
    reason: str
    message: str
    hint: str
    retryable: bool


@dataclass(frozen=True)
class Verdict:
    """How the run ended: ``tone`` is ``good``, ``bad`` or ``open``."""

    tone: str
    title: str
    detail: str
    troubles: list[Trouble]


@dataclass(frozen=True)
class Tile:
    """A key fact. ``words`` may be broken between; ``digest`` marks a value that is shown short and copied whole."""

    name: str
    words: list[str]
    note: str = ""
    digest: bool = False


@dataclass(frozen=True)
class Segment:
    kind: str
    width: float
    title: str


@dataclass(frozen=True)
class SizeBar:
    name: str
    segments: list[Segment]
    text: str


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
    trunk = {receipt.step: receipt for receipt in receipts if not receipt.service}
    fetched = trunk["fetch"].outputs if "fetch" in trunk else {}
    loaded = trunk["load"].outputs if "load" in trunk else {}
    lock = documents.read(fetched.get("lock"), Lock)
    facts = documents.read(loaded.get("facts"), Facts)
    branches = _branches(receipts)
    services = [
        service_view(name, number, branch, facts, documents) for number, (name, branch) in enumerate(branches.items(), start=1)
    ]
    return View(
        run=shown(run, 120),
        name=next((shown(name, 80) for receipt in receipts if (name := text_of(receipt.inputs, "name"))), shown(run, 80)),
        source=_source(trunk.get("fetch"), lock),
        verdict=_verdict(status, receipts, branches),
        unreadable=documents.unreadable,
        tiles=_tiles(lock, facts, trunk),
        timeline=timeline(receipts) if receipts else None,
        sizes=_sizes(trunk.get("fetch"), lock, services),
        files=[ModelFile(file.path, human_bytes(file.size), file.sha256) for file in lock.files[:MAX_FILES]] if lock else [],
        more_files=max(0, len(lock.files) - MAX_FILES) if lock else 0,
        services=services,
        digests=_digests(trunk, lock, services),
        versions=", ".join(f"{shown(name, 40)} {shown(number, 40)}" for name, number in facts.versions.items()) if facts else "",
    )


def _branches(receipts: Sequence[Receipt]) -> dict[str, dict[str, Receipt]]:
    """The records of each service's steps, by the task's own name: those asked for first, then any other."""
    branches: dict[str, dict[str, Receipt]] = {}
    for receipt in receipts:
        asked = receipt.inputs.get("services")
        for name in asked if isinstance(asked, list) else []:
            branches.setdefault(ALIASES.get(str(name), str(name)), {})
    for receipt in receipts:
        if receipt.service:
            branches.setdefault(ALIASES.get(receipt.service, receipt.service), {})[receipt.step] = receipt
    return branches


def _verdict(status: str, receipts: Sequence[Receipt], branches: dict[str, dict[str, Receipt]]) -> Verdict:
    done = {receipt.step for receipt in receipts if not receipt.service}
    working = [name for name, branch in branches.items() if not any(r.failure for r in branch.values()) and branch.keys() >= {*BRANCH}]
    missing = [step for step in TRUNK if step not in done]
    missing += [f"{step} of {shown(name, 80)}" for name, branch in branches.items() for step in BRANCH if step not in branch]
    failed = [receipt for receipt in receipts if receipt.failure]
    stopped = bool(failed) and all(
        receipt.failure and receipt.failure.reason.exit_code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED) for receipt in failed
    )
    works = f"{listed([shown(name, 80) for name in working])} {'works' if len(working) == 1 else 'work'}." if working else ""
    said = f"The workflow ended as “{shown(status, 60)}”." if status else ""
    if failed:
        where = listed([_node(receipt) for receipt in failed])
        tone, title = ("open", f"Stopped in {where}") if stopped else ("bad", f"Failed at {where}")
        detail = works
    elif missing:
        tone, title = "open", f"Not finished: {missing[0]} comes next" if receipts else "No step has left a record"
        detail = f"{works} Not done: {listed(missing)}." if len(missing) > 1 else works
        if status not in ("", "Succeeded"):
            tone, title = "bad", f"Ended before {missing[0]}"
            said += " No step wrote down a failure: it was killed from outside, for memory or time, or never began."
    elif working:
        tone, title = "good", f"Serves {listed([shown(name, 80) for name in working])}"
        detail = "Every byte was checked against the lock; each package booted and gave the model's own answer."
    else:
        tone, title, detail = "good", "Fetched and loaded", "No service was asked for."
    troubles = [
        Trouble(
            _node(receipt),
            receipt.failure.reason,
            shown(receipt.failure.message, 4000),
            shown(receipt.failure.hint, 1000),
            receipt.failure.retryable,
        )
        for receipt in failed
        if receipt.failure
    ]
    return Verdict(tone, title, f"{detail} {said}".strip(), troubles)


def _node(receipt: Receipt) -> str:
    return f"{receipt.step} of {shown(receipt.service, 80)}" if receipt.service else receipt.step


def _source(fetch: Receipt | None, lock: Lock | None) -> list[Fact]:
    """Where the model was asked for, as the person wrote it."""
    inputs = fetch.inputs if fetch else {}
    address = text_of(inputs, "source") or (lock.source if lock else "")
    kind = text_of(inputs, "source_kind") or (lock.source_kind if lock else "")
    result = [Fact("Source", shown(address, 300), shown(kind, 40))] if address else []
    for name in ("include", "exclude"):
        patterns = inputs.get(name)
        if isinstance(patterns, list) and patterns:
            result.append(Fact(name.capitalize(), shown(", ".join(map(str, patterns)), 300)))
    return result


def _tiles(lock: Lock | None, facts: Facts | None, trunk: dict[str, Receipt]) -> list[Tile]:
    """The key facts. What should be known and cannot be read is ``not available``; what is not known yet is left out."""
    tiles: list[Tile] = []
    unknown = ["not available"]
    if facts:
        largest = max(facts.dtypes, key=lambda name: facts.dtypes[name], default="none")
        share = percent(facts.dtypes.get(largest, 0), sum(facts.dtypes.values()))
        others = [shown(name, 20) for name in facts.dtypes if name != largest]
        labels = f" · {human_count(facts.labels)} labels" if facts.labels else ""
        tiles = [
            Tile("Parameters", [human_count(facts.parameters)], f"{facts.parameters:,}" if facts.parameters >= 10**6 else ""),
            Tile("Precision", [shown(largest, 20)], f"{share:.1f} %, the rest {listed(others)}" if others else "all weights"),
            Tile("Architecture", _camel(shown(facts.architecture, 120)), shown(facts.model_type, 60) + labels),
            Tile("Licence", [shown(facts.licence, 80) or "not stated"], "from the model card"),
            Tile("Loaded in", [human_seconds(facts.load_seconds)], f"{human_bytes(facts.peak_rss_bytes)} of memory at its peak"),
        ]
    elif _finished(trunk.get("load")):
        tiles = [Tile(name, unknown) for name in ("Parameters", "Precision", "Architecture", "Licence")]
    if lock:
        weights = sum(file.size for file in lock.weights)
        tiles.insert(2, Tile("Weights", [human_bytes(weights)], _files(len(lock.weights))))
        tiles += [
            Tile("Set digest", [f"sha256:{lock.set_digest}"], f"names all {_files(len(lock.files))}", digest=True),
            Tile("Revision", [shown(lock.revision, 200)], "commit", digest=True)
            if lock.revision
            else Tile("Revision", ["none"], "the source has no commits"),
        ]
    elif _finished(trunk.get("fetch")):
        tiles += [Tile("Set digest", unknown), Tile("Revision", unknown)]
    return tiles


def _finished(receipt: Receipt | None) -> bool:
    return receipt is not None and receipt.failure is None


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _camel(name: str) -> list[str]:
    """A class name in pieces between which a line may be broken."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "\0", name).split("\0")


def _sizes(fetch: Receipt | None, lock: Lock | None, services: Sequence[ServiceView]) -> list[SizeBar]:
    """Bars on one scale: what lay at the source, what each archive holds, what each image takes from its build context."""
    outputs = fetch.outputs if fetch else {}
    taken, left = (value if isinstance(value := outputs.get(name), int) else 0 for name in ("bytes", "left_bytes"))
    weights = sum(file.size for file in lock.weights) if lock else 0
    raw: list[tuple[str, list[tuple[str, int, str]], str]] = []
    if taken:
        found = [("weights", weights, "weights"), ("other", taken - weights, "other files"), ("left", left, "left behind")]
        ratio = f"{human_bytes(taken)} fetched, {human_bytes(left)} left behind" if left else f"{human_bytes(taken)} fetched, all of it"
        raw.append(("At the source", found, ratio))
    for service in services:
        suffix = f" {service.name}" if len(services) > 1 else ""
        if service.archive:
            raw.append((f"Archive{suffix}", [("weights", service.archive.size, "archive")], service.archive.size_text))
        if service.plan:
            layers = [layer for layer in service.plan.layers if layer.bytes > 0]
            total = sum(layer.bytes for layer in layers)
            cut = [("layer", layer.bytes, f"{shown(layer.purpose, 80)}: {human_bytes(layer.bytes)}") for layer in layers[:60]]
            raw.append((f"Image{suffix}", cut, f"{human_bytes(total)} from the build context"))
    scale = max((sum(size for _, size, _ in parts) for _, parts, _ in raw), default=0)
    return [
        SizeBar(name, [Segment(kind, percent(size, scale), title) for kind, size, title in parts if size > 0], text)
        for name, parts, text in raw
    ]


def _digests(trunk: dict[str, Receipt], lock: Lock | None, services: Sequence[ServiceView]) -> list[Fact]:
    """Every name by which a result can be checked, in full."""
    result = []
    if lock:
        result.append(Fact("Set digest", f"sha256:{lock.set_digest}"))
        if lock.revision:
            result.append(Fact("Commit", shown(lock.revision, 200)))
    for step, name in (("fetch", "lock"), ("load", "facts")):
        key = text_of(trunk[step].outputs, name) if step in trunk else ""
        if key:
            result.append(Fact(name.capitalize(), shown(key, 200)))
    for service in services:
        if service.archive:
            result.append(Fact(f"Archive, {service.name}", f"sha256:{service.archive.digest}"))
        if service.image and service.image.digest:
            result.append(Fact(f"Image, {service.name}", service.image.digest))
    return result
