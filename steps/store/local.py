"""The store on this machine: a folder, one file an object.

A file appears under its key by ``link(2)`` from a private name, after ``fsync``: link fails where the key exists, so the
first writer wins and no reader ever sees a part. Objects are read-only files, which keeps honest programs honest.
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

from steps.core.digest import read_chunks
from steps.core.errors import Reason, SlipwayError, from_os_error
from steps.core.store import check_key, object_not_found


class LocalStore:
    """Objects as files under ``root``. Work in progress lies in ``root/tmp``, on the same file system."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def uri(self) -> str:
        return f"file://{self.root}"

    @property
    def scratch(self) -> Path:
        """A folder for unfinished work from which ``put_file`` needs no copy."""
        return self.root / "tmp"

    def path(self, key: str) -> Path:
        return self.root / check_key(key)

    def size(self, key: str) -> int | None:
        try:
            status = self.path(key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise from_os_error(error, f"Cannot look at {self.locate(key)}") from error
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def read(self, key: str) -> Iterator[bytes]:
        try:
            yield from read_chunks(self.path(key))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise object_not_found(self.locate(key)) from None
        except OSError as error:
            raise from_os_error(error, f"Cannot read {self.locate(key)}") from error

    def put(self, key: str, chunks: Iterable[bytes]) -> bool:
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
                os.fsync(file.fileno())
                return self._publish(temporary, self.path(key))

    def put_file(self, key: str, path: Path) -> bool:
        if self.size(key) is not None:
            return False
        try:
            with path.open("rb") as file:
                os.fsync(file.fileno())
            return self._publish(path, self.path(key))
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise from_os_error(error, f"Cannot store {self.locate(key)}") from error
        return self.put(key, read_chunks(path))

    def write(self, key: str, data: bytes) -> None:
        target = self.path(key)
        with self._storing(key), self._private_name() as temporary:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            temporary.replace(target)

    def copy_to(self, key: str, path: Path) -> None:
        source = self.path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, path)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
                    raise
                self._copy(source, path)
        except FileNotFoundError:
            raise object_not_found(self.locate(key)) from None
        except OSError as error:
            raise from_os_error(error, f"Cannot bring {self.locate(key)} to {path}") from error

    def list(self, prefix: str) -> Iterator[str]:
        # A prefix is a text, not a folder: "runs/a" also finds "runs/ab/x".
        folder = self.root / prefix.rpartition("/")[0]
        keys = (path.relative_to(self.root).as_posix() for path in folder.rglob("*") if path.is_file())
        yield from sorted(key for key in keys if key.startswith(prefix) and not key.startswith("tmp/"))

    def locate(self, key: str) -> str:
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
            raise from_os_error(error, f"Cannot store {self.locate(key)}") from error

    @contextlib.contextmanager
    def _private_name(self) -> Iterator[Path]:
        """A name for an object in the making; whatever goes wrong, nothing is left of it."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        temporary = self.scratch / f"put-{os.getpid()}-{secrets.token_hex(8)}"
        try:
            yield temporary
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    @staticmethod
    def _publish(temporary: Path, target: Path) -> bool:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.chmod(0o444)
        try:
            os.link(temporary, target)
        except FileExistsError:
            if not target.is_file():
                raise
            return False
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return True


def require_local(store: object, doing: str) -> LocalStore:
    """The store as a local one, for what only a folder can do (``doing`` says what)."""
    if isinstance(store, LocalStore):
        return store
    raise SlipwayError(Reason.UNSUPPORTED_STORE, f"{doing} needs a store in a local folder.")
