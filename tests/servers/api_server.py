"""An API server on loopback that knows Models and answers what a test gives it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from crd.kubernetes_client import KubernetesClient

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
class ApiServer:
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


@pytest.fixture
def server() -> ApiServer:
    return ApiServer()


@pytest.fixture
def environment(server: ApiServer, tmp_path: Path) -> Iterator[Mapping[str, str]]:
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
