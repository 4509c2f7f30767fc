"""The reader of tar files: what other writers wrote is read, and what asks for too much is refused."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.core.chunks import chunk_stream
from steps.package.tar_reader import TarLimitError, TarReader
from steps.package.tar_writer import Entry, tar_file

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=150).filter(lambda name: name.strip("/"))


def read(data: bytes) -> list[tuple[str, int, bool, bytes]]:
    reader = TarReader(chunk_stream([data]))
    return [(member.name, member.size, member.regular, b"".join(reader.contents())) for member in reader]


def header(kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.USTAR_FORMAT)


@given(
    st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=4), st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
)
def test_what_tarfile_writes_is_read(files: list[tuple[str, bytes]], form: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with tarfile.open(fileobj=io.BytesIO(buffer.getvalue())) as tar:
        names = tar.getnames()
    assert [(name.rstrip("/"), data) for name, _, _, data in read(buffer.getvalue())] == [
        (name, data) for name, (_, data) in zip(names, files, strict=True)
    ]


def test_what_our_writer_writes_is_read() -> None:
    entries = [Entry("folder/"), Entry("a" * 150 + ".txt", 3, [b"abc"]), Entry("b.txt", 0)]
    data = b"".join(tar_file(entries))
    assert read(data) == [("folder", 0, False, b""), ("a" * 150 + ".txt", 3, True, b"abc"), ("b.txt", 0, True, b"")]


def test_members_that_are_not_read_are_passed() -> None:
    data = b"".join(tar_file([Entry("a", 2000, [b"a" * 2000]), Entry("b", 1, [b"b"])]))
    assert [member.name for member in TarReader(chunk_stream([data]))] == ["a", "b"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE, b"Z"])
def test_only_plain_files_are_regular(kind: bytes) -> None:
    data = header(kind, 0) + bytes(1024)
    assert [(member.name, member.regular) for member in TarReader(chunk_stream([data]))] == [("x", False)]


@pytest.mark.fault("refused")
@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_long_header_is_refused_unread(kind: bytes) -> None:
    def endless() -> io.BufferedReader:
        def chunks() -> object:
            yield header(kind, 500_000_000)
            raise AssertionError("the header was read")

        return chunk_stream(chunks())  # type: ignore[arg-type]

    with pytest.raises(TarLimitError, match="a header in it has 500000000 bytes"):
        list(TarReader(endless()))


@pytest.mark.fault("refused")
def test_headers_without_a_file_are_refused() -> None:
    with pytest.raises(TarLimitError, match="more than 4 headers stand in front of one file"):
        list(TarReader(chunk_stream([header(b"g", 0)] * 100_000)))


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    "record", [b"0 path=x\n", b"99 path=x\n", b"10 path\n", b"path=x\n", b"11 path=x\n", b"-1 a=b\n", b"9" * 30]
)
def test_a_malformed_header_is_refused(record: bytes) -> None:
    data = header(b"x", len(record)) + record.ljust(512, b"\0") + header(b"0", 0)
    with pytest.raises(tarfile.TarError):
        list(TarReader(chunk_stream([data])))


@pytest.mark.fault("refused")
def test_a_negative_or_missing_size_is_refused() -> None:
    info = tarfile.TarInfo("x")
    info.size = -1
    with pytest.raises(tarfile.TarError):
        list(TarReader(chunk_stream([info.tobuf(tarfile.GNU_FORMAT)])))
    with pytest.raises(tarfile.ReadError, match="ends too early"):
        list(TarReader(chunk_stream([header(b"0", 5) + b"abc"])))


def test_a_sparse_file_is_no_regular_one() -> None:
    for pax in ({"GNU.sparse.size": "1"}, {"GNU.sparse.major": "1"}):
        info = tarfile.TarInfo("huge")
        info.pax_headers = pax
        data = info.tobuf(tarfile.PAX_FORMAT) + bytes(1024)
        assert [member.regular for member in TarReader(chunk_stream([data]))] == [False]
