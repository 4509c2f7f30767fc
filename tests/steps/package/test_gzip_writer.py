"""gzip members: every reader reads them, and they have the same bytes whichever zlib Python has."""

from __future__ import annotations

import gzip
import hashlib
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.package.gzip_writer import PIECE, STORED_MAX, compressed_gzip, stored_gzip

# The pinned libdeflate's bytes. A change of them changes the digests of all layers: say so in CHANGELOG.md.
COMPRESSED = "6218c1"
SAMPLE = b"".join(f"{number} {number * number % 97}\n".encode() for number in range(150_000))
# What the writers make of it in a Python whose module zlib is another: argument 1 names the module.
SCRIPT = """
import importlib, sys
other = importlib.import_module(sys.argv[1])
sys.modules["zlib"] = other
from hashlib import sha256
from steps.package.gzip_writer import compressed_gzip, stored_gzip
from steps.package.tar_writer import Entry, tar_gz
data = sys.stdin.buffer.read()
archive = b"".join(tar_gz([Entry("tokenizer.json", len(data), [data]), Entry("Ünïcode", 1, [b"x"])]))
for made in archive, b"".join(stored_gzip([data])), b"".join(compressed_gzip([data])):
    print(sha256(made).hexdigest())
print(sha256(other.compress(data)).hexdigest())
"""


@given(st.lists(st.binary(max_size=70_000), max_size=6))
def test_a_member_is_read_by_everybody(chunks: list[bytes]) -> None:
    assert gzip.decompress(b"".join(stored_gzip(chunks))) == b"".join(chunks)
    assert gzip.decompress(b"".join(compressed_gzip(chunks))) == b"".join(chunks)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE])
def test_chunks_leave_no_trace(size: int) -> None:
    data = random.Random(size).randbytes(size)

    def cut(step: int) -> list[bytes]:
        return [data[begin : begin + step] for begin in range(0, size, step)]

    for write in stored_gzip, compressed_gzip:
        made = b"".join(write([data]))
        assert gzip.decompress(made) == data
        assert made == b"".join(write(cut(7_777))) == b"".join(write(cut(STORED_MAX))) == b"".join(write(cut(PIECE)))


def test_stored_bytes_are_in_the_file_unchanged() -> None:
    data = random.Random(1).randbytes(STORED_MAX)
    assert data in b"".join(stored_gzip([data]))


def test_programs_become_smaller() -> None:
    assert len(b"".join(compressed_gzip([SAMPLE]))) < len(SAMPLE) / 2.5


def test_another_tool_reads_several_members() -> None:
    made = b"".join(compressed_gzip([SAMPLE]))
    assert len(SAMPLE) > PIECE, "or there is one member only"
    done = subprocess.run(["gzip", "-dc"], input=made, check=True, capture_output=True)
    assert done.stdout == SAMPLE


def test_the_compression_library_is_the_pinned_one() -> None:
    assert hashlib.sha256(b"".join(compressed_gzip([SAMPLE]))).hexdigest()[:6] == COMPRESSED


@pytest.mark.slow
def test_every_zlib_gives_the_same_bytes() -> None:
    made = {}
    for name in "zlib", "zlib_ng.zlib_ng", "isal.isal_zlib":
        done = subprocess.run([sys.executable, "-c", SCRIPT, name], input=SAMPLE, check=True, capture_output=True)
        made[name] = done.stdout.decode().split()
    ours = {tuple(lines[:3]) for lines in made.values()}
    assert len(ours) == 1, made
    assert len({lines[3] for lines in made.values()}) > 1, "they do compress differently"
