"""What only a store in a folder has: file systems, links and full disks."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.store.local import LocalStore

# A file may grow to 1 MiB in that process, so that writing fails as on a full disk: half-way, and without being root.
FULL = """
import json, resource, sys
from pathlib import Path
from steps.core.errors import SlipwayError
from steps.store.local import LocalStore

resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
store, other = LocalStore(Path(sys.argv[1])), Path(sys.argv[2])
reasons = []
for use in (
    lambda: store.put("a/key", [bytes(700_000)] * 3),
    lambda: store.put_file("a/key", other / "big"),
    lambda: store.write("a/key", bytes(2_000_000)),
    lambda: store.copy_to("big", other / "copy"),
):
    try:
        use()
        reasons.append(None)
    except SlipwayError as error:
        reasons.append(error.reason)
print(json.dumps(reasons))
"""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than ``tmp_path``."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("/dev/shm is no other file system here")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_full_disk_leaves_nothing(store: LocalStore, elsewhere: Path) -> None:
    store.put("big", [bytes(2_000_000)])
    (elsewhere / "big").write_bytes(bytes(2_000_000))
    command = [sys.executable, "-c", FULL, str(store.root), str(elsewhere)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [Reason.DISK_FULL] * 4
    assert files(store.root) == ["big"]
    assert files(elsewhere) == ["big"]


def test_a_file_of_another_file_system_is_copied(store: LocalStore, elsewhere: Path) -> None:
    (elsewhere / "file").write_bytes(b"from elsewhere")
    assert store.put_file("a/key", elsewhere / "file")
    assert store.path("a/key").read_bytes() == b"from elsewhere"
    store.copy_to("a/key", elsewhere / "copy")
    assert (elsewhere / "copy").read_bytes() == b"from elsewhere"
    assert files(store.root) == ["a/key"]


def test_a_file_is_linked_within_a_file_system(store: LocalStore) -> None:
    store.scratch.mkdir(parents=True)
    file = store.scratch / "download"
    file.write_bytes(b"bytes")
    assert store.put_file("a/key", file)
    assert store.path("a/key").samefile(file)
    store.copy_to("a/key", store.root.parent / "copy")
    assert store.path("a/key").samefile(store.root.parent / "copy")


def test_objects_are_read_only_files(store: LocalStore) -> None:
    store.put("a/key", [b"x"])
    assert store.path("a/key").stat().st_mode & 0o777 == 0o444


def test_unfinished_work_is_not_listed(store: LocalStore) -> None:
    store.put("a/key", [b"x"])
    (store.scratch / "unfinished").write_bytes(b"x")
    assert list(store.list("")) == ["a/key"]


def test_a_key_below_an_object_is_refused(store: LocalStore) -> None:
    store.put("a/key", [b"x"])
    for key in ("a", "a/key/below"):
        with pytest.raises(SlipwayError):
            store.put(key, [b"y"])
    assert files(store.root) == ["a/key"]


def test_a_file_cannot_hold_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    store = LocalStore(tmp_path / "file" / "store")
    for use in (lambda: store.put("a/key", [b"x"]), lambda: store.write("a/key", b"x")):
        with pytest.raises(SlipwayError) as caught:
            use()
        assert caught.value.reason is Reason.STORE_UNREADABLE
