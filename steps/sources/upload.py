"""A model that someone put in place already: a folder, or a prefix in a bucket.

There is no commit to pin, so a fingerprint of the listing (sizes and times of a folder, versions of a bucket) shows
whether anything changed since the last run; the lock is over contents alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from steps.core.contract import Context
from steps.core.digest import canonical_json, sha256_bytes
from steps.core.errors import Reason, SlipwayError, from_os_error
from steps.core.lock import LockedFile
from steps.core.progress import Meter
from steps.core.redaction import SOURCE_CREDENTIALS, find_secret, redact_address
from steps.core.store import ObjectNotFoundError
from steps.sources.base import MAX_TEXT, MAX_TEXTS, ModelSource, SourceRequest
from steps.sources.choose import MAX_FILES, SourceFile, printable, too_many_files
from steps.sources.folder import Folder, changed, folder_path
from steps.sources.lfs_api import MAX_POINTER, is_pointer
from steps.store.bucket import BucketObject
from steps.store.supported import bucket_addresses, is_bucket, open_prefix

PIN = "listing:"


class UploadSource(ModelSource):
    """``sourceKind: upload``. ``source`` is a folder, ``file:///folder``, or the address of a bucket and a prefix."""

    name = "upload"
    title = "a folder, or a prefix in a bucket, where the files are already"
    address_required = True
    has_revisions = False
    address_pattern = r"^[^\x00-\x1f\x7f-\x9f{}-][^\x00-\x1f\x7f-\x9f{}]*$"
    address_rule = f"write a folder, {bucket_addresses()}, with no control character, no brace and no dash in front"

    def __init__(self, request: SourceRequest, context: Context) -> None:
        super().__init__(request, context)
        source = request.source
        self._listing: Folder | Bucket = Bucket(source, context.progress.note) if is_bucket(source) else Folder(source)

    @classmethod
    def check_address(cls, address: str) -> None:
        """Raise ``InvalidSource`` for what is neither the path of a folder nor the address of a bucket and a prefix."""
        if what := find_secret(address):
            text = f"The address {redact_address(address)} has {what}."
            raise SlipwayError(Reason.INVALID_SOURCE, text, hint=SOURCE_CREDENTIALS)
        if is_bucket(address):
            open_prefix(address)
        elif address:
            folder_path(address)

    @classmethod
    def is_shared(cls, address: str) -> bool:
        """Whether it is the address of a bucket: a folder is this machine's own."""
        return is_bucket(address)

    def pin(self) -> str:
        """A digest of the listing: paths, sizes, and times or versions."""
        return _pin(self._listing.files())

    def files(self) -> list[SourceFile]:
        """All files. Raises ``DigestMismatch`` where the listing is not the pinned one."""
        files = self._listing.files()
        if self.request.revision.startswith(PIN) and self.request.revision != _pin(files):
            raise changed(self.request.source)
        return files

    def read_texts(self, files: tuple[SourceFile, ...]) -> dict[str, bytes]:
        """Contents of the chosen texts of ``MAX_TEXT`` bytes at most, ``MAX_TEXTS`` together.

        Raises ``NotLfs`` where the files are pointers, as a clone made without git-lfs has them.
        """
        pointers = [file.path for file in files if file.size < MAX_POINTER and is_pointer(b"".join(self._listing.read(file)))]
        if pointers:
            more = f" and {len(pointers) - 1} more" if len(pointers) > 1 else ""
            raise SlipwayError(
                Reason.NOT_LFS,
                f"{pointers[0]}{more} in {self.request.source} are pointers of Git LFS and not the files themselves: "
                "the repository was cloned without git-lfs.",
                hint="In the clone, run `git lfs install` and `git lfs pull`, and use the files that this gets.",
            )
        texts: dict[str, bytes] = {}
        left = MAX_TEXTS
        for file in files:
            if not file.path.endswith(".safetensors") and file.size <= min(MAX_TEXT, left):
                texts[file.path] = b"".join(self._listing.read(file))
                left -= file.size
        return texts

    def download(self, files: tuple[SourceFile, ...], meter: Meter) -> list[LockedFile]:
        """Copy the files into the store. Raises ``DigestMismatch`` for one that changes meanwhile."""
        self.require_space(sum(file.size for file in files))
        with self.context.private_folder() as folder:
            return [self._copy(file, folder / "incoming", meter) for file in files]

    def _copy(self, file: SourceFile, path: Path, meter: Meter) -> LockedFile:
        # A copy, never a link: whoever owns the folder may write to it again.
        digest = hashlib.sha256()
        try:
            with path.open("wb") as target:
                for chunk in self._listing.read(file):
                    digest.update(chunk)
                    target.write(chunk)
                    meter.advance(len(chunk))
        except OSError as error:
            if isinstance(error, FileNotFoundError) and error.filename != str(path):
                raise changed(file.path) from error
            raise from_os_error(error, f"Cannot copy {file.path} ({file.size} bytes) to {path}") from error
        if not self._listing.is_unchanged(file):
            raise changed(file.path)
        return self.publish(file, path, digest.hexdigest())


class Bucket:
    """A prefix in a bucket; what is read is the version that was listed."""

    def __init__(self, source: str, note: Callable[[str], None]) -> None:
        self._prefix = open_prefix(source)
        self._prefix.note = note
        self._objects: dict[str, BucketObject] = {}

    def files(self) -> list[SourceFile]:
        """All objects below the prefix. Raises ``SourceNotFound`` where there are none."""
        self._objects = {}
        for found in self._prefix.objects():
            self._objects[printable(found.name.encode())] = found
            if len(self._objects) > MAX_FILES:
                raise too_many_files()
        if not self._objects:
            raise SlipwayError(
                Reason.SOURCE_NOT_FOUND, f"There is nothing at {self._prefix.uri}.", hint="Put the model's files there."
            )
        return [SourceFile(name, found.size, "object", found.fingerprint) for name, found in self._objects.items()]

    def read(self, file: SourceFile) -> Iterator[bytes]:
        """The bytes of the version that was listed. Raises ``DigestMismatch`` where it is gone."""
        try:
            yield from self._prefix.read(self._objects[file.path])
        except ObjectNotFoundError as error:  # the version that was listed is gone
            raise changed(file.path) from error

    def is_unchanged(self, file: SourceFile) -> bool:
        """Whether the object is as it was listed."""
        return True  # a version never changes


def _pin(files: list[SourceFile]) -> str:
    return PIN + sha256_bytes(canonical_json([[file.path, file.size, file.ref] for file in files]))
