"""Packages made in this process by the steps themselves, from tiny models in a folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from steps.archive import STEP as ARCHIVE
from steps.archive import ArchiveInputs
from steps.core.contract import Context
from steps.core.lock import Lock
from steps.core.receipts import execute
from steps.fetch import STEP as FETCH
from steps.fetch import FetchInputs
from steps.load import STEP as LOAD
from steps.load import LoadInputs
from steps.render import STEP as RENDER
from steps.render import RenderInputs
from steps.sources.supported import SourceKind
from steps.store.local import LocalStore


@dataclass(frozen=True)
class Made:
    """One service taken from ``fetch`` to ``archive`` in a store of its own: the steps' inputs and what they put out."""

    root: Path
    service: str
    fetched: FetchInputs
    lock: str
    facts: str
    render: str
    archive: str
    digest: str

    @property
    def context(self) -> Context:
        """A new context over the store, as each step gets one."""
        return Context(store=LocalStore(self.root), scratch=self.root / "tmp")

    @property
    def path(self) -> Path:
        """Where the archive lies."""
        return self.root / self.archive

    def read_lock(self) -> Lock:
        return self.context.read_document(self.lock, Lock)

    def copied_to(self, root: Path) -> Made:
        """The same in another store, for a test that changes something."""
        shutil.copytree(self.root, root)
        return Made(root, **{name: value for name, value in vars(self).items() if name != "root"})


def make(root: Path, folder: Path, service: str) -> Made:
    """Fetch a folder, load it here, render it and archive it."""
    context = Context(store=LocalStore(root), scratch=root / "tmp")
    fetch = FetchInputs(source_kind=SourceKind.UPLOAD, source=str(folder), services=(service,))
    lock = execute(FETCH, fetch, context).outputs.lock
    facts = execute(LOAD, LoadInputs(lock=lock, services=(service,)), context).outputs.facts
    render = execute(RENDER, RenderInputs(name="tiny", service=service, lock=lock, facts=facts), context).outputs.render
    inputs = ArchiveInputs(name="tiny", service=service, lock=lock, render=render)
    archive = execute(ARCHIVE, inputs, context).outputs
    return Made(root, service, fetch, lock, facts, render, archive.archive, archive.archive_digest)
