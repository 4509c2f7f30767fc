"""Where models come from: one ``ModelSource`` for each ``sourceKind``.

All sources share one ``fetch``: list the files, choose one copy of the weights, check what can be checked before any weight
moves, check the chosen files and put them into the store, and return the lock. A kind of source says only how it lists, reads
and downloads; ``steps.sources.supported`` lists the kinds.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from steps.core.contract import Context
from steps.core.errors import Reason, SlipwayError
from steps.core.lock import Lock, LockedFile, blob_key
from steps.core.progress import Meter
from steps.core.text import format_bytes
from steps.gate.admit import admit, admit_together, names_files
from steps.sources.choose import Choice, SourceFile, choose

MAX_TEXT = 16 << 20  # bytes of a text that is read before the weights are fetched; a larger one is checked when it is copied
MAX_TEXTS = 32 << 20  # bytes of all of them, which are in memory together


@dataclass(frozen=True)
class SourceRequest:
    """What to fetch.

    Attributes:
        source: The address.
        revision: A branch, a tag or a commit, or the pin that ``ModelSource.pin`` gave; empty for the default.
        include: Shell patterns of files to take beside the usual choice.
        exclude: Shell patterns of files to leave out.
    """

    source: str
    revision: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class Survey:
    """What is known of a model before its weights are fetched.

    Attributes:
        revision: The commit; empty where the source has none.
        choice: The files that are taken, and those that are left.
        texts: The contents of small chosen files by path, as far as the listing brought them.
    """

    revision: str
    choice: Choice
    texts: dict[str, bytes]


class ModelSource(AbstractContextManager["ModelSource"], ABC):
    """One model at its source. Use as a context manager: it may hold connections and unfinished files."""

    name: ClassVar[str]
    """The value of ``sourceKind``."""
    title: ClassVar[str]
    """What it is, for help texts: a noun with its article."""
    address_required: ClassVar[bool]
    """Whether ``source`` must be there."""
    has_revisions: ClassVar[bool] = True
    """Whether ``revision`` names a state of the files; otherwise there is only the present one."""
    address_pattern: ClassVar[str]
    """What an address must match as a whole: a regular expression with ``^`` and ``$``, read alike by Python, Rust and RE2."""
    address_rule: ClassVar[str]
    """The same in a sentence without its subject, for the person who wrote the address."""

    def __init__(self, request: SourceRequest, context: Context) -> None:
        self.request, self.context = request, context

    @classmethod
    def check_address(cls, address: str) -> None:
        """Raise ``InvalidSource`` for an address that matches ``address_pattern`` and cannot be used all the same."""

    @classmethod
    @abstractmethod
    def is_shared(cls, address: str) -> bool:
        """Whether other machines find the same files at the address; a folder of this one they do not."""

    @abstractmethod
    def pin(self) -> str:
        """What ``revision`` means now: a commit, or a fingerprint of the files where the source has no commits."""

    @abstractmethod
    def files(self) -> list[SourceFile]:
        """All files at the pinned revision, with the sizes of their contents."""

    @abstractmethod
    def read_texts(self, files: tuple[SourceFile, ...]) -> dict[str, bytes]:
        """Contents, by path, of those chosen files that are small texts and need no further download."""

    @abstractmethod
    def download(self, files: tuple[SourceFile, ...], meter: Meter) -> list[LockedFile]:
        """Download the files into the store, each through ``self.publish``; ``meter`` counts the bytes."""

    def complete(self, choice: Choice) -> Choice:
        """Get what is needed to read the chosen texts, and return the choice with the sizes that this brings."""
        return choice

    def commit(self) -> str:
        """The commit that the lock names; empty where the source has no commits."""
        return ""

    def survey(self) -> Survey:
        """List the files, choose among them and read the small texts; no weights move.

        Raises ``NoSafetensors``, ``ForbiddenFormat``, ``UnsafePath`` or ``InvalidConfig``, and what the source raises.
        """
        choice = self.complete(choose(self.files(), self.request.include, self.request.exclude))
        return Survey(self.commit(), choice, self.read_texts(choice.files))

    def fetch(self, check: Callable[[Survey], None] = lambda survey: None) -> tuple[Lock, Survey]:
        """Download the chosen files into the store and return their lock, not yet published, with the survey.

        ``check`` gets the survey before any weight is fetched and may raise. Raises what the gate raises for a file.
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
        files = self.download(choice.files, meter)
        late = [file for file in files if names_files(file.path) and file.path not in survey.texts]
        admit_together(names, {file.path: b"".join(self.context.store.read(file.key)) for file in late})
        lock = Lock.from_files(files, source_kind=self.name, source=self.request.source, revision=survey.revision)
        return lock, survey

    def publish(self, file: SourceFile, path: Path, sha256: str) -> LockedFile:
        """Check a file that arrived at ``path`` by the gate, put it into the store, and return its entry of the lock.

        ``path`` is gone afterwards, also where the gate refuses the file; it is kept where the store fails, so that a large
        object need not be fetched again.
        """
        try:
            admit(file.path, path)
        except SlipwayError:
            path.unlink(missing_ok=True)
            raise
        size = path.stat().st_size
        self.context.publish_file(blob_key(sha256), path, sha256=sha256)
        path.unlink(missing_ok=True)  # the store may hold it by a link: whoever wrote to it again would change the store
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
