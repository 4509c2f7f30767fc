"""The client of the API server over HTTP: every answer is a reason, a sentence and a hint."""

from __future__ import annotations

import pytest

from crd.kubernetes_client import KubernetesClient
from crd.resource_kinds import MODEL, WORKFLOW
from steps.core.errors import Reason, SlipwayError
from tests.servers.api_server import MODELS, ApiServer, status


def test_a_missing_right_is_named(server: ApiServer, cluster: KubernetesClient) -> None:
    said = 'models.slipway.dev is forbidden: User "ann" cannot list resource "models" in API group "slipway.dev"'
    server.answers[MODELS] = (403, status(403, f'{said} in the namespace "slipway"'))
    with pytest.raises(SlipwayError) as caught:
        cluster.list_objects(MODEL)
    assert caught.value.reason is Reason.ACCESS_DENIED
    assert "User" in caught.value.message
    assert caught.value.hint == (
        "Ask whoever runs the cluster for the right to list models.slipway.dev in the namespace slipway."
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (401, Reason.ACCESS_DENIED),
        (409, Reason.PUBLISH_CONFLICT),
        (418, Reason.SOURCE_PROTOCOL),
        (500, Reason.NETWORK_UNREACHABLE),
    ],
)
def test_every_answer_has_a_reason(server: ApiServer, cluster: KubernetesClient, code: int, reason: Reason) -> None:
    server.answers[MODELS] = (code, status(code, "what is wrong"))
    with pytest.raises(SlipwayError, match="what is wrong") as caught:
        cluster.list_objects(MODEL)
    assert caught.value.reason is reason


def test_an_answer_without_status_has_its_code(server: ApiServer, cluster: KubernetesClient) -> None:
    server.answers[MODELS] = (403, "a proxy's page\x1b[2J")
    with pytest.raises(SlipwayError, match="403 Forbidden") as caught:
        cluster.list_objects(MODEL)
    assert caught.value.reason is Reason.ACCESS_DENIED


def test_each_broken_rule_is_a_line(server: ApiServer, cluster: KubernetesClient) -> None:
    causes = [{"field": "spec.source", "message": "is too long"}, {"field": "spec.services", "message": "is too short"}]
    server.answers[MODELS] = (422, status(422, "invalid", causes=causes))
    with pytest.raises(SlipwayError) as caught:
        cluster.create({"apiVersion": MODEL.api_version, "kind": MODEL.kind, "metadata": {"name": "m"}})
    assert caught.value.reason is Reason.INVALID_MANIFEST
    assert caught.value.message == "spec.source: is too long\nspec.services: is too short"


def test_an_unknown_kind_leads_to_install(cluster: KubernetesClient) -> None:
    assert cluster.serves(MODEL)
    assert not cluster.serves(WORKFLOW)
    with pytest.raises(SlipwayError, match="not found") as caught:
        cluster.list_objects(WORKFLOW)
    assert caught.value.reason is Reason.MISSING_DEPENDENCY
    assert "slipway install" in caught.value.hint


def test_a_missing_object_is_none_or_an_error(cluster: KubernetesClient) -> None:
    assert cluster.find(MODEL, "m") is None
    with pytest.raises(SlipwayError, match="no Model m in the namespace slipway"):
        cluster.get(MODEL, "m")


def test_a_busy_server_is_asked_again(server: ApiServer, cluster: KubernetesClient) -> None:
    server.answers[MODELS] = (200, {"kind": "ModelList", "items": []})
    server.busy = 1
    assert cluster.list_objects(MODEL) == []
    assert server.asked.count(MODELS) == 2
