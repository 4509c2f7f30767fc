"""The verbs of the one Kubernetes client: what they send, and what they make of the answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import yaml
from kubernetes.client import ApiException
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError, ReadTimeoutError

from crd.kubernetes_client import APPLY_PATCH, KubernetesClient, encode_manifest
from crd.kubernetes_errors import KubernetesError
from crd.resource_kinds import DEPLOYMENT, MODEL, NAMESPACE, POD, WORKFLOW
from steps.core.errors import Reason, SlipwayError
from tests.conftest import FakeClock
from tests.crd.fake_api import FakeApi, Response, refusal

MODELS = "/apis/slipway.dev/v1alpha1/namespaces/lab/models"
MANIFEST = {"apiVersion": MODEL.api_version, "kind": MODEL.kind, "metadata": {"name": "m"}, "spec": {}}


@dataclass
class Sent:
    """One request."""

    method: str
    path: str
    query: dict[str, str | int]
    content_type: str
    body: object
    timeout: tuple[float, float]


@dataclass
class Script:
    """Answers requests in order, with a value as JSON, a text, or an error to raise; the last answer stays."""

    answers: list[object]
    sent: list[Sent] = field(default_factory=list)

    def call_api(
        self,
        resource_path: str,
        method: str,
        *,
        query_params: list[tuple[str, str | int]],
        header_params: dict[str, str],
        body: object,
        auth_settings: list[str],
        _preload_content: bool,
        _request_timeout: tuple[float, float],
    ) -> Response:
        """Keep the request, and give the next answer."""
        assert auth_settings == ["BearerToken"]
        content_type = header_params["Content-Type"]
        self.sent.append(Sent(method, resource_path, dict(query_params), content_type, body, _request_timeout))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return Response((answer if isinstance(answer, str) else json.dumps(answer)).encode())


def client_of(*answers: object) -> tuple[KubernetesClient, Script]:
    script = Script(list(answers))
    return KubernetesClient("lab", "", "https://api.example", "v1", script, clock=FakeClock()), script


def cut() -> MaxRetryError:
    """What urllib3 raises where the server closes the connection before it answers."""
    return MaxRetryError(None, "/", ProtocolError("Connection aborted."))  # type: ignore[arg-type]  # the pool is not read


def busy(retry_after: str | None = None) -> ApiException:
    error = refusal(429, "TooManyRequests")
    error.headers = {"Retry-After": retry_after} if retry_after else {}
    return error


def test_requests_go_to_the_kinds_path() -> None:
    client, script = client_of({"items": [], "metadata": {"name": "x"}})
    client.find(MODEL, "m")
    client.list_objects(POD, labels="a=b")
    client.list_objects(DEPLOYMENT, all_namespaces=True)
    client.in_namespace("other").find(MODEL, "m")
    assert [(each.path, each.query) for each in script.sent] == [
        (f"{MODELS}/m", {}),
        ("/api/v1/namespaces/lab/pods", {"labelSelector": "a=b"}),
        ("/apis/apps/v1/deployments", {}),
        ("/apis/slipway.dev/v1alpha1/namespaces/other/models/m", {}),
    ]


def test_a_name_cannot_leave_its_path() -> None:
    client, script = client_of({"metadata": {"name": "x"}})
    client.find(MODEL, "a/../b?x#y")
    assert script.sent[0].path == f"{MODELS}/a%2F..%2Fb%3Fx%23y"
    assert [client.find(MODEL, name) for name in ("", ".", "..")] == [None, None, None]
    assert len(script.sent) == 1


def test_the_cluster_has_no_namespace_in_its_path() -> None:
    client, script = client_of({"metadata": {"name": "x"}})
    client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab"}})
    assert script.sent[0].path == "/api/v1/namespaces/lab"
    assert NAMESPACE.path("lab") == "/api/v1/namespaces"


def test_applying_takes_fields_over() -> None:
    client, script = client_of({"metadata": {"name": "m"}})
    client.apply(MANIFEST)
    [sent] = script.sent
    assert (sent.method, sent.path, sent.content_type) == ("PATCH", f"{MODELS}/m", APPLY_PATCH)
    assert sent.query == {"fieldManager": "slipway", "force": "true"}
    assert isinstance(sent.body, bytes)
    assert yaml.safe_load(sent.body) == MANIFEST


@pytest.mark.parametrize("text", ["😀", "\x85\u2028\ufeff", "größe", "{x}: - #"])
def test_any_text_survives_encoding(text: str) -> None:
    encoded = encode_manifest({"name": text})
    assert yaml.safe_load(encoded) == json.loads(encoded) == {"name": text}


def test_creating_and_patching_name_the_manager() -> None:
    client, script = client_of({"metadata": {"name": "m"}})
    client = replace(client, field_manager="somebody", timeout=(1.0, 2.0))
    client.create(MANIFEST)
    client.patch(WORKFLOW, "w", {"spec": {"shutdown": "Stop"}})
    client.patch_status(MODEL, "m", {"status": {}})
    assert [(each.method, each.path.rpartition("/lab/")[2], each.content_type) for each in script.sent] == [
        ("POST", "models", "application/json"),
        ("PATCH", "workflows/w", "application/merge-patch+json"),
        ("PATCH", "models/m/status", "application/merge-patch+json"),
    ]
    assert {each.query["fieldManager"] for each in script.sent} == {"somebody"}
    assert {each.timeout for each in script.sent} == {(1.0, 2.0)}


def test_a_taken_name_is_a_conflict() -> None:
    client = FakeApi().client()
    client.create(MANIFEST)
    with pytest.raises(KubernetesError) as caught:
        client.create(MANIFEST)
    assert (caught.value.reason, caught.value.status) == (Reason.PUBLISH_CONFLICT, 409)


def test_deleting_twice_is_no_error() -> None:
    api = FakeApi()
    client = api.client()
    client.create(MANIFEST)
    client.delete(MODEL, "m")
    client.delete(MODEL, "m")
    assert api.accepted == [("POST", "models"), ("DELETE", "models/m")]


def test_a_missing_object_is_none_or_invalid_input() -> None:
    client = FakeApi().client()
    assert client.find(MODEL, "m") is None
    with pytest.raises(SlipwayError, match="no Model m in the namespace lab") as caught:
        client.get(MODEL, "m")
    assert caught.value.reason is Reason.INVALID_INPUT


def test_a_missing_kind_is_not_a_missing_object() -> None:
    unknown = ApiException(status=404, reason="Not Found")
    unknown.body = "404 page not found\n"
    client, _ = client_of(unknown)
    with pytest.raises(KubernetesError, match="does not have this kind") as caught:
        client.find(WORKFLOW, "w")
    assert caught.value.reason is Reason.MISSING_DEPENDENCY
    assert "slipway install" in caught.value.hint
    assert not client.serves(WORKFLOW)


def test_a_served_kind_is_remembered() -> None:
    client, script = client_of({"resources": [{"name": "models"}, {"name": "models/status"}]})
    assert client.serves(MODEL)
    assert client.in_namespace("other").serves(MODEL)
    assert [each.path for each in script.sent] == ["/apis/slipway.dev/v1alpha1"]
    assert not client.serves(WORKFLOW)


@pytest.mark.parametrize("answer", ["<html>", "[]", '{"kind": "Status"}'])
def test_a_strange_answer_is_not_an_api_server(answer: str) -> None:
    client, _ = client_of(answer)
    with pytest.raises(KubernetesError, match="is not a Kubernetes API server") as caught:
        client.list_objects(MODEL)
    assert caught.value.reason is Reason.SOURCE_PROTOCOL


def test_a_busy_server_gets_the_request_again() -> None:
    client, script = client_of(busy(), busy("7"), {"metadata": {"name": "m"}})
    assert client.create(MANIFEST) == {"metadata": {"name": "m"}}
    assert len(script.sent) == 3
    assert isinstance(client.clock, FakeClock)
    first, second = client.clock.slept
    assert 0.4 <= first <= 0.6
    assert second == 7


@pytest.mark.parametrize(("retry_after", "seconds"), [(None, 120), ("601", 0)])
def test_a_server_that_stays_busy_is_reported(retry_after: str | None, seconds: float) -> None:
    client, script = client_of(busy(retry_after))
    with pytest.raises(KubernetesError) as caught:
        client.find(MODEL, "m")
    assert caught.value.reason is Reason.SOURCE_BUSY
    assert isinstance(client.clock, FakeClock)
    assert (client.clock.monotonic() > seconds) == (seconds > 0)
    assert len(script.sent) == len(client.clock.slept) + 1


@pytest.mark.fault("survived")
def test_a_restart_of_the_server_is_outlasted() -> None:
    """Connections are refused, also to what creates: nothing was sent. The first contact is not repeated."""
    refused = MaxRetryError(None, "/", NewConnectionError(None, "refused"))  # type: ignore[arg-type]
    client, script = client_of(*[refused] * 8, {"metadata": {"name": "m"}})
    assert replace(client, version="v1.34.4").create(MANIFEST) == {"metadata": {"name": "m"}}
    assert len(script.sent) == 9


@pytest.mark.fault("survived")
@pytest.mark.parametrize("status", [502, 504])
def test_a_gateway_that_fails_is_tried_again(status: int) -> None:
    client, script = client_of(refusal(status, ""), {"metadata": {"name": "m"}})
    assert client.get(MODEL, "m")["metadata"] == {"name": "m"}
    assert len(script.sent) == 2


def test_a_cut_connection_is_tried_again() -> None:
    client, script = client_of(cut(), {"metadata": {"name": "m"}})
    assert client.patch(MODEL, "m", {"spec": {}})["metadata"] == {"name": "m"}
    assert len(script.sent) == 2


def test_a_cut_creation_is_not_repeated() -> None:
    """The object may be there: the second answer would be a conflict with itself."""
    client, script = client_of(cut())
    with pytest.raises(KubernetesError, match="cannot be reached"):
        client.create(MANIFEST)
    assert len(script.sent) == 1


@pytest.mark.parametrize(
    "error",
    [
        MaxRetryError(None, "/", NewConnectionError(None, "refused")),  # type: ignore[arg-type]
        MaxRetryError(None, "/", ReadTimeoutError(None, "/", "timed out")),  # type: ignore[arg-type]
        OSError("no route to host"),
    ],
    ids=["refused", "slow", "no route"],
)
def test_an_unreachable_server_is_reported_at_once(error: Exception) -> None:
    client, script = client_of(error)
    client = replace(client, version="")  # it has not answered yet
    with pytest.raises(KubernetesError, match=r"cluster at https://api\.example cannot be reached") as caught:
        client.find(MODEL, "m")
    assert caught.value.reason is Reason.NETWORK_UNREACHABLE
    assert len(script.sent) == 1


def test_a_log_is_lines_without_control_characters() -> None:
    client, script = client_of("one\n\x1b[2Jtwo\n")
    assert client.read_log("p") == ["one", "\ufffd[2Jtwo"]
    assert script.sent[0].query == {"container": "main", "tailLines": 100_000}


def test_a_log_with_times_goes_on_from_one() -> None:
    client, script = client_of("2026-11-23T20:00:01.5Z a b\n2026-11-23T20:00:02Z \n")
    assert client.read_log_since("p", "2026-11-23T20:00:01Z") == [
        ("2026-11-23T20:00:01.5Z", "a b"),
        ("2026-11-23T20:00:02Z", ""),
    ]
    assert script.sent[0].query == {"container": "main", "timestamps": "true", "sinceTime": "2026-11-23T20:00:01Z"}


@pytest.mark.parametrize(("error", "lines"), [(refusal(404, "NotFound"), []), (refusal(400, "BadRequest"), [])])
def test_a_pod_without_a_log_has_no_lines(error: Exception, lines: list[str]) -> None:
    client, _ = client_of(error)
    assert client.read_log("p") == lines


@pytest.mark.parametrize("allowed", [True, False])
def test_a_right_is_asked_for_by_review(allowed: bool) -> None:
    client, script = client_of({"status": {"allowed": allowed}})
    assert client.is_allowed("get", "", "pods", "log") is allowed
    [sent] = script.sent
    assert (sent.method, sent.path) == ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
    assert '"subresource": "log"' in json.dumps(sent.body)


def test_threads_share_a_client() -> None:
    api = FakeApi()
    client = api.client()
    names = [f"m{number}" for number in range(8)]

    def work(name: str) -> Callable[[], None]:
        return lambda: client.create({**MANIFEST, "metadata": {"name": name}}) and None

    threads = [threading.Thread(target=work(name)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(api.objects["models"]) == names
