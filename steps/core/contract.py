"""What a step is: two frozen models, one function, and the context that the function runs in.

A field of ``Inputs`` is a command-line flag, an Argo parameter and a line of ``--help`` at once; a field of ``Outputs`` is
a file that Argo reads. Values are small: digests, keys, names. Everything big goes through ``context.store``.

``Context`` holds all that a step uses of its surroundings (store, scratch folder, clock, progress): what tests replace.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from steps.core.clock import Clock, SystemClock
from steps.core.digest import canonical_json, sha256_bytes, verified_chunks
from steps.core.errors import Reason, SlipwayError
from steps.core.folders import private_folder, remove_leftovers
from steps.core.json_reader import DOCUMENT, InvalidJsonError, read_model
from steps.core.progress import Progress
from steps.core.redaction import check_no_secrets
from steps.core.store import Store


class Inputs(BaseModel):
    """Base of every step's inputs; fields are ``str``, ``int``, ``bool``, a ``StrEnum`` or ``tuple[str, ...]``.

    No text may have a place for secrets: inputs are flags that every user of the machine can read, arguments of Workflows and
    parts of receipts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @field_validator("*")
    @classmethod
    def _no_secrets(cls, value: object) -> object:
        check_no_secrets(value)
        return value


class Outputs(BaseModel):
    """Base of every step's outputs; fields are ``str``, ``int`` or ``tuple[str, ...]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Document(BaseModel):
    """Base of the small JSON documents that steps write to the store for each other, named by their digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")


SpaceCheck = Callable[[Sequence[tuple[str, int]]], None]
"""Takes each file of a model: its key in the store, empty where that is not known, and its size. Raises ``DiskFull``."""

InputsT = TypeVar("InputsT", bound=Inputs)
OutputsT = TypeVar("OutputsT", bound=Outputs)
ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass
class Context:
    """What a step uses of its surroundings.

    Attributes:
        store: Where inputs are read from and results are published.
        scratch: A folder on a local disk for unfinished work.
        clock: The time, and waiting.
        progress: The sink for notes and meters.
        published: The keys of all objects that the step published, or found there already, with their SHA-256. The receipt
            lists them, and a later equal run checks them before it counts the step as done.
        pins: What a moving name of the inputs meant when it was pinned, and the name: a commit, and a branch.
        check_space: What the step fetch calls before it transfers weights: whoever runs the later steps as well knows what
            they will need, and whether there is room for it.
    """

    store: Store
    scratch: Path
    clock: Clock = field(default_factory=SystemClock)
    progress: Progress = field(default_factory=Progress)
    published: dict[str, str] = field(default_factory=dict)
    pins: dict[str, str] = field(default_factory=dict)
    check_space: SpaceCheck = lambda files: None

    @contextlib.contextmanager
    def private_folder(self) -> Iterator[Path]:
        """Make an empty folder that is removed when the block ends, whatever happens."""
        with private_folder(self.scratch) as folder:
            yield folder

    def remove_leftovers(self) -> None:
        """Remove private folders and unfinished objects of processes of this machine that were killed."""
        remove_leftovers(self.scratch)

    def publish(self, key: str, chunks: Iterable[bytes], *, size: int, sha256: str) -> None:
        """Publish an object whose size in bytes and SHA-256 are known beforehand.

        An object that is there already is checked instead. Raises ``DigestMismatch`` where either has other bytes.
        """
        if not self.store.put(key, verified_chunks(chunks, sha256=sha256, size=size, what=key)):
            self.verify(key, sha256)
        self.published[key] = sha256

    def publish_stream(self, key: str, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Publish an object whose bytes follow from its key, and return its SHA-256 and its size in bytes.

        When the key exists already, the stream is compared with what is there; raises ``PublishConflict`` for other bytes.
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
        """Publish a file whose digest was checked already; the store may take the file itself, as ``Store.put_file`` says."""
        if not self.store.put_file(key, path):
            self.verify(key, sha256)
        self.published[key] = sha256

    def already_stored(self, key: str, *, size: int, sha256: str) -> bool:
        """Return whether the store has this object; if it does, it is checked, and counts as published by this step."""
        if self.store.size(key) != size:
            return False
        self.verify(key, sha256)
        self.published[key] = sha256
        return True

    def publish_document(self, kind: str, document: BaseModel) -> str:
        """Publish a document under ``<kind>/<its sha256>.json`` and return that key."""
        data = canonical_json(document.model_dump(mode="json", by_alias=True))
        sha256 = sha256_bytes(data)
        key = f"{kind}/{sha256}.json"
        self.publish(key, [data], size=len(data), sha256=sha256)
        return key

    def read_document(self, key: str, model: type[ModelT]) -> ModelT:
        """Read a document that ``publish_document`` stored.

        Raises:
            SlipwayError: ``DigestMismatch`` when its bytes are not those of its name, ``LockMismatch`` when it is not a
                document of this kind and version, ``StoreUnreadable`` when it does not exist.
        """
        sha256 = Path(key).stem
        data = self.read_small(key)
        if sha256_bytes(data) != sha256:
            raise SlipwayError(
                Reason.DIGEST_MISMATCH, f"{self.store.locate(key)} does not have the digest that is in its name."
            )
        try:
            return read_model(data, model)
        except (ValidationError, InvalidJsonError) as error:
            why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise SlipwayError(
                Reason.LOCK_MISMATCH,
                f"{self.store.locate(key)} is not a {model.__name__} of this version: {why}.",
                hint="It was written by another version of Slipway: run the step that makes it again.",
            ) from error

    def read_small(self, key: str, limit: int = DOCUMENT.size) -> bytes:
        """Read a whole object of ``limit`` bytes at most.

        Raises:
            SlipwayError: ``TooLarge`` for a larger one, ``StoreUnreadable`` when it does not exist.
        """
        data = bytearray()
        for chunk in self.store.read(key):
            data += chunk
            if len(data) > limit:
                where = self.store.locate(key)
                raise SlipwayError(
                    Reason.TOO_LARGE,
                    f"{where} has more than the {limit} bytes that are read of such an object.",
                    hint=f"No step wrote it like this. Delete it and run again: {where}",
                )
        return bytes(data)

    def verify(self, key: str, sha256: str) -> None:
        """Check a stored object's bytes; raises ``DigestMismatch``, with the object's address, when they changed."""
        found = self._stored_sha256(key)
        if found != sha256:
            where = self.store.locate(key)
            raise SlipwayError(
                Reason.DIGEST_MISMATCH,
                f"{where} has sha256 {found} where {sha256} was recorded.",
                hint=f"The object changed in the store. Delete it and run again: {where}",
            )

    def _stored_sha256(self, key: str) -> str:
        digest = hashlib.sha256()
        for chunk in self.store.read(key):
            digest.update(chunk)
        return digest.hexdigest()


@dataclass(frozen=True)
class Step(Generic[InputsT, OutputsT]):
    """A step as data: what the command line, the local runner, the Argo template and the pages are made from.

    Attributes:
        name: The module's name in ``steps``.
        title: What the step does, in one sentence.
        inputs: The model of its inputs.
        outputs: The model of its outputs.
        run: The step's work. Raises ``SlipwayError``.
        pin: Replaces names that move (a branch) by what they mean now (a commit), before the receipt is looked up.
    """

    name: str
    title: str
    inputs: type[InputsT]
    outputs: type[OutputsT]
    run: Callable[[InputsT, Context], OutputsT]
    pin: Callable[[InputsT, Context], InputsT] | None = None
