"""The files of a folder of this machine, listed without following a link, but for those of the Hugging Face cache.

The cache (https://huggingface.co/docs/huggingface_hub/guides/manage-cache) keeps a revision as ``snapshots/COMMIT``, full of
links to ``blobs/NAME`` beside it. Such a link is taken for the file that it leads to, which is opened under its own name; one
that leads anywhere else is a link, and refused where it is needed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from steps.core.digest import read_chunks
from steps.core.errors import Reason, SlipwayError, from_os_error
from steps.sources.choose import MAX_FILES, SourceFile, printable, too_many_files
from steps.store.supported import addresses

MAX_DEPTH = 50  # folders within each other


def folder_path(source: str) -> Path:
    """The folder that a source names by its path or as ``file:///folder``, absolute; raises ``InvalidSource`` for another."""
    text = source.removeprefix("file://")
    if "://" in text or not text or (text != source and not text.startswith("/")):
        raise SlipwayError(
            Reason.INVALID_SOURCE,
            f"{source!r} is neither a folder nor a bucket prefix.",
            hint=f"With `sourceKind: upload`, `source` is {addresses()}.",
        )
    return Path(text).absolute()


class Folder:
    """A folder of this machine. ``source`` is its path or its ``file://`` address.

    Raises ``InvalidSource`` for what is neither, ``SourceNotFound`` where there is no such folder.
    """

    def __init__(self, source: str) -> None:
        self._root = folder_path(source)
        if not self._root.is_dir():
            raise SlipwayError(
                Reason.SOURCE_NOT_FOUND, f"There is no folder {self._root}.", hint="Put the model's files there."
            )
        self._cache = _cache_of(self._root)
        self._paths: dict[str, Path] = {}  # where files are that are links of the cache

    def files(self) -> list[SourceFile]:
        """All files below the folder but those of ``.git``, by path; links and special files are marked as such."""
        self._paths.clear()
        files: list[SourceFile] = []
        for file in self._walk():
            files.append(file)
            if len(files) > MAX_FILES:
                raise too_many_files()
        return sorted(files, key=lambda file: file.path)

    def read(self, file: SourceFile) -> Iterator[bytes]:
        """The file's bytes."""
        return read_chunks(self._paths.get(file.path, self._root / file.path))

    def is_unchanged(self, file: SourceFile) -> bool:
        """Whether the file is as it was listed."""
        return self._look(self._root / file.path) == file

    def _walk(self) -> Iterator[SourceFile]:
        folders = [(self._root, 0)]
        while folders:
            folder, depth = folders.pop()
            if depth > MAX_DEPTH:
                raise SlipwayError(
                    Reason.TOO_LARGE,
                    f"{self._root} has folders within each other more than {MAX_DEPTH} levels deep.",
                    hint="Name a folder with the model's files alone.",
                )
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if not entry.is_dir(follow_symlinks=False):
                            yield self._look(Path(entry.path))
                        elif entry.name != ".git":
                            folders.append((Path(entry.path), depth + 1))
            except OSError as error:
                raise from_os_error(error, f"Cannot list {self._root}") from error

    def _look(self, path: Path) -> SourceFile:
        name = printable(os.fsencode(path.relative_to(self._root)))
        try:
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode) and (blob := self._blob(path)) is not None:
                self._paths[name] = blob
                status = blob.lstat()
        except FileNotFoundError:
            raise changed(name) from None
        if stat.S_ISREG(status.st_mode):
            return SourceFile(name, status.st_size, "file", f"{status.st_mtime_ns}:{status.st_ino}")
        return SourceFile(name, 0, "symlink" if stat.S_ISLNK(status.st_mode) else "special", "")

    def _blob(self, link: Path) -> Path | None:
        """The file of the cache that a link leads to; None for every other link."""
        if self._cache is None:
            return None
        blobs, snapshot = self._cache
        there = snapshot / link.parent.relative_to(self._root)
        target = Path(os.path.normpath(there / link.readlink()))
        return target if target.parent == blobs and target.is_file() and not target.is_symlink() else None


def changed(what: str) -> SlipwayError:
    """The error for a file or a listing that is not as it was, for the caller to raise."""
    return SlipwayError(
        Reason.DIGEST_MISMATCH,
        f"{what} changed while it was being read.",
        hint="Wait until the upload is complete, then run again.",
    )


def _cache_of(root: Path) -> tuple[Path, Path] | None:
    """The blobs and the snapshot of the Hugging Face cache that the folder is a snapshot of; None where it is none.

    Raises ``InvalidSource`` for a model's whole folder in the cache, which has several revisions.
    """
    snapshot = root.resolve()
    if (root / "snapshots").is_dir() and (root / "blobs").is_dir():
        names = sorted(path.name for path in (root / "snapshots").iterdir())
        raise SlipwayError(
            Reason.INVALID_SOURCE,
            f"{root} is a model's folder in the Hugging Face cache, which holds one folder for each revision.",
            hint=f"Name a revision: {root / 'snapshots' / (names[-1] if names else 'COMMIT')}",
        )
    blobs = snapshot.parent.parent / "blobs"
    return (blobs, snapshot) if snapshot.parent.name == "snapshots" and blobs.is_dir() else None
