"""``GET /metrics``: BentoML's own metrics, counted for the routes that exist and no others.

BentoML keeps some twenty time series for each path that was ever requested, with the path in each, in memory and on disk; a
client that invents paths would fill both. So BentoML's own use of its middleware is switched off, and the middleware is
applied here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

NAMESPACE = "bentoml_service"  # BentoML's default for a service


class MetricsMiddleware:
    """ASGI middleware that counts the calls of some routes and answers ``/metrics``."""

    def __init__(self, app: ASGIApp, routes: Sequence[str]) -> None:
        """Wrap ``app``; ``routes`` are the paths that are counted, such as ``/predict``."""
        from bentoml._internal.server.http.instruments import RunnerTrafficMetricsMiddleware

        self._app, self._routes = app, routes
        self._counted = RunnerTrafficMetricsMiddleware(app, namespace=NAMESPACE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call, see the ASGI specification (https://asgi.readthedocs.io)."""
        if scope["type"] == "http" and scope["path"] == "/metrics":
            page = await _metrics_page()
            await page(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] in self._routes:
            await self._counted(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def _metrics_page() -> ASGIApp:
    """The metrics of all worker processes, in the Prometheus text format.

    The format: https://prometheus.io/docs/instrumenting/exposition_formats/.
    """
    from bentoml._internal.configuration.containers import BentoMLContainer
    from starlette.responses import Response

    client = BentoMLContainer.metrics_client.get()
    page = await asyncio.to_thread(client.generate_latest)
    return Response(page, media_type=client.CONTENT_TYPE_LATEST)
