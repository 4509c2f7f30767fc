"""The store on this machine: a folder, one file an object.

A file appears under its key by ``link(2)`` from a private name, after ``fsync``: link fails where the key exists, so the
first writer publishes and no reader ever sees a part. Objects are read-only files, which protects them from accidents. Where a
file system has no links, a claim (``steps.core.claim``) and a rename do the same.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from steps.core.claim import NOT_SUPPORTED, claim
from steps.core.digest import read_chunks
from steps.core.errors import Reason, SlipwayError, from_os_error
from steps.core.store import check_key, object_not_found
from steps.core.text import format_bytes
from steps.store.base import StoreBackend

NO_LINK = NOT_SUPPORTED | {errno.EXDEV}
MIN_FREE = 5_000_000_000  # bytes: a small model, its archive and its image's build context


class LocalStore(StoreBackend):
    """Objects as files under ``root``. Unfinished objects lie in ``root/tmp``, on the same file system."""

    scheme = "file"
    example = "file:///FOLDER"
    title = "a folder of this machine"
    shared = False

    def __init__(self, root: Path) -> None:
        """Keep the objects under ``root``, an absolute path; it is made when something is stored."""
        self.root = root

    @classmethod
    def from_uri(cls, uri: str) -> Self:
        """Open ``file:///folder``; raises ``UnsupportedStore`` for a path that is not absolute."""
        path = uri.removeprefix("file://")
        if not path.startswith("/"):
            raise SlipwayError(Reason.UNSUPPORTED_STORE, f"{uri!r} does not name an absolute folder: write file:///folder.")
        return cls(Path(path))

    @property
    def uri(self) -> str:
        """The folder as ``file://`` and its path, unescaped."""
        return f"file://{self.root}"

    def check(self) -> str:
        """Look at the folder's permissions and the free space of its disk."""
        folder = next(each for each in (self.root, *self.root.parents) if each.exists())
        if not os.access(folder, os.W_OK | os.X_OK):
            raise SlipwayError(
                Reason.STORE_UNREADABLE,
                f"{folder} is not writable",
                hint="name another folder: --store or SLIPWAY_STORE",
            )
        free = shutil.disk_usage(folder).free
        if free < MIN_FREE:
            raise SlipwayError(
                Reason.DISK_FULL, f"{format_bytes(free)} free", hint=f"free {format_bytes(MIN_FREE)}, or use --store"
            )
        return f"{format_bytes(free)} free"

    @property
    def scratch(self) -> Path:
        """A folder for unfinished work from which ``put_file`` needs no copy."""
        return self.root / "tmp"

    def path(self, key: str) -> Path:
        """Return the object's file, whether it exists or not."""
        return self.root / check_key(key)

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes, or None where there is none."""
        try:
            status = self.path(key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise from_os_error(error, f"Cannot look at {self.locate(key)}", place=Reason.STORE_UNREADABLE) from error
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def read(self, key: str) -> Iterator[bytes]:
        """Yield the object's bytes."""
        try:
            yield from read_chunks(self.path(key))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise object_not_found(self.locate(key)) from None
        except OSError as error:
            raise from_os_error(error, f"Cannot read {self.locate(key)}", place=Reason.STORE_UNREADABLE) from error

    def put(self, key: str, chunks: Iterable[bytes]) -> bool:
        """Create the object from a stream, if absent."""
        if self.size(key) is not None:
            return False
        with contextlib.ExitStack() as stack:
            with self._storing(key):
                temporary = stack.enter_context(self._private_name())
                file = stack.enter_context(temporary.open("wb", buffering=0))  # so that close() has nothing to fail on
            for chunk in chunks:  # outside of _storing: an OSError of the stream is not the store's
                rest = memoryview(chunk)
                with self._storing(key):
                    while rest:
                        rest = rest[file.write(rest) :]
            with self._storing(key):
                with where_supported():
                    os.fsync(file.fileno())
                return self._publish(temporary, self.path(key))

    def put_file(self, key: str, path: Path) -> bool:
        """Create the object from a file, if absent: by a link where it is on this file system, as a copy otherwise."""
        if self.size(key) is not None:
            return False
        try:
            with path.open("rb") as file, where_supported():
                os.fsync(file.fileno())
            return self._publish(path, self.path(key), may_rename=False)  # the caller may look at its file once more
        except OSError as error:
            if error.errno not in NO_LINK:
                raise from_os_error(error, f"Cannot store {self.locate(key)}", place=Reason.STORE_UNREADABLE) from error
        return self.put(key, read_chunks(path))

    def write(self, key: str, data: bytes) -> None:
        """Create or replace a small object by one rename."""
        target = self.path(key)
        with self._storing(key), self._private_name() as temporary:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            temporary.replace(target)

    def copy_to(self, key: str, path: Path) -> None:
        """Link the object to a new file, or copy it to another file system."""
        source = self.path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, path)
            except OSError as error:
                if error.errno not in NO_LINK:
                    raise
                self._copy(source, path)
        except FileNotFoundError:
            raise object_not_found(self.locate(key)) from None
        except OSError as error:
            raise from_os_error(error, f"Cannot copy {self.locate(key)} to {path}", place=Reason.STORE_UNREADABLE) from error

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with ``prefix``, sorted, without unfinished objects."""
        # A prefix is a text, not a folder: "runs/a" also finds "runs/ab/x".
        folder = self.root / prefix.rpartition("/")[0]
        keys = (path.relative_to(self.root).as_posix() for path in folder.rglob("*") if path.is_file())
        yield from sorted(key for key in keys if key.startswith(prefix) and not key.startswith("tmp/"))

    def locate(self, key: str) -> str:
        """Return the path of the object's file."""
        return str(self.root / key)

    @staticmethod
    def _copy(source: Path, path: Path) -> None:
        try:
            shutil.copyfile(source, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    @contextlib.contextmanager
    def _storing(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise from_os_error(error, f"Cannot store {self.locate(key)}", place=Reason.STORE_UNREADABLE) from error

    @contextlib.contextmanager
    def _private_name(self) -> Iterator[Path]:
        """The path of an unfinished object; nothing is left there afterwards."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        temporary = self.scratch / f"put-{os.getpid()}-{secrets.token_hex(8)}"
        try:
            yield temporary
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    @staticmethod
    def _publish(temporary: Path, target: Path, *, may_rename: bool = True) -> bool:
        target.parent.mkdir(parents=True, exist_ok=True)
        with where_supported():
            temporary.chmod(0o444)
        try:
            os.link(temporary, target)
        except FileExistsError:
            if not target.is_file():
                raise
            return False
        except OSError as error:
            if not may_rename or error.errno not in NOT_SUPPORTED:
                raise
            if not _rename_if_absent(temporary, target):
                return False
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            with where_supported():
                os.fsync(folder)
        finally:
            os.close(folder)
        return True


def _rename_if_absent(temporary: Path, target: Path) -> bool:
    """Publish without a link: rename(2) replaces what is there, so one process at a time looks and renames."""
    with claim(target.with_name(f".{target.name}.claim")):
        if target.exists():
            if not target.is_file():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
            return False
        temporary.rename(target)
        return True


@contextlib.contextmanager
def where_supported() -> Iterator[None]:
    """Leave out what a file system does not have: FAT has no rights, and some network mounts cannot sync a folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise


def require_local(store: object, doing: str) -> LocalStore:
    """Return the store if it is a local one; raises ``UnsupportedStore``, with ``doing`` as what needs it, otherwise."""
    if isinstance(store, LocalStore):
        return store
    raise SlipwayError(Reason.UNSUPPORTED_STORE, f"{doing} needs a store in a local folder.")
