"""The step archive: the package, with its weights, as one ``.tar.gz`` in the store, streamed without a copy on disk."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from pydantic import Field

from steps.command.main import main
from steps.core.contract import Context, Inputs, Outputs, Step
from steps.core.digest import canonical_json, sha256_bytes, verified_chunks
from steps.core.documents import RenderedPackage
from steps.core.errors import Reason, SlipwayError
from steps.core.lock import Lock
from steps.core.names import ModelName
from steps.core.progress import Meter
from steps.core.store import StoreKey
from steps.core.text import format_bytes
from steps.package.tar_writer import Entry, tar_gz
from steps.package.unpack import MODEL
from steps.tasks.table import resolve


class ArchiveInputs(Inputs):
    """Which text files and which weights to pack."""

    name: ModelName = Field(description="name of the model, a DNS label of at most 40 characters")
    service: str = Field(description="task that the package serves")
    lock: StoreKey = Field(description="store key of the lock")
    render: StoreKey = Field(description="store key of the document with the package's text files, that the step render wrote")


class ArchiveOutputs(Outputs):
    """The archive."""

    archive: str = Field(description="store key of the archive")
    archive_digest: str = Field(description="SHA-256 of the archive")
    archive_bytes: int = Field(description="size of the archive in bytes")


def run(inputs: ArchiveInputs, context: Context) -> ArchiveOutputs:
    """Pack code and weights into one archive that ``bentoml serve``, ``bentoml import`` and ``slipway serve`` accept.

    Reads the lock, the rendered files, and each file of the lock, which is checked again while it is packed. Times, owners and
    the order of the entries are fixed, and nothing is compressed, so that no compression library leaves its trace.

    Publishes ``archives/NAME-TASK-….tar.gz``; the end of the name is a digest of the lock and the rendered files.

    Repeating: with a receipt the archive in the store is checked and kept. Without one it is packed again and compared.

    Raises:
        SlipwayError: ``UnknownTask`` and ``InvalidInput`` for wrong inputs; ``StoreUnreadable`` for a missing object;
            ``DigestMismatch`` and ``LockMismatch`` when objects changed; ``PublishConflict`` when the store has another
            archive of this name; ``DiskFull``; ``StoreBusy`` when a retry may help.
    """
    task = resolve(inputs.service)
    lock = context.read_document(inputs.lock, Lock)
    rendered = context.read_document(inputs.render, RenderedPackage)
    # The bytes follow from these two documents, so the name can, too: no need to know the digest before the upload.
    identity = sha256_bytes(canonical_json([inputs.lock, inputs.render]))[:16]
    key = f"archives/{inputs.name}-{task.name}-{identity}.tar.gz"
    meter = context.progress.meter("archiving", lock.size)
    entries = [*text_entries(rendered), *model_entries(lock, context, meter)]
    archived = {entry.path: entry.size for entry in entries}
    for file in lock.weights:
        if archived.get(f"{MODEL}/{file.path}") != file.size:
            raise SlipwayError(Reason.LOCK_MISMATCH, f"{file.path} would not be in the archive.")
    digest, size = context.publish_stream(key, tar_gz(entries))
    context.progress.note(f"{context.store.locate(key)}: {format_bytes(size)}, sha256 {digest}.")
    return ArchiveOutputs(archive=key, archive_digest=digest, archive_bytes=size)


def text_entries(rendered: RenderedPackage) -> Iterator[Entry]:
    """Yield the rendered files as entries."""
    contents = {path: text.encode() for path, text in rendered.files.items()}
    contents |= {path: base64.b64decode(text) for path, text in rendered.binaries.items()}
    for path, data in contents.items():
        yield Entry(path, len(data), [data])


def model_entries(lock: Lock, context: Context, meter: Meter) -> Iterator[Entry]:
    """Yield the lock's files as entries, each checked again while it is read."""
    for file in lock.files:
        chunks = verified_chunks(
            context.store.read(file.key), sha256=file.sha256, size=file.size, what=context.store.locate(file.key)
        )
        yield Entry(f"{MODEL}/{file.path}", file.size, counted(chunks, meter))


def counted(chunks: Iterator[bytes], meter: Meter) -> Iterator[bytes]:
    """Pass chunks through and add their size to a meter."""
    for chunk in chunks:
        meter.advance(len(chunk))
        yield chunk


STEP = Step(
    "archive", "Pack code and weights into one archive, byte for byte reproducible.", ArchiveInputs, ArchiveOutputs, run
)

if __name__ == "__main__":
    main(STEP)
