"""TLS before a server that has none: takes connections with a certificate, and passes their bytes on."""

from __future__ import annotations

import socket
import ssl

from tests.servers.loopback import Address, LoopbackServer, pump
from tests.servers.trust import Trust


def server_context(trust: Trust) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trust.certificate, trust.key)
    return context


class TlsFront(LoopbackServer):
    """Listens on a free port of loopback, with the certificate of ``trust``, for the server at ``behind``."""

    def __init__(self, trust: Trust, behind: Address) -> None:
        super().__init__()
        self.context, self.behind = server_context(trust), behind

    @property
    def url(self) -> str:
        return f"https://{self.host}"

    def answer(self, client: socket.socket) -> None:
        with (
            self.kept(self.context.wrap_socket(client, server_side=True)) as secured,
            self.kept(socket.create_connection(self.behind, timeout=30)) as upstream,
        ):
            pump(secured, upstream)
