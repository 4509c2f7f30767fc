"""The cluster that the tests are run on, and what of this machine it can reach.

Everything is found out from ``KUBECONFIG`` where that is possible; these variables say the rest:

    SLIPWAY_E2E_HOST        this machine's address as pods see it (default: towards the API server, or docker's gateway)
    SLIPWAY_E2E_STORE       gs://bucket that takes the results (default: gs://slipway-e2e)
    STORAGE_EMULATOR_HOST   a Cloud Storage emulator that pods and this machine reach; empty for Google's own
    SLIPWAY_E2E_EVENT_BUS   nats:// address of a JetStream; empty for one that Argo Events runs itself
    REGISTRY                registry in front of the images' names; empty where the cluster has them under their plain ones
    SLIPWAY_E2E_REGISTRY    a registry, HOST:PORT by plain HTTP, that pods and this machine push to and the cluster pulls from
    SLIPWAY_E2E_BASE_IMAGE  the base image of services as that registry has it; without these two no images are made
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from kubernetes.client import ApiClient, CoreV1Api


@dataclass(frozen=True)
class Place:
    """A namespace that Slipway was installed into."""

    namespace: str
    host: str
    settings: dict[str, str] = field(default_factory=dict)

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        return _output(["kubectl", "--namespace", self.namespace, *arguments], stdin)

    def argo(self, *arguments: str) -> str:
        return _output(["argo", "--namespace", self.namespace, *arguments], "")

    def apply(self, text: str) -> None:
        self.kubectl("apply", "-f", "-", stdin=text)

    def model(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "model", name, "-o", "json"))
        return found

    def is_(self, name: str, kind: str) -> Callable[[], bool]:
        """Whether a Model has a condition, for ``wait``."""
        return lambda: condition(self.model(name), kind).get("status") == "True"


def condition(found: dict[str, Any], kind: str) -> dict[str, Any]:
    """A Model's condition of this kind; empty where it has none."""
    return next((each for each in found.get("status", {}).get("conditions", []) if each["type"] == kind), {})


def wait(what: str, ready: Callable[[], bool], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(2)


def _output(command: list[str], stdin: str) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def host_for_pods(api_server: str) -> str:
    """This machine's address on the way to the API server; for kind, whose API server is on loopback, docker's gateway."""
    if named := os.environ.get("SLIPWAY_E2E_HOST"):
        return named
    there = urlsplit(api_server)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((there.hostname or "127.0.0.1", there.port or 443))
        found = str(probe.getsockname()[0])
    if not found.startswith("127."):
        return found
    template = "{{(index .IPAM.Config 0).Gateway}}"
    return _output(["docker", "network", "inspect", "kind", "--format", template], "").strip()


@contextlib.contextmanager
def installed(api_server: str, chosen: Mapping[str, str] = MappingProxyType({})) -> Iterator[Place]:
    """Slipway in a fresh namespace, by its own command, with ``chosen`` settings beside those that the place makes necessary.

    Everything is removed afterwards but the store's objects.
    """
    namespace = f"slipway-e2e-{secrets.token_hex(3)}"
    host = host_for_pods(api_server)
    settings = {"SLIPWAY_STORE": os.environ.get("SLIPWAY_E2E_STORE", "gs://slipway-e2e"), "SLIPWAY_HTTP_HOSTS": host, **chosen}
    if emulator := os.environ.get("STORAGE_EMULATOR_HOST"):
        settings["STORAGE_EMULATOR_HOST"] = emulator
        make_bucket(settings["SLIPWAY_STORE"].removeprefix("gs://").partition("/")[0])
    command = [sys.executable, "-m", "pipelines.cli", "install", "--namespace", namespace]
    command += ["--store", settings["SLIPWAY_STORE"]]
    for name, value in settings.items():
        command += ["--set", f"{name}={value}"]
    for flag, variable in (("--event-bus-url", "SLIPWAY_E2E_EVENT_BUS"), ("--registry", "REGISTRY")):
        if os.environ.get(variable):
            command += [flag, os.environ[variable]]
    try:
        print(_output(command, ""))
        yield Place(namespace, host, settings)
    finally:
        # The Models first, while their operator is there to let them go.
        _output(["kubectl", "delete", "models", "--all", "--namespace", namespace, "--timeout=120s"], "")
        # Argo Events' controller lets its own objects go; on a busy node it may be waiting for its next start.
        _output(["kubectl", "delete", "namespace", namespace, "--ignore-not-found", "--timeout=420s"], "")


@contextlib.contextmanager
def fresh_namespace(kube: ApiClient) -> Iterator[str]:
    """An empty namespace, by its name; deleted afterwards."""
    core = CoreV1Api(kube)
    name = core.create_namespace({"metadata": {"generateName": "slipway-test-"}}).metadata.name
    yield name
    core.delete_namespace(name)


def make_bucket(name: str) -> None:
    """A bucket in the emulator, unless it is there."""
    from google.api_core.exceptions import Conflict
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    with contextlib.suppress(Conflict):
        storage.Client(project="test", credentials=AnonymousCredentials()).create_bucket(name)
