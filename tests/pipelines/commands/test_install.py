"""``slipway install``: what the cluster must have."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from steps.core.errors import ExitCode
from tests.pipelines.conftest import slipway_here
from tests.servers.api_server import ApiServer


@pytest.mark.slow
def test_a_cluster_without_argo_is_not_installed_into(environment: Mapping[str, str], server: ApiServer) -> None:
    done = slipway_here("install", **environment)
    assert done.returncode == ExitCode.ENVIRONMENT
    assert "has no Argo Workflows" in done.stderr
    assert "kubectl apply --server-side -n argo" in done.stderr
    assert not any("namespaces" in path for path in server.asked)
