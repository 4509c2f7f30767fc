"""The head of an answer: a server that never ends it is given up, whatever it sends."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests

from steps.core.errors import Reason, SlipwayError
from steps.net.http import HttpClient, Timeout
from steps.net.libraries import equip_session

Serve = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(serve: Serve) -> Iterator[str]:
    """A server on loopback that reads each request's head and leaves the rest to ``serve``."""

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def endless(first: bytes, again: bytes) -> Serve:
    def serve(connection: socket.socket) -> None:
        connection.sendall(first)
        for _ in range(1_000_000):
            connection.sendall(again * 100)

    return serve


def get(address: str) -> bytes:
    client = HttpClient(timeout=Timeout(connect=5, read=5))
    try:
        with client.request("GET", address, what="It") as response:
            return response.read(1_000_000)
    finally:
        client.close()


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 30_000 + b"\r\n"),
    ],
    ids=["interim answers", "long headers"],
)
def test_a_head_without_end_is_refused(first: bytes, again: bytes) -> None:
    with server(endless(first, again)) as address, pytest.raises(SlipwayError) as caught:
        get(address)
    assert caught.value.reason is Reason.SOURCE_PROTOCOL
    assert re.fullmatch(r"It: 127\.0\.0\.1:[0-9]+ sent more than 262144 bytes of headers\.", caught.value.message)


@pytest.mark.fault("refused")
def test_too_many_headers_are_refused() -> None:
    with server(endless(b"HTTP/1.1 200 OK\r\n", b"X-A: a\r\n")) as address, pytest.raises(SlipwayError) as caught:
        get(address)
    assert caught.value.reason in (Reason.SOURCE_PROTOCOL, Reason.NETWORK_UNREACHABLE)


@pytest.mark.fault("accepted")
@pytest.mark.parametrize(
    ("head", "body", "expected"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n", b"hello", b"hello"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", b"hello!"),
        (b"HTTP/1.0 200 OK\r\n", b"hello", b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n", b"x" * 400_000, b"x" * 400_000),
        (b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 60_000 + b"\r\nContent-Length: 0\r\n", b"", b""),
    ],
    ids=["interim", "chunked", "to the end", "longer than a head", "a long header"],
)
def test_usual_answers_are_read(head: bytes, body: bytes, expected: bytes) -> None:
    with server(lambda connection: connection.sendall(head + b"\r\n" + body)) as address:
        assert get(address) == expected


@pytest.mark.fault("survived")
@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n", b"hello"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", b"5\r\nhello\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", b"5\r\nhel"),
    ],
    ids=["length", "chunks", "a chunk"],
)
def test_a_body_that_is_cut_is_noticed(head: bytes, body: bytes) -> None:
    with server(lambda connection: connection.sendall(head + b"\r\n" + body)) as address, pytest.raises(SlipwayError) as caught:
        get(address)
    assert caught.value.reason is Reason.NETWORK_UNREACHABLE
    assert "127.0.0.1" in caught.value.message


@pytest.mark.slow
@pytest.mark.fault("survived")
def test_a_librarys_slow_download_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_LEAST_RATE_SECONDS", "1")

    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(100):
            connection.sendall(b"x")
            time.sleep(0.1)

    session = requests.Session()
    equip_session(session)
    with server(trickle) as address, session, pytest.raises(SlipwayError, match="A download from the store: the server sent"):
        _ = session.get(address, timeout=5).content
