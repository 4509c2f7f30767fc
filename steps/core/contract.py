"""What a step is: two frozen models, one function, and the few things it may touch.

A field of ``Inputs`` is a command-line flag, an Argo parameter and a line of ``--help`` at once; a field of ``Outputs`` is
a file that Argo reads. Values are small: digests, keys, names. Everything big goes through ``context.store``.

``Context`` is the only door to the world, and so the only seam that tests replace: store, scratch folder, clock, progress.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from steps.core.clock import Clock, SystemClock
from steps.core.digest import canonical_json, sha256_bytes, verified_chunks
from steps.core.errors import Reason, SlipwayError
from steps.core.progress import Progress
from steps.core.store import Store


class Inputs(BaseModel):
    """Base of every step's inputs. Fields are ``str``, ``int``, ``bool``, a ``StrEnum`` or ``tuple[str, ...]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Outputs(BaseModel):
    """Base of every step's outputs. Fields are ``str``, ``int`` or ``tuple[str, ...]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Document(BaseModel):
    """Base of the small JSON documents that steps leave in the store for each other, named by their digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")


InputsT = TypeVar("InputsT", bound=Inputs)
OutputsT = TypeVar("OutputsT", bound=Outputs)
ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass
class Context:
    """Where a step runs.

    ``published`` maps the keys of all objects that the step put, or found already there, to their SHA-256: the receipt
    lists them, and a later equal run checks them before it calls the work done.
    """

    store: Store
    scratch: Path
    clock: Clock = field(default_factory=SystemClock)
    progress: Progress = field(default_factory=Progress)
    published: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def private_folder(self) -> Iterator[Path]:
        """An empty folder that is gone afterwards, whatever happens."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"step-{os.getpid()}-", dir=self.scratch))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def remove_leftovers(self) -> None:
        """Remove private folders and unfinished objects of processes that were killed on this machine."""
        for path in self.scratch.glob("*-*-*"):
            kind, pid, _ = path.name.split("-", 2)
            if kind not in ("step", "put") or not pid.isdigit() or psutil.pid_exists(int(pid)):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def publish(self, key: str, chunks: Iterable[bytes], *, size: int, sha256: str) -> None:
        """Put an object whose digest is known beforehand; an object that is there already is checked instead."""
        if not self.store.put(key, verified_chunks(chunks, sha256=sha256, size=size, what=key)):
            self.verify(key, sha256)
        self.published[key] = sha256

    def publish_stream(self, key: str, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Put an object whose bytes follow from its key; returns SHA-256 and size in bytes.

        When the key is taken, the stream is compared with what is there: equal is success, else ``PublishConflict``.
        """
        digest = hashlib.sha256()
        size = 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        stream = counted()
        if not self.store.put(key, stream):
            for _ in stream:
                pass
            if self._stored_sha256(key) != digest.hexdigest():
                raise SlipwayError(
                    Reason.PUBLISH_CONFLICT,
                    f"{self.store.locate(key)} holds other bytes than this run made (sha256 {digest.hexdigest()}).",
                )
        self.published[key] = digest.hexdigest()
        return digest.hexdigest(), size

    def publish_file(self, key: str, path: Path, *, sha256: str) -> None:
        """Put a file whose digest was checked already; the store may take the file itself."""
        if not self.store.put_file(key, path):
            self.verify(key, sha256)
        self.published[key] = sha256

    def already_stored(self, key: str, *, size: int, sha256: str) -> bool:
        """Whether the store has this object; it is checked, and counts as published by this step."""
        if self.store.size(key) != size:
            return False
        self.verify(key, sha256)
        self.published[key] = sha256
        return True

    def publish_document(self, kind: str, document: BaseModel) -> str:
        """Store a document under ``<kind>/<its sha256>.json`` and return that key."""
        data = canonical_json(document.model_dump(mode="json", by_alias=True))
        sha256 = sha256_bytes(data)
        key = f"{kind}/{sha256}.json"
        self.publish(key, [data], size=len(data), sha256=sha256)
        return key

    def read_document(self, key: str, model: type[ModelT]) -> ModelT:
        """Read a document that ``publish_document`` stored; ``DigestMismatch`` when its bytes are not those of its name."""
        sha256 = Path(key).stem
        data = b"".join(self.store.read(key))
        if sha256_bytes(data) != sha256:
            raise SlipwayError(
                Reason.DIGEST_MISMATCH, f"{self.store.locate(key)} does not have the digest that its name promises."
            )
        try:
            return model.model_validate_json(data)
        except ValidationError as error:
            raise SlipwayError(
                Reason.LOCK_MISMATCH,
                f"{self.store.locate(key)} is no {model.__name__} of this version: {error.errors()[0]['msg']}.",
                hint="It was written by another version of Slipway: run the step that makes it again.",
            ) from error

    def verify(self, key: str, sha256: str) -> None:
        """Check a stored object's bytes; ``DigestMismatch`` names the object when they changed."""
        found = self._stored_sha256(key)
        if found != sha256:
            where = self.store.locate(key)
            raise SlipwayError(
                Reason.DIGEST_MISMATCH,
                f"{where} has sha256 {found} where {sha256} was written.",
                hint=f"The object changed in the store. Delete it and run again: {where}",
            )

    def _stored_sha256(self, key: str) -> str:
        digest = hashlib.sha256()
        for chunk in self.store.read(key):
            digest.update(chunk)
        return digest.hexdigest()


@dataclass(frozen=True)
class Step(Generic[InputsT, OutputsT]):
    """A step as data: what the command line, the local runner and the Argo template are made from.

    ``pin`` replaces names that move (a branch) by what they mean now (a commit), before it is decided whether the work
    was done already.
    """

    name: str
    title: str
    inputs: type[InputsT]
    outputs: type[OutputsT]
    run: Callable[[InputsT, Context], OutputsT]
    pin: Callable[[InputsT, Context], InputsT] | None = None
