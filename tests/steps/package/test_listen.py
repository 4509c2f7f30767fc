"""Whether a service can listen somewhere is told before anything is unpacked."""

from __future__ import annotations

import socket

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.package.listen import check_listen, service_url


@pytest.mark.fault("refused")
def test_a_port_in_use_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SlipwayError) as caught:
            check_listen("127.0.0.1", port)
    assert caught.value.reason is Reason.INVALID_INPUT
    assert caught.value.message == f"port {port} is in use; --port 0 takes a free one."


@pytest.mark.fault("refused")
@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no.such.invalid", "a" * 70 + ".b", "not a host", "1.2.3.4.5"])
def test_an_address_of_elsewhere_is_refused(host: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        check_listen(host, 0)
    assert caught.value.reason is Reason.INVALID_INPUT
    assert host in caught.value.message
    assert "127.0.0.1" in caught.value.hint


@pytest.mark.fault("accepted")
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_addresses_of_this_machine_are_taken(host: str) -> None:
    check_listen(host, 0)


def test_a_port_whose_connections_ended_is_free() -> None:
    """A server may take it at once, though the last connection is still in TIME_WAIT."""
    with socket.socket() as server, socket.socket() as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        client.connect(("127.0.0.1", port))
        server.accept()[0].close()
    check_listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("localhost", "http://localhost:80"),
    ],
)
def test_the_address_to_call_is_an_url(host: str, url: str) -> None:
    assert service_url(host, 80) == url
