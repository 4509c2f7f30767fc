"""The service's metrics: BentoML's own, of the routes that there are, and their page ``GET /metrics``.

BentoML keeps some twenty numbers for every path that it was ever asked for, with the path in each, in memory and on disk; a
client that makes paths up would fill both. So its own use of its middleware is switched off, and the middleware put here.
"""

from __future__ import annotations

import asyncio
from typing import Any

NAMESPACE = "bentoml_service"  # BentoML's default for a service


class Metrics:
    """ASGI middleware that counts the calls of these ``routes`` and no others."""

    def __init__(self, app: Any, routes: list[str]) -> None:
        from bentoml._internal.server.http.instruments import RunnerTrafficMetricsMiddleware

        self._app, self._routes = app, routes
        self._counted = RunnerTrafficMetricsMiddleware(app, namespace=NAMESPACE)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/metrics":
            await (await _page())(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] in self._routes:
            await self._counted(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def _page() -> Any:
    """All numbers of all worker processes, in Prometheus' text format."""
    from bentoml._internal.configuration.containers import BentoMLContainer
    from starlette.responses import Response

    client = BentoMLContainer.metrics_client.get()
    page = await asyncio.to_thread(client.generate_latest)
    return Response(page, media_type=client.CONTENT_TYPE_LATEST)
