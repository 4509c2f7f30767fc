"""Whatever the API server answers, or does not answer, ends as a reason, a sentence and a hint, and never as a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from crd.kubernetes_client import KubernetesClient
from crd.resource_kinds import DEPLOYMENT, MODEL, WORKFLOW
from pipelines.installation import wait
from steps.core.errors import ExitCode, Reason, SlipwayError
from steps.images.builders.supported import IN_CLUSTER, BuilderKind
from tests.conftest import FakeClock

MODELS = "/apis/slipway.dev/v1alpha1/namespaces/slipway/models"


def status(code: int, message: str, **details: Any) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message, "details": details}


def group(name: str, version: str, plural: str, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A group as ``/apis`` lists it, and its one kind."""
    spoken = {"groupVersion": f"{name}/{version}", "version": version}
    resource = {"name": plural, "kind": kind, "namespaced": True, "verbs": ["get", "list", "create", "patch"]}
    kinds = {"kind": "APIResourceList", "resources": [resource]}
    return {"name": name, "versions": [spoken], "preferredVersion": spoken}, kinds


@dataclass
class Server:
    """An API server that knows Models, and answers as it is told."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)  # by path
    asked: list[str] = field(default_factory=list)
    busy: int = 0  # how many requests get 429 first

    def __post_init__(self) -> None:
        listed, kinds = group("slipway.dev", "v1alpha1", "models", "Model")
        self.answers |= {
            "/version": (200, {"gitVersion": "v1.34.4", "major": "1", "minor": "34"} | dict.fromkeys(BUILD, "")),
            "/apis": (200, {"kind": "APIGroupList", "groups": [listed]}),
            "/apis/slipway.dev/v1alpha1": (200, kinds),
        }

    def answer(self, path: str) -> tuple[int, Any]:
        self.asked.append(path)
        if path.startswith(MODELS) and self.busy:
            self.busy -= 1
            return 429, status(429, "storage is (re)initializing")
        return self.answers.get(path, (404, status(404, f"{path} not found")))


BUILD = ("buildDate", "compiler", "gitCommit", "gitTreeState", "goVersion", "platform")


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def environment(server: Server, tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """An environment whose KUBECONFIG names the server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            code, body = server.answer(self.path.partition("?")[0].rstrip("/"))
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield {"KUBECONFIG": str(kubeconfig(tmp_path, f"http://127.0.0.1:{listening.server_port}")), "NO_PROXY": "*"}
        listening.shutdown()
        thread.join()


@pytest.fixture
def cluster(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> KubernetesClient:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return KubernetesClient.connect()


def kubeconfig(folder: Path, server: str) -> Path:
    path = folder / "kubeconfig"
    context = {"name": "here", "context": {"cluster": "here", "user": "me"}}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [context],
        "current-context": "here",
    }
    path.write_text(json.dumps(config))
    return path


def slipway(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    return subprocess.run(command, env=dict(os.environ) | environment, capture_output=True, text=True, timeout=60)


def test_a_missing_right_is_named(server: Server, cluster: KubernetesClient) -> None:
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
def test_every_answer_has_a_reason(server: Server, cluster: KubernetesClient, code: int, reason: Reason) -> None:
    server.answers[MODELS] = (code, status(code, "what is wrong"))
    with pytest.raises(SlipwayError, match="what is wrong") as caught:
        cluster.list_objects(MODEL)
    assert caught.value.reason is reason


def test_an_answer_that_is_no_status_is_told_by_its_code(server: Server, cluster: KubernetesClient) -> None:
    server.answers[MODELS] = (403, "a proxy's page\x1b[2J")
    with pytest.raises(SlipwayError, match="403 Forbidden") as caught:
        cluster.list_objects(MODEL)
    assert caught.value.reason is Reason.ACCESS_DENIED


def test_each_rule_that_an_object_breaks_is_a_line(server: Server, cluster: KubernetesClient) -> None:
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


def test_an_object_that_is_not_there_is_none_and_asked_for_by_name_an_error(cluster: KubernetesClient) -> None:
    assert cluster.find(MODEL, "m") is None
    with pytest.raises(SlipwayError, match="no Model m in the namespace slipway"):
        cluster.get(MODEL, "m")


def test_a_busy_server_is_asked_again(server: Server, cluster: KubernetesClient) -> None:
    server.answers[MODELS] = (200, {"kind": "ModelList", "items": []})
    server.busy = 1
    assert cluster.list_objects(MODEL) == []
    assert server.asked.count(MODELS) == 2


def test_the_table_of_an_empty_namespace_says_what_to_do(server: Server, environment: Mapping[str, str]) -> None:
    server.answers[MODELS] = (200, {"kind": "ModelList", "items": []})
    done = slipway("status", **environment)
    assert done.returncode == 0
    assert "No Models in the namespace slipway. `slipway submit -f model.yaml` makes one." in done.stdout
    assert slipway("status", "--json", **environment).stdout.strip() == "[]"


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(kubeconfig(tmp_path, "http://127.0.0.1:1")), "NO_PROXY": "*"}
    done = slipway("status", **environment)
    assert done.returncode == ExitCode.TRANSIENT
    assert "NetworkUnreachable: The cluster at http://127.0.0.1:1 cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("path", "code"), [("/version", 200), ("/version", 404), (MODELS, 200)])
def test_something_that_is_no_api_server_is_told(server: Server, environment: Mapping[str, str], path: str, code: int) -> None:
    server.answers[path] = (code, "<html>Welcome</html>")
    done = slipway("status", **environment)
    assert done.returncode == ExitCode.SOURCE
    assert "is not a Kubernetes API server" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["", "[1, 2", "a: {", "apiVersion: v1\nkind: Config\n"])
def test_a_configuration_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    for environment in ({"KUBECONFIG": str(path)}, {"KUBECONFIG": "", "HOME": str(tmp_path)}):
        done = slipway("submit", "-f", "crd/samples/git-lfs.yaml", **environment)
        assert done.returncode == ExitCode.ENVIRONMENT, done.stderr
        assert "MissingDependency: No cluster is configured" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_builder_that_no_cluster_has_starts_no_workflow(
    server: Server, environment: Mapping[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "model.yaml"
    for builder in set(BuilderKind) - set(IN_CLUSTER):
        path.write_text(f"{Path('crd/samples/git-lfs.yaml').read_text()}  builder: {builder}\n")
        server.asked.clear()
        done = slipway("submit", "-f", str(path), "--workflow", **environment)
        assert done.returncode == ExitCode.ENVIRONMENT
        assert f"BuilderMissing: The builder {builder}" in done.stderr
        assert "hint: Set `builder: plan`" in done.stderr
        assert not any("slipway-ingest" in asked or "workflow" in asked for asked in server.asked)


def test_a_context_that_is_not_there_is_told(environment: Mapping[str, str]) -> None:
    done = slipway("status", "--context", "elsewhere", **environment)
    assert done.returncode == ExitCode.ENVIRONMENT
    assert "elsewhere" in done.stderr


def test_without_a_cluster_the_doctor_examines_this_machine_alone(tmp_path: Path) -> None:
    done = slipway("doctor", "--store", str(tmp_path / "store"), KUBECONFIG="", HOME=str(tmp_path))
    assert "✓ git" in done.stdout
    assert "✗ API server: No cluster is configured" in done.stdout
    assert "(not required)" in done.stdout
    assert not (tmp_path / "store").exists(), "the doctor changes nothing"
    findings = json.loads(slipway("doctor", "--json", KUBECONFIG="", HOME=str(tmp_path)).stdout)
    missing = [each["what"] for each in findings if each["required"] and not each["good"]]
    assert done.returncode == (ExitCode.ENVIRONMENT if missing else 0), missing
    assert "API server" not in missing


def test_a_program_that_is_missing_is_told_with_the_way_to_get_it(tmp_path: Path) -> None:
    said = slipway("doctor", KUBECONFIG="", HOME=str(tmp_path), PATH=str(tmp_path)).stdout
    assert "✗ git" in said
    assert "✗ argo, for slipway retry (not required)\n    Install it: https://github.com/argoproj/argo-workflows/" in said


def test_a_cluster_without_slipway_is_told_line_by_line(environment: Mapping[str, str]) -> None:
    done = slipway("doctor", **environment)
    assert done.returncode == ExitCode.ENVIRONMENT
    assert "✓ API server" in done.stdout
    assert "✗ Argo Workflows: the cluster does not know Workflows" in done.stdout
    assert "argo-workflows/releases/download" in done.stdout
    assert "✓ CRD models.slipway.dev" in done.stdout


def test_a_cluster_without_argo_is_not_installed_into(environment: Mapping[str, str], server: Server) -> None:
    done = slipway("install", **environment)
    assert done.returncode == ExitCode.ENVIRONMENT
    assert "has no Argo Workflows" in done.stderr
    assert "kubectl apply --server-side -n argo" in done.stderr
    assert not any("namespaces" in path for path in server.asked)


def deployment(available: int) -> dict[str, Any]:
    state = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": available}
    selector = {"matchLabels": {"app": "operator"}}
    return {"kind": "Deployment", "metadata": {"generation": 1}, "spec": {"replicas": 1, "selector": selector}, "status": state}


@pytest.fixture
def looks(server: Server) -> Callable[[str], list[str]]:
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
def test_what_is_ready_for_an_instant_is_waited_for(looks: Callable[[str], list[str]], states: str, seconds: int) -> None:
    *said, waited = looks(states)
    assert waited == f"{seconds} s"
    waiting = ["Waiting: Deployment o 0 of 1 pods ready (CrashLoopBackOff again)"]
    assert said == (waiting if "-" in states else [])


@pytest.mark.usefixtures("cluster")
def test_what_does_not_become_ready_is_told_with_its_cause(looks: Callable[[str], list[str]]) -> None:
    with pytest.raises(SlipwayError, match="Not ready after 20 seconds: Deployment o 0 of 1 pods ready") as caught:
        looks("-")
    assert caught.value.reason is Reason.MISSING_DEPENDENCY
    assert "CrashLoopBackOff" in caught.value.message
