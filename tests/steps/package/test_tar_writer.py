"""Tar files: every reader reads them, and nothing of how they were written is left in them."""

from __future__ import annotations

import gzip
import io
import random
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.core.lock import SAFE_PATH
from steps.package.gzip_writer import STORED_MAX
from steps.package.tar_writer import FOLDER_MODE, PROGRAM_MODE, Entry, tar_file, tar_gz

PATHS = st.from_regex(SAFE_PATH, fullmatch=True).filter(lambda path: len(path) < 240)
LONG = "a" * 90 + "/" + "b" * 90 + "/Ünïcode.txt"


def tar(entries: list[Entry]) -> bytes:
    return b"".join(tar_file(entries))


@pytest.mark.slow
@given(
    st.dictionaries(
        st.from_regex(SAFE_PATH, fullmatch=True).filter(lambda path: len(path) < 240),
        st.lists(st.binary(max_size=2000), max_size=4),
    ),
    st.randoms(use_true_random=False),
)
def test_order_and_chunks_leave_no_trace(files: dict[str, list[bytes]], order: random.Random) -> None:
    entries = [Entry(path, sum(map(len, parts)), parts) for path, parts in files.items()]
    whole = [Entry(path, sum(map(len, parts)), [b"".join(parts)]) for path, parts in files.items()]
    order.shuffle(whole)
    archive = b"".join(tar_gz(entries))
    assert archive == b"".join(tar_gz(whole))
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive))) as found:
        names = found.getnames()
        assert names == sorted(names)
        for name in names:
            file = found.extractfile(name)
            assert file is not None
            assert file.read() == b"".join(files[name])


@pytest.mark.parametrize("size", [1, STORED_MAX - 1, STORED_MAX, STORED_MAX + 1, 3 * STORED_MAX])
def test_the_chunks_of_a_store_leave_no_trace(size: int) -> None:
    data = random.Random(size).randbytes(size)

    def archive(step: int) -> bytes:
        chunks = [data[begin : begin + step] for begin in range(0, size, step)]
        return b"".join(tar_gz([Entry("weights", size, chunks), Entry("text", 1, [b"x"])]))

    assert archive(size) == archive(7_777) == archive(STORED_MAX) == archive(1 << 20)
    assert gzip.decompress(archive(size)).count(data) == 1


def test_headers_hold_no_time_and_no_owner() -> None:
    entries = [Entry("a/", mode=FOLDER_MODE), Entry("a/run", 1, [b"x"], mode=PROGRAM_MODE), Entry(LONG, 1, [b"y"])]
    with tarfile.open(fileobj=io.BytesIO(tar(entries))) as found:
        members = found.getmembers()
    assert [(member.name, member.isdir(), member.mode) for member in members] == [
        ("a", True, 0o755),
        ("a/run", False, 0o755),
        (LONG, False, 0o644),
    ]
    assert {(member.mtime, member.uid, member.gid, member.uname, member.gname) for member in members} == {(0, 0, 0, "", "")}


def test_gnu_tar_lists_what_was_written() -> None:
    archive = b"".join(tar_gz([Entry("a/", mode=FOLDER_MODE), Entry("a/b", 3, [b"abc"])]))
    done = subprocess.run(["tar", "tz"], input=archive, check=True, capture_output=True)
    assert done.stdout == b"a/\na/b\n"


def test_no_entries_make_an_empty_tar_file() -> None:
    with tarfile.open(fileobj=io.BytesIO(tar([]))) as found:
        assert found.getnames() == []


@pytest.mark.parametrize("chunks", [[b"ab"], [b"ab", b"cd"], []])
def test_an_entry_of_another_size_is_refused(chunks: list[bytes]) -> None:
    seen = sum(map(len, chunks))
    with pytest.raises(ValueError, match=f"x has {seen} bytes where its header says 3"):
        list(tar_gz([Entry("x", 3, chunks)]))
