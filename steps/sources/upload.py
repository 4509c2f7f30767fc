"""A model that someone put in place already: a folder, or a prefix in a bucket.

There is no commit to pin, so a fingerprint of the listing (sizes and times of a folder, generations of a bucket) tells
whether anything changed since the last run; the lock is over contents alone.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from steps.digest import canonical_json, read_file, sha256_bytes
from steps.errors import Reason, SlipwayError, from_os_error
from steps.lock import LockedFile
from steps.progress import Meter
from steps.sources import ModelSource, SourceKind
from steps.sources.choose import SourceFile, printable

if TYPE_CHECKING:
    from steps.store.gcs import BucketObject

MAX_TEXT = 16 << 20  # bytes; larger texts are only looked at on their way through the gate
PIN = "listing:"


class UploadSource(ModelSource):
    """``sourceKind: upload``. ``source`` is a folder, ``file:///folder`` or ``gs://bucket/prefix``."""

    kind = SourceKind.UPLOAD
    _objects: dict[str, BucketObject]

    def pin(self) -> str:
        return _pin(self._list())

    def files(self) -> list[SourceFile]:
        files = self._list()
        if self.request.revision.startswith(PIN) and self.request.revision != _pin(files):
            raise _changed(f"Files of {self.request.source} changed")
        return files

    def read_texts(self, files: tuple[SourceFile, ...]) -> dict[str, bytes]:
        texts = [file for file in files if not file.path.endswith(".safetensors") and file.size <= MAX_TEXT]
        return {file.path: b"".join(self._read(file)) for file in texts}

    def bring(self, files: tuple[SourceFile, ...], meter: Meter) -> list[LockedFile]:
        self.require_space(sum(file.size for file in files))
        with self.context.private() as folder:
            return [self._bring(file, folder / "incoming", meter) for file in files]

    def _bring(self, file: SourceFile, path: Path, meter: Meter) -> LockedFile:
        # A copy, never a link: whoever owns the folder may write to it again.
        digest = hashlib.sha256()
        path.unlink(missing_ok=True)
        try:
            with path.open("wb") as target:
                for chunk in self._read(file):
                    digest.update(chunk)
                    target.write(chunk)
                    meter.advance(len(chunk))
        except OSError as error:
            raise from_os_error(error, f"Cannot copy {file.path} ({file.size} bytes) to {path}") from error
        if file.stored == "file" and _fingerprint(self._folder() / file.path) != (file.size, file.ref):
            raise _changed(f"{file.path} changed")
        return self.publish(file, path, digest.hexdigest())

    def _list(self) -> list[SourceFile]:
        if not self.request.source.startswith("gs://"):
            return list(_walk(self._folder()))
        from steps.store.gcs import GcsPrefix

        found = GcsPrefix.from_uri(self.request.source).objects()
        self._objects = {printable(each.name.encode()): each for each in found}
        return [SourceFile(path, each.size, "object", each.fingerprint) for path, each in self._objects.items()]

    def _read(self, file: SourceFile) -> Iterator[bytes]:
        if file.stored == "file":
            return read_file(self._folder() / file.path)
        from steps.store.gcs import GcsPrefix

        return GcsPrefix.from_uri(self.request.source).read(self._objects[file.path])

    def _folder(self) -> Path:
        text = self.request.source.removeprefix("file://")
        if "://" in text or not text or (self.request.source.startswith("file:") and not text.startswith("/")):
            raise SlipwayError(
                Reason.INVALID_SOURCE,
                f"{self.request.source!r} is no folder and no bucket prefix.",
                hint="With `sourceKind: upload`, `source` is a folder, file:///folder or gs://bucket/prefix.",
            )
        folder = Path(text).absolute()
        if not folder.is_dir():
            raise SlipwayError(Reason.SOURCE_NOT_FOUND, f"There is no folder {folder}.", hint="Put the model's files there.")
        return folder


def _pin(files: list[SourceFile]) -> str:
    return PIN + sha256_bytes(canonical_json([[file.path, file.size, file.ref] for file in files]))


def _changed(what: str) -> SlipwayError:
    return SlipwayError(
        Reason.DIGEST_MISMATCH, f"{what} while being read.", hint="Wait until the upload is complete, then run again."
    )


def _walk(folder: Path) -> Iterator[SourceFile]:
    def fail(error: OSError) -> None:
        raise from_os_error(error, f"Cannot list {folder}") from error

    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in sorted([*names, *(name for name in folders if Path(parent, name).is_symlink())]):
            path = Path(parent, name)
            relative = printable(os.fsencode(path.relative_to(folder).as_posix()))
            size, ref = _fingerprint(path)
            yield SourceFile(relative, size, "file" if ref else "symlink", ref)


def _fingerprint(path: Path) -> tuple[int, str]:
    """Size in bytes, and a text that changes whenever the file is written; 0 and empty for what is no regular file."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return 0, ""
    return (status.st_size, f"{status.st_mtime_ns}:{status.st_ino}") if stat.S_ISREG(status.st_mode) else (0, "")
