"""An installation waits until everything is ready and stays so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crd.kubernetes_client import KubernetesClient
from crd.resource_kinds import DEPLOYMENT
from pipelines.installation import wait
from steps.core.errors import Reason, SlipwayError
from tests.conftest import FakeClock
from tests.servers.api_server import ApiServer, group

pytestmark = pytest.mark.slow  # a process for each case


def deployment(available: int) -> dict[str, Any]:
    state = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": available}
    selector = {"matchLabels": {"app": "operator"}}
    return {"kind": "Deployment", "metadata": {"generation": 1}, "spec": {"replicas": 1, "selector": selector}, "status": state}


@pytest.fixture
def looks(server: ApiServer) -> Callable[[str], list[str]]:
    """Waits for a Deployment that is available (``+``) or not (``-``) at each second, the last one from then on."""
    listed, kinds = group("apps", "v1", "deployments", "Deployment")
    server.answers["/apis"][1]["groups"].append(listed)
    server.answers["/apis/apps/v1"] = (200, kinds)
    pod = {"status": {"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "again"}}}]}}
    server.answers["/api/v1"] = (200, group("", "v1", "pods", "Pod")[1])
    server.answers["/api/v1/namespaces/slipway/pods"] = (200, {"apiVersion": "v1", "kind": "PodList", "items": [pod]})

    def look(states: str) -> list[str]:
        said: list[str] = []

        class Ticking(FakeClock):
            def sleep(self, seconds: float) -> None:
                super().sleep(seconds)
                show()

        ticking = Ticking()

        def show() -> None:
            available = states[min(int(ticking.monotonic()), len(states) - 1)] == "+"
            server.answers["/apis/apps/v1/namespaces/slipway/deployments/o"] = (200, deployment(int(available)))

        show()
        wait(KubernetesClient.connect(), [(DEPLOYMENT, "o")], ticking, 20, said.append, steady=3)
        return [*said, f"{sum(ticking.slept):.0f} s"]

    return look


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("states", "seconds"), [("+", 3), ("--+", 5), ("-+-+", 6), ("+-+-+", 7)], ids=["at once", "late", "crashing", "twice"]
)
def test_ready_means_ready_for_some_seconds(looks: Callable[[str], list[str]], states: str, seconds: int) -> None:
    *said, waited = looks(states)
    assert waited == f"{seconds} s"
    waiting = ["Waiting: Deployment o 0 of 1 pods ready (CrashLoopBackOff again)"]
    assert said == (waiting if "-" in states else [])


@pytest.mark.usefixtures("cluster")
def test_what_stays_unready_is_reported(looks: Callable[[str], list[str]]) -> None:
    with pytest.raises(SlipwayError, match="Not ready after 20 seconds: Deployment o 0 of 1 pods ready") as caught:
        looks("-")
    assert caught.value.reason is Reason.MISSING_DEPENDENCY
    assert "CrashLoopBackOff" in caught.value.message
