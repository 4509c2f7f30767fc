"""Small texts that a user wrote, and everything else that a path can lead to."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.core.user_file import read_user_text

LIMIT = 1000


def read(path: Path) -> str:
    return read_user_text(path, LIMIT, Reason.INVALID_MANIFEST)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))  # the name of a socket is short


@pytest.mark.fault("accepted")
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a: 1\r\n", "a: 1\r\n"),
        (b"\xef\xbb\xbfa: 1", "a: 1"),
        ("名: 1".encode(), "名: 1"),
        (b"", ""),
        (b"x" * LIMIT, "x" * LIMIT),
    ],
)
def test_text_in_utf8_is_read(data: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(data)
    assert read(tmp_path / "f") == text


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.mkdir(), "is a folder, not a file"),
        (lambda path: path.write_bytes(b"x" * 100_000_000), "is larger than 1000 bytes"),
        (lambda path: path.symlink_to("/dev/zero"), "is larger than 1000 bytes"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n"), "is not text in UTF-8: line 1 has the byte 0x89"),
        (lambda path: path.write_text("a: 1", encoding="utf-16"), "is not text in UTF-8: it is UTF-16"),
        (lambda path: path.write_text("a\nä", encoding="latin-1"), "is not text in UTF-8: line 2 has the byte 0xe4"),
        (link_to_itself, "cannot be read: Too many levels of symbolic links"),
        (bind, "cannot be read: No such device or address"),
    ],
)
def test_anything_else_is_refused(make: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    make(path)
    with pytest.raises(SlipwayError) as caught:
        read(path)
    assert caught.value.reason is Reason.INVALID_MANIFEST
    assert str(path) in caught.value.message
    assert said in caught.value.message


@pytest.mark.fault("refused")
@pytest.mark.parametrize(("name", "said"), [("x" * 300, "File name too long"), ("a\0b", "is not the path of a file")])
def test_a_path_that_is_none_is_refused(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SlipwayError, match=said):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["nothing", "file/below"])
def test_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError):
        read(tmp_path / name)


@pytest.mark.fault("survived")
def test_a_pipe_without_a_writer_ends_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read(tmp_path / "pipe") == ""


@pytest.mark.fault("accepted")
def test_a_pipe_with_a_slow_writer_is_read() -> None:
    """What ``-f <(program)`` gives."""
    reading, writing = os.pipe()

    def write() -> None:
        for part in (b"a: ", b"1"):
            threading.Event().wait(0.05)
            os.write(writing, part)
        os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert read(Path(f"/dev/fd/{reading}")) == "a: 1"
    finally:
        thread.join()
        os.close(reading)
