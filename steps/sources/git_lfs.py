"""A model in a Git repository with its large files in Git LFS: the Hub's layout, at any address.

Git fetches one commit with its pointers, and the objects are downloaded from the addresses that the LFS batch API gives; there
is no work tree and no second copy. Exit codes do not prove that every pointer was replaced and every object is right: each
LFS object is hashed while it is written, and each other file is checked by Git against its object id.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import TypeVar

from steps.core.contract import Context
from steps.core.errors import Reason, SlipwayError, from_os_error
from steps.core.lock import LockedFile, blob_key
from steps.core.progress import Meter
from steps.gate.admit import admit
from steps.net.retry import SERVER_RETRIES, retry_messages
from steps.net.urls import REPOSITORY_PATTERN, REPOSITORY_RULE, check_source
from steps.sources.base import MAX_TEXT, MAX_TEXTS, ModelSource, SourceRequest
from steps.sources.choose import Choice, SourceFile
from steps.sources.client import SourceClient
from steps.sources.download import Transfer, exclusive
from steps.sources.git import GitRemote, GitTree
from steps.sources.lfs_api import MAX_POINTER, LfsClient, Pointer, parse_pointer

T = TypeVar("T")
MAX_FILE = 256 << 20  # bytes of a text in Git itself
MAX_TOGETHER = 512 << 20  # bytes of all that are taken


class GitLfsSource(ModelSource):
    """``sourceKind: git_lfs``."""

    name = "git_lfs"
    title = "a Git repository that keeps its weights in Git LFS"
    address_required = True
    address_pattern = REPOSITORY_PATTERN
    address_rule = REPOSITORY_RULE

    @classmethod
    def check_address(cls, address: str) -> None:
        """Raise ``InvalidSource`` for what is not the address of a repository, by the strict parser of ``steps.net.urls``."""
        check_source(address)

    @classmethod
    def is_shared(cls, address: str) -> bool:
        """Whether other machines reach the same files: every address is a server's."""
        return True

    def __init__(self, request: SourceRequest, context: Context) -> None:
        super().__init__(request, context)
        self._url = check_source(request.source)
        self._http = SourceClient(self._url, context.clock)
        self._remote = GitRemote(self._url, self._http)
        self._tree: GitTree | None = None
        self._commit = ""
        self._private = contextlib.ExitStack()
        self._folder = self._private.enter_context(context.private_folder())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()
        self._private.close()

    def pin(self) -> str:
        """The commit that the revision means now. Raises ``RevisionNotFound``."""
        return self._resolve()

    def commit(self) -> str:
        """The commit that was fetched."""
        return self._commit

    def files(self) -> list[SourceFile]:
        """Fetch the commit without its LFS objects and list its files, with the sizes of objects in place of pointers."""
        self._commit = self._resolve()
        note = self.context.progress.note
        note(f"Fetching commit {self._commit} of {self._url}.")
        self._tree = self._retrying(self._fetch_commit)
        files = self._tree.files()
        small = [file for file in files if file.stored == "git" and file.size_known and file.size < MAX_POINTER]
        pointers: dict[str, SourceFile] = {}
        with contextlib.closing(self._tree.contents(small)) as contents:
            for file, chunks in contents:
                pointed = _pointed(file, b"".join(chunks))
                if pointed is not None:
                    pointers[file.path] = pointed
        return [pointers.get(file.path, file) for file in files]

    def complete(self, choice: Choice) -> Choice:
        """Fetch the chosen texts that stayed on the server. Raises ``NotLfs`` for weights among them, ``TooLarge``."""
        assert self._tree is not None, "files() comes first"
        tree = self._tree
        plain = [file for file in choice.files if file.stored == "git"]
        for file in plain:
            if file.path.endswith(".safetensors"):
                raise SlipwayError(
                    Reason.NOT_LFS, f"{file.path} is stored in Git itself; this repository does not keep it in Git LFS."
                )
        self._retrying(lambda: self._remote.fetch_files(tree, plain))
        sized = {file.path: file for file in tree.with_sizes(plain)}
        for file in sized.values():
            if file.size > MAX_FILE:
                raise SlipwayError(
                    Reason.TOO_LARGE, f"{file.path} has {file.size} bytes in Git itself, and {MAX_FILE} are allowed for a text."
                )
        if (together := sum(file.size for file in sized.values())) > MAX_TOGETHER:
            raise SlipwayError(
                Reason.TOO_LARGE,
                f"The texts that would be taken have {together} bytes together, and {MAX_TOGETHER} are allowed.",
            )
        return Choice(tuple((sized.get(file.path, file), why) for file, why in choice.taken), choice.left)

    def read_texts(self, files: tuple[SourceFile, ...]) -> dict[str, bytes]:
        """Contents of the chosen files that are in Git itself, of ``MAX_TEXT`` bytes at most, ``MAX_TEXTS`` together."""
        assert self._tree is not None, "files() comes first"
        wanted: list[SourceFile] = []
        left = MAX_TEXTS
        for file in files:
            if file.stored == "git" and file.size <= min(MAX_TEXT, left):
                wanted.append(file)
                left -= file.size
        return self._tree.read(wanted)

    def download(self, files: tuple[SourceFile, ...], meter: Meter) -> list[LockedFile]:
        """Put the texts into the store, then download the LFS objects that it does not hold."""
        assert self._tree is not None, "files() comes first"
        with contextlib.closing(self._tree.contents([file for file in files if file.stored == "git"])) as texts:
            locked = [self._publish_text(file, chunks, meter) for file, chunks in texts]
        return locked + self._download_objects([file for file in files if file.stored == "lfs"], meter)

    def _publish_text(self, file: SourceFile, chunks: Iterator[bytes], meter: Meter) -> LockedFile:
        path = self._folder / "incoming"
        digest = hashlib.sha256()
        try:
            with path.open("wb") as target:
                for chunk in chunks:
                    digest.update(chunk)
                    target.write(chunk)
                    meter.advance(len(chunk))
        except OSError as error:
            raise from_os_error(error, f"Cannot write {file.path} ({file.size} bytes) to {path}") from error
        return self.publish(file, path, digest.hexdigest())

    def _download_objects(self, files: list[SourceFile], meter: Meter) -> list[LockedFile]:
        # An object's id is the digest of its content: what the store has need not be asked for.
        wanted = {file.path: Pointer(file.ref, file.size) for file in files if not self._holds(file)}
        meter.advance(sum(file.size for file in files if file.path not in wanted), before=True)
        locked = [LockedFile(path=file.path, size=file.size, sha256=file.ref) for file in files if file.path not in wanted]
        if not wanted:
            return locked
        partial = self.context.scratch / "partial"
        begun = sum((partial / p.oid).stat().st_size for p in set(wanted.values()) if (partial / p.oid).exists())
        self.require_space(sum(pointer.size for pointer in set(wanted.values())) - begun)
        note = self.context.progress.note
        remotes = LfsClient(self._url, self._http, self.context.clock, note).locate(wanted)
        transfer = Transfer(self._http, self.context.clock, meter, note)
        for file in files:
            if file.path in wanted:
                path = partial / file.ref
                with exclusive(path, lambda: note("Another run is fetching the same object; waiting for that one.")):
                    if self._holds(file):  # another path's object, or that of another run
                        meter.advance(file.size, before=True)
                    else:
                        transfer.fetch(remotes[file.path], path)
                        self.publish(file, path, file.ref)
                locked.append(LockedFile(path=file.path, size=file.size, sha256=file.ref))
        return locked

    def _holds(self, file: SourceFile) -> bool:
        """Whether the store has the object. It passes the gate again: it may have come in under a more harmless name."""
        key = blob_key(file.ref)
        if not self.context.already_stored(key, size=file.size, sha256=file.ref):
            return False
        path = self._folder / "held"
        self.context.store.copy_to(key, path)
        try:
            admit(file.path, path)
        finally:
            path.unlink()
        return True

    def _resolve(self) -> str:
        if not self._commit:
            revision = self.request.revision
            self._commit = self._retrying(lambda: self._remote.resolve(revision))
            if self._commit != revision:
                self.context.pins[self._commit] = repr(revision) if revision else "the default branch"
        return self._commit

    def _fetch_commit(self) -> GitTree:
        try:
            return self._remote.fetch(self._commit, self._folder / "git")
        except SlipwayError as error:
            if error.reason is Reason.REVISION_NOT_FOUND and (name := self.context.pins.get(self._commit)):
                raise SlipwayError(
                    Reason.SOURCE_BUSY,
                    f"{name} of {self._url} was moved while it was being fetched: the server does not give out commit "
                    f"{self._commit} any more.",
                    hint="Run again: the commit that it names then is fetched.",
                ) from error
            raise

    def _retrying(self, work: Callable[[], T]) -> T:
        return SERVER_RETRIES.call(work, clock=self.context.clock, notify=retry_messages(self.context.progress.note))


def _pointed(file: SourceFile, content: bytes) -> SourceFile | None:
    """The file that a pointer stands for, None where the content is no pointer."""
    try:
        pointer = parse_pointer(content, file.path)
    except SlipwayError as error:  # it matters only where the file is taken
        return replace(file, problem=error.message)
    return SourceFile(file.path, pointer.size, "lfs", pointer.oid) if pointer else None
