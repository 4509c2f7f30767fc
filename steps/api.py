"""Shortcuts for Python: a model's files with ``fetch``, a servable archive with ``create_bento``.

    from steps.api import fetch, create_bento

    lock = fetch("https://example.org/org/model", store="models")
    archive = create_bento(lock, "image-classification", name="my-model", store="models")

Both use the same steps, receipts and store as ``slipway run``.
"""

from __future__ import annotations

from pathlib import Path

from steps.archive import STEP as ARCHIVE
from steps.archive import ArchiveInputs
from steps.command.context import open_context
from steps.command.flags import parse_inputs
from steps.core.contract import Context
from steps.core.lock import Lock
from steps.core.progress import Progress
from steps.core.receipts import execute
from steps.fetch import STEP as FETCH
from steps.fetch import FetchInputs
from steps.load import STEP as LOAD
from steps.load import LoadInputs
from steps.render import STEP as RENDER
from steps.render import RenderInputs
from steps.sources.supported import DEFAULT_SOURCE, find_source
from steps.tasks.table import resolve


def fetch(
    source: str,
    *,
    source_kind: str = DEFAULT_SOURCE,
    revision: str = "",
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    store: str | Path = "",
    progress: Progress | None = None,
) -> Lock:
    """Fetch one copy of a model's files into the store, check every byte, and return the lock.

    Args:
        source: Address of the repository, or for ``upload`` a folder or the address of a store.
        source_kind: A value of ``sourceKind``.
        revision: Branch, tag or commit; empty: the default branch.
        include: Patterns of files to fetch in addition to the usual choice.
        exclude: Patterns of files not to fetch.
        store: Where results are stored; empty: the setting ``store``.
        progress: Gets notes and meters; None: they are dropped.

    Raises:
        SlipwayError: With the reasons of ``steps.fetch.run``.
    """
    kind = find_source(source_kind)
    inputs = parse_inputs(
        FetchInputs,
        {"source_kind": kind, "source": source, "revision": revision, "include": include, "exclude": exclude},
    )
    context = _context(store, progress)
    return context.read_document(execute(FETCH, inputs, context).outputs.lock, Lock)


def create_bento(lock: Lock, service: str, *, name: str, store: str | Path = "", progress: Progress | None = None) -> str:
    """Load, render and archive one service of a fetched model.

    Args:
        lock: What ``fetch`` returned.
        service: The task, by its name or an alias.
        name: The model's name, a DNS label of at most 40 characters.
        store: Where results are stored; empty: the setting ``store``. It must be the one that ``fetch`` used.
        progress: Gets notes and meters; None: they are dropped.

    Returns:
        Where the ``.tar.gz`` is: a path, or a URI.

    Raises:
        SlipwayError: With the reasons of the steps load, render and archive.
    """
    context = _context(store, progress)
    task = resolve(service).name
    key = context.publish_document("locks", lock)
    facts = execute(LOAD, LoadInputs(lock=key, services=(task,)), context).outputs.facts
    named = parse_inputs(RenderInputs, {"name": name, "service": task, "lock": key, "facts": facts})
    render = execute(RENDER, named, context).outputs.render
    archive = execute(ARCHIVE, ArchiveInputs(name=name, service=task, lock=key, render=render), context).outputs.archive
    return context.store.locate(archive)


def _context(store: str | Path, progress: Progress | None) -> Context:
    return open_context(str(store), "", progress or Progress())
