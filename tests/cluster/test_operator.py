"""The operator on a real cluster: its own rights, real Workflows, no Sensor. The steps only report what real ones would."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from kubernetes.client import ApiClient, CoreV1Api, CustomObjectsApi

from crd.resource_kinds import MODEL, WORKFLOW
from crd.workflow import workflow_name
from pipelines.access import access
from pipelines.installation import with_registry
from pipelines.names import OPERATOR_ACCOUNT, SETTINGS
from pipelines.workflow_template import workflow_template
from steps.core.errors import ExitCode, Reason
from tests.cluster.custom_resources import anything_is_let_in
from tests.pipelines.conftest import slipway

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
TASK, SECOND = "text-classification", "image-classification"
SET, ARCHIVE = "a" * 64, "b" * 64

# In place of a step: waits or fails as the revision says, and writes every output.
STEP = """
import json, os, sys, time
step, flags = sys.argv[1], dict(flag[2:].split("=", 1) for flag in sys.argv[2:])
revision = flags.get("revision", "")
if revision == "slow":
    time.sleep(600)
if revision == "missing" and "FIXED" not in os.environ:
    report = {"reason": "RevisionNotFound", "message": "There is no 'missing'.", "hint": "It has: main.", "retryable": False}
    open("/dev/termination-log", "w").write(json.dumps(report) + "\\n")
    sys.exit(10)
os.makedirs("/tmp/outputs")
for name, value in OUTPUTS[step].items():
    open("/tmp/outputs/" + name, "w").write(flags["services"] if name == "services" else value)
"""
KNOWN = {
    "set_digest": SET,
    "archive_digest": ARCHIVE,
    "revision": "c" * 40,
    "bytes": "7",
    "latency_ms": "7",
    "image_digest": "",
    "awaits": "",
    "report": "runs/1",
}


def pipeline() -> dict[str, Any]:
    """The WorkflowTemplate as it is, with pods that do next to nothing."""
    template: dict[str, Any] = workflow_template().to_dict()
    image = next(each["container"]["image"] for each in template["spec"]["templates"] if each["name"] == "fetch")
    for step in template["spec"]["templates"]:
        if "container" in step:
            names = [each["name"] for each in step["outputs"]["parameters"]]
            outputs = {step["name"]: {name: KNOWN.get(name, f"{step['name']}/{name}") for name in names}}
            step["container"] |= {
                "image": image,
                "command": ["python", "-c", f"OUTPUTS = {outputs}\n{STEP}", step["name"]],
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
            }
    return template


class Namespace:
    """A namespace with Slipway's template and rights, but no Sensor."""

    def __init__(self, kube: ApiClient, name: str) -> None:
        self.name = name
        self.objects, self.core = CustomObjectsApi(kube), CoreV1Api(kube)

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        return output(["kubectl", "--namespace", self.name, *arguments], stdin)

    def apply(self, *manifests: Mapping[str, object]) -> None:
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def models(self) -> dict[str, dict[str, Any]]:
        found = self.objects.list_namespaced_custom_object(MODEL.group, MODEL.version, self.name, MODEL.plural)
        return {each["metadata"]["name"]: each for each in found["items"]}

    def model(self, name: str) -> dict[str, Any] | None:
        return self.models().get(name)

    def status(self, name: str) -> dict[str, Any]:
        found = (self.model(name) or {}).get("status", {})
        return found if isinstance(found, dict) else {}

    def workflows(self, model: str) -> list[dict[str, Any]]:
        found = self.objects.list_namespaced_custom_object(
            WORKFLOW.group, WORKFLOW.version, self.name, WORKFLOW.plural, label_selector=f"slipway.dev/model={model}"
        )
        return sorted(found["items"], key=lambda each: each["metadata"]["labels"]["slipway.dev/generation"])

    def events(self, model: str) -> list[str]:
        found = self.core.list_namespaced_event(self.name, field_selector=f"involvedObject.name={model}")
        return sorted(each.reason for each in found.items for _ in range(each.count or 1))

    def is_(self, name: str, kind: str) -> Callable[[], bool]:
        return lambda: condition(self.status(name), kind).get("status") == "True"


def output(command: list[str], stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((each for each in status.get("conditions", []) if each["type"] == kind), {})


def wait(what: str, ready: Callable[[], object], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.5)


def model(name: str, revision: str = "", *, services: tuple[str, ...] = (TASK,)) -> dict[str, Any]:
    spec = {"services": list(services), "sourceKind": "git_lfs", "source": "https://example.org/m", "revision": revision}
    return {"apiVersion": "slipway.dev/v1alpha1", "kind": "Model", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def namespace(kube: ApiClient) -> Iterator[str]:
    """A fresh namespace, which the last test deletes."""
    name: str = CoreV1Api(kube).create_namespace({"metadata": {"generateName": "slipway-test-"}}).metadata.name
    yield name
    output(["kubectl", "delete", "namespace", name, "--ignore-not-found", "--wait=false"])


@pytest.fixture(scope="module")
def place(kube: ApiClient, namespace: str, models: CustomObjectsApi) -> Namespace:
    del models  # applies the CRD
    place = Namespace(kube, namespace)
    rights = cast(list[dict[str, Any]], access())
    for each in rights:
        for subject in each.get("subjects", ()):
            subject["namespace"] = namespace
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": SETTINGS}, "data": {"SLIPWAY_STORE": "none"}}
    place.apply(*rights, settings, with_registry(pipeline(), os.environ.get("REGISTRY", "")))
    return place


class Operator:
    """``kopf run`` as a process of its own, with the rights of the operator's service account."""

    def __init__(self, place: Namespace, kubeconfig: Path, log: Path) -> None:
        self.place, self.kubeconfig, self.log = place, kubeconfig, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = os.environ | {
            "KUBECONFIG": str(self.kubeconfig),
            "SLIPWAY_RESYNC_SECONDS": "5",
            "SLIPWAY_HEAD_START_SECONDS": "2",
        }
        command = [sys.executable, "-m", "kopf", "run", "crd/operator.py", "--verbose", "--namespace", self.place.name]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def operator(place: Namespace, kube: ApiClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    folder = tmp_path_factory.mktemp("operator")
    request: Any = {"spec": {"expirationSeconds": 3600}}
    token = place.core.create_namespaced_service_account_token(OPERATOR_ACCOUNT, place.name, request).status.token
    admin = json.loads(output(["kubectl", "config", "view", "--raw", "--minify", "-o", "json"]))
    admin["users"][0]["user"] = {"token": token}
    (folder / "kubeconfig").write_text(json.dumps(admin))
    operator = Operator(place, folder / "kubeconfig", folder / "log")
    operator.start()
    try:
        yield operator
        # Unfinished Models hold the namespace until the operator lets them go.
        place.kubectl("delete", "models", "--all", "--timeout=60s")
    finally:
        operator.kill()
    log = operator.log.read_text()
    print(log[-20_000:])
    assert "Traceback" not in log
    assert "forbidden" not in log


def test_a_killed_operator_still_makes_a_model_ready(place: Namespace, operator: Operator) -> None:
    place.apply(model("lone", services=(TASK, SECOND)))
    wait("the operator made the Workflow", lambda: place.workflows("lone"))
    wait("fetch is running", lambda: "fetch" in condition(place.status("lone"), "Reconciling").get("message", ""))
    operator.kill()
    time.sleep(15)
    operator.start()
    wait("lone is Ready", place.is_("lone", "Ready"))
    found = place.model("lone")
    assert found
    [workflow] = place.workflows("lone")
    assert workflow["metadata"]["name"] == workflow_name(found["metadata"]["uid"], 1) == found["status"]["workflow"]
    status = found["status"]
    assert (status["observedGeneration"], status["finishedGeneration"]) == (1, 1)
    assert (status["revision"], status["setDigest"]) == ("c" * 40, f"sha256:{SET}")
    assert [each["task"] for each in status["services"]] == [TASK, SECOND]
    assert status["services"][0] == {
        "task": TASK,
        "archive": "archive/archive",
        "archiveDigest": f"sha256:{ARCHIVE}",
        "image": "build/image",
        "latencyMs": 7,
    }
    assert {each["type"]: each["status"] for each in status["conditions"]} == {
        "Accepted": "True",
        "Fetched": "True",
        "Verified": "True",
        "Packaged": "True",
        "Built": "False",
        "Ready": "True",
    }
    assert condition(status, "Built")["reason"] == "Planned"
    assert place.events("lone") == ["Ready", "WorkflowCreated"]


def test_labels_and_annotations_start_nothing_and_write_nothing(place: Namespace, operator: Operator) -> None:
    status = place.status("lone")
    assert status
    place.kubectl("label", "model", "lone", "colour=red")
    place.kubectl("annotate", "model", "lone", "example.org/note=x")
    before = place.model("lone")
    operator.kill()
    operator.start()
    place.apply(model("canary"))  # when this one is seen, the earlier events have been
    wait("the canary has a Workflow", lambda: place.workflows("canary"))
    after = place.model("lone")
    assert after
    assert after["status"] == status
    assert after == before, "not even its resourceVersion is another one"
    assert len(place.workflows("lone")) == 1


def test_a_finished_generation_without_workflow_stays_finished(place: Namespace, operator: Operator) -> None:
    before = place.status("lone")
    place.kubectl("delete", "workflow", "--selector=slipway.dev/model=lone")
    operator.kill()
    operator.start()
    place.apply(model("canary-2"))
    wait("the canary has a Workflow", lambda: place.workflows("canary-2"))
    assert place.workflows("lone") == []
    assert place.status("lone") == before


def test_a_finished_model_is_deleted_without_operator(place: Namespace, operator: Operator) -> None:
    operator.kill()
    place.kubectl("delete", "model", "lone", "--timeout=10s")
    operator.start()


@pytest.mark.usefixtures("operator")
def test_a_retry_makes_a_stalled_model_ready(place: Namespace) -> None:
    place.apply(model("fixed", "missing"))
    wait("fixed is Stalled", place.is_("fixed", "Stalled"))
    status = place.status("fixed")
    stalled = condition(status, "Stalled")
    assert (stalled["reason"], stalled["message"]) == (Reason.REVISION_NOT_FOUND, "fetch: There is no 'missing'.")
    failure = status["lastFailure"]
    assert failure.pop("time")
    assert failure == {
        "step": "fetch",
        "reason": "RevisionNotFound",
        "message": "There is no 'missing'.",
        "hint": "It has: main.",
        "retryable": False,
    }
    assert condition(status, "Fetched")["status"] == "False"
    assert condition(status, "Reconciling") == {}
    assert status["finishedGeneration"] == 1
    assert place.events("fixed") == ["Stalled", "StepFailed", "WorkflowCreated"]
    place.kubectl("patch", "configmap", SETTINGS, "--patch", '{"data": {"FIXED": "1"}}')
    output(["argo", "--namespace", place.name, "retry", place.workflows("fixed")[0]["metadata"]["name"]])
    wait("fixed runs again", place.is_("fixed", "Reconciling"))
    assert condition(place.status("fixed"), "Stalled") == {}
    wait("fixed is Ready", place.is_("fixed", "Ready"))
    status = place.status("fixed")
    assert "lastFailure" not in status
    assert status["finishedGeneration"] == 1
    assert place.events("fixed") == ["Ready", "Stalled", "StepFailed", "WorkflowCreated"]


@pytest.mark.usefixtures("operator")
def test_a_new_generation_stops_the_old_run(place: Namespace) -> None:
    place.apply(model("turned", "slow"))
    wait("turned runs", lambda: "fetch" in condition(place.status("turned"), "Reconciling").get("message", ""))
    place.apply(model("turned"))
    wait("turned is Ready", place.is_("turned", "Ready"))
    old, new = place.workflows("turned")
    assert (old["spec"]["shutdown"], old["status"]["phase"]) == ("Stop", "Failed")
    assert new["status"]["phase"] == "Succeeded"
    status = place.status("turned")
    assert (status["observedGeneration"], status["finishedGeneration"]) == (2, 2)
    assert status["workflow"] == new["metadata"]["name"]
    assert "StepFailed" not in place.events("turned")


@pytest.mark.usefixtures("operator")
def test_deleting_a_model_stops_its_workflow(place: Namespace) -> None:
    place.apply(model("leaving", "slow"))
    wait("leaving runs", lambda: "fetch" in condition(place.status("leaving"), "Reconciling").get("message", ""))
    place.kubectl("delete", "model", "leaving", "--wait=false")
    wait("leaving is gone", lambda: place.model("leaving") is None, 60)
    [workflow] = place.workflows("leaving")
    assert workflow["spec"]["shutdown"] == "Stop"
    wait("its Workflow has ended", lambda: place.workflows("leaving")[0]["status"]["phase"] == "Failed")


def test_a_finalizer_can_be_removed_by_hand(place: Namespace, operator: Operator) -> None:
    place.apply(model("held", "slow"))
    wait("held runs", lambda: "fetch" in condition(place.status("held"), "Reconciling").get("message", ""))
    operator.kill()
    place.kubectl("delete", "model", "held", "--wait=false")
    found = place.model("held")
    assert found
    assert found["metadata"]["deletionTimestamp"]
    place.kubectl("patch", "model", "held", "--type=merge", "--patch", '{"metadata":{"finalizers":null}}')
    wait("held is gone", lambda: place.model("held") is None, 30)
    [workflow] = place.workflows("held")
    assert "shutdown" not in workflow["spec"]
    operator.start()
    wait("the next operator stops its Workflow", lambda: "shutdown" in place.workflows("held")[0]["spec"], 60)


# Models that the CRD would not let in, stored when there was another one.
SECRET = "s%65cr%65t"
ODD: dict[str, dict[str, Any]] = {
    "odd-spec": {"spec": None},
    "odd-both": {"spec": None, "status": [1]},
    "odd-source": {"spec": model("")["spec"] | {"source": f"http://user:{SECRET}@h/a"}},
}
# Whatever is changed of these, the API server finds fault with the rest: no status is ever written into them.
UNWRITABLE: dict[str, dict[str, Any]] = {
    "odd.name": {},
    "odd-services": {"spec": {"services": 7, "sourceKind": "git_lfs", "source": "https://example.org/m"}, "status": "Ready"},
}


@pytest.mark.fault("survived")
def test_odd_models_stall_and_others_go_on(place: Namespace, operator: Operator, kube: ApiClient, tmp_path: Path) -> None:
    operator.kill()
    with anything_is_let_in(kube):
        place.apply(*({**model(name), **parts} for name, parts in {**ODD, **UNWRITABLE, "odd-status": {"status": [1]}}.items()))
    operator.start()
    place.apply(model("beside"))
    for name in ODD:
        wait(f"{name} is Stalled", place.is_(name, "Stalled"), 60)
        assert condition(place.status(name), "Stalled")["reason"] == Reason.INVALID_MANIFEST
        assert place.workflows(name) == []
    for name in ("beside", "odd-status"):
        wait(f"{name} has a Workflow", functools.partial(place.workflows, name), 60)
    time.sleep(6)  # longer than the operator waits before it looks at an unfinished Model again
    log = operator.log.read_text()
    for name in (*ODD, *UNWRITABLE):
        assert log.count(f"{place.name}/{name}: Stalled: ") == 1
    for name in UNWRITABLE:
        assert log.count(f"{place.name}/{name}: The API server refuses its status") == 1
        assert place.workflows(name) == []
    # The secret is where somebody wrote it, and nowhere else.
    everything = json.loads(place.kubectl("get", "models,workflows,pods,events,configmaps", "-o", "json"))["items"]
    for found in everything:
        if found["kind"] == "Model":
            found["spec"] = None
            found["metadata"].get("annotations", {}).pop("kubectl.kubernetes.io/last-applied-configuration", None)
    assert SECRET not in json.dumps(everything) + log
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump({**model("odd-both"), "spec": {}}))
    for verb, *more in (["status"], ["status", "odd.name"], ["status", "odd-both", "--json"], ["logs", "odd-source"]):
        done = slipway(verb, "-n", place.name, *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert SECRET not in done.stdout + done.stderr
    rows = [line.split() for line in slipway("status", "-n", place.name, cwd=tmp_path).stdout.splitlines()]
    assert [row[:3] for row in rows if row[0] in (*ODD, *UNWRITABLE)] == [
        [name, "False", "InvalidManifest"] for name in sorted((*ODD, *UNWRITABLE))
    ]
    assert slipway("submit", "--watch", "-n", place.name, "-f", "odd.yaml", cwd=tmp_path).returncode == ExitCode.INPUT
    assert slipway("retry", "-n", place.name, "odd-both", cwd=tmp_path).returncode == ExitCode.INPUT
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(model("odd-spec")))
    done = slipway("submit", "-n", place.name, "-f", "model.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout.partition(" in ")[0]) == (0, "Model odd-spec changed")
    wait("odd-spec has a Workflow", lambda: place.workflows("odd-spec"), 60)
    place.kubectl("delete", "model", "odd-spec", "odd-both", "odd-source", "odd.name", "--timeout=30s")


def test_a_namespace_is_deleted_without_operator(place: Namespace, operator: Operator) -> None:
    names = sorted(place.models())
    assert len(names) > 2
    for name in names:
        if name not in UNWRITABLE:
            wait(f"{name} is Ready or Stalled", place.is_(name, "Stalled" if name in ODD else "Ready"))
    wait("nothing holds them", lambda: not any(each["metadata"].get("finalizers") for each in place.models().values()), 30)
    operator.kill()
    output(["kubectl", "delete", "namespace", place.name, "--timeout=120s"])
