"""``package.unpack``: only regular files under safe names come out, as the lock has them, and nothing beside the folder."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from steps.core.digest import canonical_json, read_chunks, sha256_bytes, sha256_file
from steps.core.errors import Reason, SlipwayError
from steps.core.lock import Lock, LockedFile
from steps.package.unpack import unpack_archive
from tests.steps.packages import Made

WEIGHTS = b"weights"
FILES = [LockedFile(path="model.safetensors", size=len(WEIGHTS), sha256=sha256_bytes(WEIGHTS))]
LOCK = canonical_json(Lock.from_files(FILES, source_kind="upload", source="x", revision="").model_dump(mode="json"))
Change = Callable[[tarfile.TarFile], None]


def packed(*changes: Change, lock: bytes = LOCK, weights: bytes = WEIGHTS) -> bytes:
    """A small sound package, and whatever ``changes`` add to it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        add("src/lock.json", lock)(tar)
        add("src/model/model.safetensors", weights)(tar)
        for change in changes:
            change(tar)
    return gzip.compress(buffer.getvalue(), mtime=0)


def add(name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = "") -> Change:
    info = tarfile.TarInfo(name)
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    info.type, info.linkname = kind, link
    return lambda tar: tar.addfile(info, io.BytesIO(data))


def sparse(tar: tarfile.TarFile) -> None:
    """A file of a terabyte in a few bytes."""
    info = tarfile.TarInfo("src/huge")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": "0,1",
        "GNU.sparse.size": str(1 << 40),
    }
    info.size = 1
    tar.addfile(info, io.BytesIO(b"x"))


def refused(data: bytes, folder: Path, *, sha256: str = "", chunk: int = 100) -> SlipwayError:
    chunks = [data[begin : begin + chunk] for begin in range(0, len(data), chunk)]
    with pytest.raises(SlipwayError) as caught:
        unpack_archive(chunks, folder / "package", sha256=sha256, what="it.tar.gz")
    assert "it.tar.gz" in caught.value.message or str(folder) in caught.value.message or "lock" in caught.value.message
    # Nothing outside of the folder, and no link inside of it.
    assert [path for path in folder.iterdir() if path.name != "package"] == []
    assert not any(path.is_symlink() for path in (folder / "package").rglob("*"))
    return caught.value


@pytest.mark.fault("accepted")
@pytest.mark.slow
def test_a_valid_package_is_unpacked_whole(made: Made, tmp_path: Path) -> None:
    lock = unpack_archive(read_chunks(made.path), tmp_path / "package", sha256=made.digest, what="it")
    assert lock == made.read_lock()
    with tarfile.open(made.path) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            assert (tmp_path / "package" / member.name).read_bytes() == file.read()


@pytest.mark.fault("accepted")
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_the_size_of_chunks_does_not_matter(tmp_path: Path, chunk: int) -> None:
    data = packed()
    chunks = [data[begin : begin + chunk] for begin in range(0, len(data), chunk)]
    assert unpack_archive(chunks, tmp_path / "package", sha256=sha256_bytes(data), what="it").files == tuple(FILES)


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    "change",
    [
        add("src/link", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        add("src/model", kind=tarfile.SYMTYPE, link=".."),
        add("src/link", kind=tarfile.LNKTYPE, link="src/lock.json"),
        add("src/device", kind=tarfile.CHRTYPE),
        add("src/disk", kind=tarfile.BLKTYPE),
        add("src/pipe", kind=tarfile.FIFOTYPE),
        add("src/folder", kind=tarfile.DIRTYPE),
        add("../escaped"),
        add("src/../../escaped"),
        add("/tmp/escaped"),
        add("./src/x"),
        add("src//x"),
        add(".hidden"),
        add("src/-rf"),
        add("src/a b"),
        add("src/\u202egnp.exe"),
        add("C:\\escaped"),
        add("src/lock.json", LOCK),
        add("src/model/model.safetensors", WEIGHTS),
        add("src/lock.json/below"),
        add("src"),
        sparse,
    ],
    ids=range(22),
)
def test_unsafe_entries_are_refused(change: Change, tmp_path: Path) -> None:
    error = refused(packed(change), tmp_path)
    assert error.reason is Reason.UNSAFE_PATH
    assert "it.tar.gz holds '" in error.message


@pytest.mark.fault("refused")
def test_a_file_behind_a_link_reaches_nothing(tmp_path: Path) -> None:
    outside = tmp_path.parent / "outside"
    error = refused(packed(add("out", kind=tarfile.SYMTYPE, link=str(outside)), add("out/file")), tmp_path)
    assert error.reason is Reason.UNSAFE_PATH
    assert not outside.exists()


@pytest.mark.fault("refused")
def test_a_file_outside_the_lock_is_refused(tmp_path: Path) -> None:
    error = refused(packed(add("src/model/pytorch_model.bin")), tmp_path)
    assert error.reason is Reason.LOCK_MISMATCH
    assert "pytorch_model.bin is not in the lock" in error.message


@pytest.mark.fault("refused")
@pytest.mark.parametrize("lock", [b"", b"{}", LOCK.replace(b'"size":7', b'"size":8')], ids=["empty", "no lock", "another set"])
def test_a_package_without_a_lock_is_refused(tmp_path: Path, lock: bytes) -> None:
    error = refused(packed(lock=lock), tmp_path)
    assert (error.reason, error.hint) == (Reason.LOCK_MISMATCH, "This is not an archive that Slipway made.")


@pytest.mark.fault("refused")
def test_other_weights_than_the_locks_are_refused(tmp_path: Path) -> None:
    assert refused(packed(weights=b"Weights"), tmp_path).reason is Reason.DIGEST_MISMATCH


@pytest.mark.fault("refused")
@pytest.mark.parametrize("weights", [b"", b"weights and more"])
def test_other_sizes_than_the_locks_are_refused(tmp_path: Path, weights: bytes) -> None:
    error = refused(packed(weights=weights), tmp_path)
    assert (error.reason, f"{len(weights)} bytes where the lock has 7" in error.message) == (Reason.DIGEST_MISMATCH, True)
    assert not (tmp_path / "package" / "src" / "model").exists()


@pytest.mark.fault("refused")
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_is_not_unpacked_whole(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 500_000_000
    member = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    data = member.compress(info.tobuf(tarfile.USTAR_FORMAT))

    def chunks() -> Iterator[bytes]:
        yield data
        for _ in range(500):
            yield member.compress(bytes(1_000_000))
        raise AssertionError("all of it was read")

    with pytest.raises(SlipwayError, match=r"it\.tar\.gz is not taken apart: a header in it has 500000000 bytes") as caught:
        unpack_archive(chunks(), tmp_path / "package", what="it.tar.gz")
    assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.fault("refused")
def test_a_package_has_few_bytes_beside_the_model(tmp_path: Path) -> None:
    error = refused(packed(*(add(f"src/{number}", bytes(1 << 20)) for number in range(65))), tmp_path, chunk=1 << 20)
    assert (error.reason, error.hint) == (Reason.TOO_LARGE, "This is not an archive that Slipway made.")


@pytest.mark.fault("refused")
def test_a_model_file_before_the_lock_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        add("src/model/model.safetensors", WEIGHTS)(tar)
        add("src/lock.json", LOCK)(tar)
    assert refused(gzip.compress(buffer.getvalue()), tmp_path).reason is Reason.LOCK_MISMATCH


@pytest.mark.fault("refused")
def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    data = packed()
    for index, end in enumerate([0, 5, 10, 50, len(data) // 2, len(data) - 8, len(data) - 1]):
        (tmp_path / str(index)).mkdir()
        assert refused(data[:end], tmp_path / str(index)).reason is Reason.DIGEST_MISMATCH


@pytest.mark.fault("refused")
@pytest.mark.parametrize("tail", [b"x", b"\0", gzip.compress(b"another member", mtime=0)], ids=["byte", "zero", "member"])
def test_nothing_may_follow_the_archive(tmp_path: Path, tail: bytes) -> None:
    assert refused(packed() + tail, tmp_path).reason is Reason.DIGEST_MISMATCH


@pytest.mark.fault("refused")
@pytest.mark.slow
def test_a_flipped_byte_is_found_without_the_digest(classifier: Made, tmp_path: Path) -> None:
    data = classifier.path.read_bytes()
    step = len(data) // 60
    # The 15 bytes before, of gzip's header and a block's, say how the rest is to be read, not what it is.
    for index, at in enumerate(range(15, len(data), step)):
        damaged = bytearray(data)
        damaged[at] ^= 0x10
        (tmp_path / str(index)).mkdir()
        error = refused(bytes(damaged), tmp_path / str(index), chunk=1 << 16)
        assert error.reason in (Reason.DIGEST_MISMATCH, Reason.LOCK_MISMATCH, Reason.UNSAFE_PATH)


@pytest.mark.fault("refused")
@pytest.mark.slow
def test_an_archive_with_another_digest_is_refused(classifier: Made, tmp_path: Path) -> None:
    error = refused(classifier.path.read_bytes(), tmp_path, sha256="0" * 64)
    assert error.reason is Reason.DIGEST_MISMATCH
    assert sha256_file(classifier.path) in error.message
