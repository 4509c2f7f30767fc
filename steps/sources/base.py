"""Where models come from: one ``ModelSource`` for each ``sourceKind``.

All sources share one way through ``fetch``: list the files, choose one copy of the weights, check what can be checked before
any weight moves, bring the chosen files through the gate into the store, and write the lock. A kind of source says only
how it lists, reads and brings.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType

from steps.core.contract import Context
from steps.core.errors import Reason, SlipwayError
from steps.core.lock import Lock, LockedFile, blob_key
from steps.core.progress import Meter
from steps.core.text import format_bytes
from steps.gate.admit import INDEX_SUFFIX, admit, admit_together
from steps.sources.choose import Choice, SourceFile, choose


class SourceKind(StrEnum):
    """The values of ``sourceKind``."""

    GIT_LFS = "git_lfs"
    UPLOAD = "upload"


@dataclass(frozen=True)
class Request:
    """What to fetch: an address, what it means by a name that may move, and changes to the choice of files."""

    source: str
    revision: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class Survey:
    """A source seen from outside: the choice, and the texts among the chosen files that were at hand without fetching."""

    revision: str
    choice: Choice
    texts: dict[str, bytes]


class ModelSource(AbstractContextManager["ModelSource"], ABC):
    """One model at its source. Use as a context manager: it may hold connections and unfinished files."""

    kind: SourceKind

    def __init__(self, request: Request, context: Context) -> None:
        self.request, self.context = request, context

    @abstractmethod
    def pin(self) -> str:
        """What ``revision`` means now: a commit, or a fingerprint of the files where the source has no commits."""

    @abstractmethod
    def files(self) -> list[SourceFile]:
        """All files at the pinned revision, with the sizes of their contents."""

    @abstractmethod
    def read_texts(self, files: tuple[SourceFile, ...]) -> dict[str, bytes]:
        """Contents, by path, of those chosen files that are small and at hand."""

    @abstractmethod
    def bring(self, files: tuple[SourceFile, ...], meter: Meter) -> list[LockedFile]:
        """Bring the files into the store, each through ``self.publish``."""

    def commit(self) -> str:
        """What the lock says of the revision; empty where the source has no commits."""
        return ""

    def survey(self) -> Survey:
        """List and choose, and read what is at hand; no weights move."""
        choice = choose(self.files(), self.request.include, self.request.exclude)
        return Survey(self.commit(), choice, self.read_texts(choice.files))

    def fetch(self, check: Callable[[Survey], None] = lambda survey: None) -> tuple[Lock, Survey]:
        """Bring the chosen files into the store and return their lock, not yet published, with the survey.

        ``check`` sees the survey before any weight is fetched and may raise.
        """
        survey = self.survey()
        check(survey)
        choice = survey.choice
        names = [file.path for file in choice.files]
        admit_together(names, survey.texts)
        self.context.progress.note(
            f"Taking {len(choice.taken)} files of {len(choice.taken) + len(choice.left)}: "
            f"{format_bytes(choice.size)}, leaving {format_bytes(choice.left_size)}."
        )
        meter = self.context.progress.meter("fetching", choice.size)
        files = self.bring(choice.files, meter)
        late = [file for file in files if file.path.endswith(INDEX_SUFFIX) and file.path not in survey.texts]
        admit_together(names, {file.path: b"".join(self.context.store.read(file.key)) for file in late})
        lock = Lock.from_files(files, source_kind=self.kind, source=self.request.source, revision=survey.revision)
        return lock, survey

    def publish(self, file: SourceFile, path: Path, sha256: str) -> LockedFile:
        """Let a file that arrived at ``path`` through the gate and into the store; what is refused is removed."""
        try:
            admit(file.path, path)
        except SlipwayError:
            path.unlink(missing_ok=True)
            raise
        size = path.stat().st_size
        self.context.publish_file(blob_key(sha256), path, sha256=sha256)
        return LockedFile(path=file.path, size=size, sha256=sha256)

    def require_space(self, size: int) -> None:
        """Raise ``DiskFull`` unless ``size`` bytes fit beside what is there."""
        self.context.scratch.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.context.scratch).free
        if size > free:
            raise SlipwayError(
                Reason.DISK_FULL,
                f"{format_bytes(size)} are needed in {self.context.scratch}, and {format_bytes(free)} are free.",
            )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Let go of connections and unfinished files; nothing to do for most kinds."""


def open_source(kind: SourceKind, request: Request, context: Context) -> ModelSource:
    """The source of this kind. Raises ``InvalidSource`` for an address that its kind does not take."""
    if kind is SourceKind.GIT_LFS:
        from steps.sources.git_lfs import GitLfsSource

        return GitLfsSource(request, context)
    from steps.sources.upload import UploadSource

    return UploadSource(request, context)
