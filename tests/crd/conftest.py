"""Fixtures that tests of the client and of the commands share."""

from __future__ import annotations

from tests.servers.api_server import cluster, environment, server

__all__ = ["cluster", "environment", "server"]
