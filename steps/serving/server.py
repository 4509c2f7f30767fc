"""Start the packaged service: ``python3 -P BENTO/src/serving/server.py --host HOST --port PORT``.

One process: uvicorn with the Bento's own ASGI application, so routes, limits, logs and metrics are BentoML's. ``bentoml serve``
works as well, but it starts a supervisor that takes commands, without authentication, on a port of loopback, and that hides a
worker's end from whoever watches the container. More processes are more containers.

Nothing here depends on how a model is run.
"""

from __future__ import annotations

import argparse
import atexit
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

BENTO = Path(__file__).absolute().parents[2]  # this file is src/serving/server.py in it
BACKLOG = 2048  # connections that wait to be accepted
KEEP_ALIVE_SECONDS = 5  # that an idle connection stays open


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Requests that were accepted are answered first."""
    parser = argparse.ArgumentParser(description="Serve this Bento.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=3000, help="port to listen on")
    arguments = parser.parse_args(argv)
    # The first process of a container has no default action for signals: without a handler, nothing stops it while it loads.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)
    listener = _bind(arguments.host, arguments.port)
    # BentoML's metrics are counted in files, and its library reads this variable when it is imported.
    folder = tempfile.mkdtemp(prefix="metrics-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    _serve(listener)


def _serve(listener: socket.socket) -> None:
    """Do what BentoML's own worker does (``_bentoml_impl.worker.service`` of 1.4), as a process of its own."""
    import uvicorn
    from _bentoml_impl.loader import load
    from bentoml._internal.context import server_context
    from bentoml._internal.log import configure_server_logging
    from bentoml._internal.utils.uri import join_paths

    configure_server_logging()
    server_context.worker_index = 1
    server_context.service_type = "entry_service"
    service = load(str(BENTO), standalone_load=True)
    server_context.service_name = service.name
    server_context.service_routes = [join_paths(service.path_prefix, api.route) for api in service.apis.values()]
    server_context.bento_name = service.bento.tag.name
    server_context.bento_version = service.bento.tag.version
    config = uvicorn.Config(
        service.to_asgi(is_main=True),
        backlog=BACKLOG,
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _bind(host: str, port: int) -> socket.socket:
    """A socket at this address that does not listen yet: a service that still loads refuses connections."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        sys.exit(f"Cannot listen on {host} port {port}: {error.strerror}.")
    return listener


def _exit(number: int, frame: object) -> NoReturn:
    """End in good order, as asked. uvicorn has handlers of its own while it serves, and raises the signal again at its end."""
    del number, frame
    raise SystemExit(0)


if __name__ == "__main__":
    main()
