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

from steps.digest import canonical_json, read_file, sha256_bytes
from steps.errors import Reason, SlipwayError, from_os_error
from steps.lock import LockedFile
from steps.progress import Meter
from steps.sources import ModelSource, SourceKind
from steps.sources.choose import SourceFile

MAX_TEXT = 16 << 20  # bytes; larger texts are only looked at on their way through the gate


class UploadSource(ModelSource):
    """``sourceKind: upload``. ``source`` is a folder, ``file:///folder`` or ``gs://bucket/prefix``."""

    kind = SourceKind.UPLOAD

    def pin(self) -> str:
        return "listing:" + sha256_bytes(canonical_json([[f.path, f.size, f.ref] for f in self.files()]))

    def files(self) -> list[SourceFile]:
        if self.request.source.startswith("gs://"):
            from steps.store.gcs import list_objects

            return [SourceFile(o.name, o.size, "object", o.fingerprint) for o in list_objects(self.request.source)]
        return list(_walk(self._folder()))

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
        with path.open("wb") as target:
            for chunk in self._read(file):
                digest.update(chunk)
                target.write(chunk)
                meter.advance(len(chunk))
        if path.stat().st_size != file.size:
            raise SlipwayError(
                Reason.DIGEST_MISMATCH,
                f"{file.path} had {file.size} bytes when it was listed and has {path.stat().st_size} now.",
                hint="Wait until the upload is complete, then run again.",
            )
        return self.publish(file, path, digest.hexdigest())

    def _read(self, file: SourceFile) -> Iterator[bytes]:
        if self.request.source.startswith("gs://"):
            from steps.store.gcs import read_object

            return read_object(self.request.source, file.path)
        return read_file(self._folder() / file.path)

    def _folder(self) -> Path:
        text = self.request.source.removeprefix("file://")
        if "://" in text or not text:
            raise SlipwayError(
                Reason.INVALID_SOURCE,
                f"{self.request.source!r} is no folder and no bucket prefix.",
                hint="With `sourceKind: upload`, `source` is a folder, file:///folder or gs://bucket/prefix.",
            )
        folder = Path(text).absolute()
        if not folder.is_dir():
            raise SlipwayError(Reason.SOURCE_NOT_FOUND, f"There is no folder {folder}.", hint="Put the model's files there.")
        return folder


def _walk(folder: Path) -> Iterator[SourceFile]:
    def fail(error: OSError) -> None:
        raise from_os_error(error, f"Cannot list {folder}") from error

    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if name != ".git"]
        for name in sorted([*names, *(name for name in folders if Path(parent, name).is_symlink())]):
            path = Path(parent, name)
            status = path.lstat()
            relative = path.relative_to(folder).as_posix()
            if stat.S_ISREG(status.st_mode):
                yield SourceFile(relative, status.st_size, "file", f"{status.st_mtime_ns}:{status.st_ino}")
            else:
                yield SourceFile(relative, 0, "symlink", "")
