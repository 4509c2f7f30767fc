"""The command against a real cluster.

A template of the same name with two steps that do nothing stands in for the pipeline, and this process for sensor and
operator: what is tried here is the command, and the real parts are tried in ``test_e2e``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from kubernetes.client import CustomObjectsApi

from crd.kubernetes_client import KubernetesClient
from crd.reconcile import reconcile
from crd.resource_kinds import MODEL, WORKFLOW
from crd.workflow import workflow_name
from pipelines.access import access
from pipelines.installation import InstalledObject, placed, with_registry
from pipelines.manifests import settings
from pipelines.workflow_template import workflow_template
from steps.core.errors import ExitCode

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
# Fails as a step does, as long as the settings say so.
STEP = """\
import json, os, pathlib, sys, time
print("the stub begins", flush=True)
time.sleep(float(os.environ.get("STUB_SECONDS", "0")))
print("the stub ends")
if os.environ.get("STUB_FAILS") == sys.argv[1]:
    failure = {"reason": "NotLfs", "message": "Nothing is under LFS.", "hint": "Put it there.", "retryable": False}
    pathlib.Path("/dev/termination-log").write_text(json.dumps(failure))
    sys.exit(10)
"""
MANIFEST = """\
apiVersion: slipway.dev/v1alpha1
kind: Model
metadata: {{name: {name}}}
spec: {{services: [ner], sourceKind: git_lfs, source: "https://example.org/{name}.git"}}
"""


def template() -> dict[str, Any]:
    """The real template with two steps left, fetch and load, that do nothing; and no report."""
    result: dict[str, Any] = workflow_template().to_dict()
    spec = result["spec"]
    kept = {each["name"]: each for each in spec["templates"] if each["name"] in ("fetch", "load")}
    for name, each in kept.items():
        each["container"] |= {"command": ["python", "-c", STEP], "args": [name], "image": kept["fetch"]["container"]["image"]}
        each["container"]["resources"] = {}
        each.pop("outputs", None)
        each.pop("inputs", None)
    tasks = [{"name": "fetch", "template": "fetch"}, {"name": "load", "template": "load", "depends": "fetch"}]
    spec["templates"] = [*kept.values(), {"name": "ingest", "dag": {"tasks": tasks}}]
    del spec["onExit"]
    return result


@pytest.fixture(scope="module")
def cluster(namespace: str, models: CustomObjectsApi) -> KubernetesClient:
    found = KubernetesClient.connect(namespace)
    for manifest in (*access(), settings(), template()):
        found.apply(with_registry(placed(cast(InstalledObject, manifest), namespace), os.environ.get("REGISTRY", "")))
    return found


@pytest.fixture
def operator(cluster: KubernetesClient) -> Iterator[None]:
    """Starts the Workflow of every Model and writes its status, until the test ends."""
    stop = threading.Event()

    def follow() -> None:
        while not stop.wait(0.5):
            for model in cluster.list_objects(MODEL):
                reconcile(cluster, model["metadata"]["name"], start=True)

    thread = threading.Thread(target=follow)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.fixture
def fails(cluster: KubernetesClient) -> Iterator[None]:
    """Makes the step fetch fail, until the test ends or says otherwise."""
    stub(cluster, STUB_FAILS="fetch")
    yield
    stub(cluster)


def stub(cluster: KubernetesClient, **variables: str) -> None:
    """What the stubs do from now on."""
    manifest = placed(cast(InstalledObject, settings()), cluster.namespace)
    cluster.apply({**manifest, "data": {**manifest["data"], **variables}})


def slipway(cluster: KubernetesClient, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.cli", *arguments, "-n", cluster.namespace]
    environment = dict(os.environ) | ({} if path is None else {"PATH": path})
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def manifest(folder: Path, name: str) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(MANIFEST.format(name=name))
    return str(path)


def test_a_failed_model_is_ready_after_retry(cluster: KubernetesClient, operator: None, fails: None, tmp_path: Path) -> None:
    done = slipway(cluster, "submit", "-f", manifest(tmp_path, "fixed"), "--watch")
    assert done.returncode == ExitCode.SOURCE, done.stderr
    assert "✗ fetch: failed" in done.stderr
    for text in ("Model fixed created", "error in fetch: NotLfs", "Nothing is under LFS.", "hint: Put it there."):
        assert text in done.stdout
    assert "the stub begins" in slipway(cluster, "logs", "fixed", "fetch").stdout
    assert slipway(cluster, "logs", "fixed", "load").stdout == "load is not reached: it has no log.\n"
    table = slipway(cluster, "status").stdout
    assert [line.split()[:3] for line in table.splitlines()][1] == ["fixed", "False", "NotLfs"]

    again = slipway(cluster, "submit", "-f", manifest(tmp_path, "fixed"))
    assert again.returncode == 0
    assert "Model fixed unchanged" in again.stdout
    without = slipway(cluster, "retry", "fixed", path="/nowhere")
    assert without.returncode == ExitCode.ENVIRONMENT
    assert "argo is not installed" in without.stderr

    stub(cluster)
    retried = slipway(cluster, "retry", "fixed", "--watch", "--json")
    assert retried.returncode == 0, retried.stderr
    result = json.loads(retried.stdout.splitlines()[-1])
    assert (result["event"], result["phase"], result["failure"]) == ("result", "Succeeded", None)
    assert {step["name"]: step["state"] for step in result["steps"]}["load"] == "done"
    model = cluster.get(MODEL, "fixed")
    assert result["workflow"] == workflow_name(model["metadata"]["uid"], 1)
    assert json.loads(slipway(cluster, "status", "fixed", "--json").stdout)["phase"] == "Succeeded"
    assert "has not failed" in slipway(cluster, "retry", "fixed").stderr


def test_a_workflow_of_its_own_needs_no_model(cluster: KubernetesClient, tmp_path: Path) -> None:
    """Nor an operator. Its pods are collected when it has succeeded, and then its logs say where to look."""
    done = slipway(cluster, "submit", "-f", manifest(tmp_path, "alone"), "--workflow", "--watch")
    assert done.returncode == 0, done.stderr
    assert "✓ load: done" in done.stderr
    (name,) = [word for word in done.stdout.split() if word.startswith("adhoc-alone-")][:1]
    parameters = {each["name"]: each["value"] for each in cluster.get(WORKFLOW, name)["spec"]["arguments"]["parameters"]}
    assert parameters["services"] == '["token-classification"]'
    assert cluster.find(MODEL, "alone") is None
    assert json.loads(slipway(cluster, "status", name, "--json").stdout)["phase"] == "Succeeded"
    logs = slipway(cluster, "logs", name).stdout
    assert "── fetch: done ──" in logs
    assert "the stub begins" in logs or f"runs/{name}/fetch.json" in logs


def test_what_steps_write_is_followed_to_the_end(cluster: KubernetesClient, tmp_path: Path) -> None:
    stub(cluster, STUB_FAILS="load", STUB_SECONDS="3")  # pods of a run that failed stay
    try:
        made = slipway(cluster, "submit", "-f", manifest(tmp_path, "followed"), "--workflow", "--json")
        name = json.loads(made.stdout)["name"]
        done = slipway(cluster, "logs", name, "--follow")
    finally:
        stub(cluster)
    said = ["the stub begins", "the stub ends"]
    assert done.stdout.splitlines() == [
        *("── fetch ──", *said, "── fetch: done ──"),
        *("── load ──", *said, "── load: failed ──"),
    ]
    assert (done.returncode, done.stderr) == (0, f"{name}: Failed\n")
    assert slipway(cluster, "logs", name).stdout.splitlines() == [
        *("── fetch: done ──", *said),
        *("── load: failed ──", *said),
    ]


def test_a_model_may_have_any_display_name(cluster: KubernetesClient, tmp_path: Path) -> None:
    path = Path(manifest(tmp_path, "called"))
    called = "org/模型 \U0001f600 \\ud83d"
    path.write_text(path.read_text().replace("spec: {", f"spec: {{name: {json.dumps(called, ensure_ascii=False)}, "))
    done = slipway(cluster, "submit", "-f", str(path))
    assert done.returncode == 0, done.stderr
    assert cluster.get(MODEL, "called")["spec"]["name"] == called
    assert "unchanged" in slipway(cluster, "submit", "-f", str(path)).stdout


def test_a_refused_object_is_an_invalid_manifest(cluster: KubernetesClient, tmp_path: Path) -> None:
    path = manifest(tmp_path, "fixed")
    assert slipway(cluster, "submit", "-f", path).returncode == 0
    Path(path).write_text(MANIFEST.format(name="fixed").replace("fixed.git", "other.git"))
    changed = slipway(cluster, "submit", "-f", path)
    assert changed.returncode == ExitCode.INPUT
    assert "InvalidManifest" in changed.stderr
    assert "spec.source" in changed.stderr


def test_a_name_that_is_nothing_is_told(cluster: KubernetesClient) -> None:
    for command in ("status", "logs", "retry"):
        done = slipway(cluster, command, "nothing")
        assert done.returncode == ExitCode.INPUT
        assert "no Model and no Workflow nothing" in done.stderr


def test_the_doctor_says_what_this_namespace_lacks(cluster: KubernetesClient) -> None:
    done = slipway(cluster, "doctor")
    assert done.returncode == ExitCode.ENVIRONMENT
    for text in (
        "✓ Argo Workflows: v",
        "✓ Argo Events: v",
        "✓ WorkflowTemplate",
        "✗ operator",
        f"slipway install -n {cluster.namespace}",
    ):
        assert text in done.stdout
