"""archive: the package as one ``.tar.gz`` in the store, weights and all, streamed without a second copy on disk."""

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
from steps.core.text import format_bytes
from steps.package.tar_writer import Entry, tar_gz
from steps.package.unpack import MODEL
from steps.tasks.table import resolve


class ArchiveInputs(Inputs):
    name: ModelName = Field(description="the model's name, a DNS label of at most 40 characters")
    service: str = Field(description="the task that this package serves")
    lock: str = Field(description="store key of the lock")
    render: str = Field(description="store key of the package's text files")


class ArchiveOutputs(Outputs):
    archive: str = Field(description="store key of the archive")
    archive_digest: str = Field(description="its sha256")
    archive_bytes: int = Field(description="its size")


def run(inputs: ArchiveInputs, context: Context) -> ArchiveOutputs:
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
    contents = {path: text.encode() for path, text in rendered.files.items()}
    contents |= {path: base64.b64decode(text) for path, text in rendered.binaries.items()}
    for path, data in contents.items():
        yield Entry(path, len(data), [data], stored=False)


def model_entries(lock: Lock, context: Context, meter: Meter) -> Iterator[Entry]:
    """The lock's files, each checked again while it passes into the archive."""
    for file in lock.files:
        chunks = verified_chunks(
            context.store.read(file.key), sha256=file.sha256, size=file.size, what=context.store.locate(file.key)
        )
        yield Entry(f"{MODEL}/{file.path}", file.size, counted(chunks, meter), stored=file in lock.weights)


def counted(chunks: Iterator[bytes], meter: Meter) -> Iterator[bytes]:
    for chunk in chunks:
        meter.advance(len(chunk))
        yield chunk


STEP = Step(
    "archive", "Pack code and weights into one archive, byte for byte reproducible.", ArchiveInputs, ArchiveOutputs, run
)

if __name__ == "__main__":
    main(STEP)
