"""The whole way in a real cluster, against a laptop's run of the same Model.

A repository is served over git and LFS from this machine, Slipway is installed from nothing by its own command, and every
way in is tried: a Model that is applied, a Workflow that is submitted, a source that fails and is repaired, ten Models at once
while the parts that start them are killed.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from kubernetes.client import ApiClient

from crd.manifest import parse_manifest
from crd.workflow import workflow_name
from pipelines.commands.serve import serve_archive
from pipelines.demo.forge import Forge
from pipelines.demo.repository import publish
from pipelines.local import Observer, run_model
from steps.package.local_service import ANSWER_TIMEOUT
from steps.store.supported import open_store
from tests.cluster.place import Place, condition, installed, wait
from tests.tiny_models import vit_folder

__all__ = ["vit_folder"]  # a fixture
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]
TASK = "image-classification"


def manifest(name: str, source: str, revision: str = "main", builder: str = "plan") -> str:
    return f"""\
apiVersion: slipway.dev/v1alpha1
kind: Model
metadata:
  name: {name}
spec:
  services: [{TASK}]
  sourceKind: git_lfs
  source: {source}
  revision: {revision}
  builder: {builder}
"""


@pytest.fixture(scope="module")
def place(kube: ApiClient) -> Iterator[Place]:
    with installed(kube.configuration.host) as place:
        yield place


@pytest.fixture(scope="module")
def forge(place: Place, tmp_path_factory: pytest.TempPathFactory, vit_folder: Path) -> Iterator[Forge]:
    root = tmp_path_factory.mktemp("forge")
    publish(root, "tiny-vit", vit_folder)
    with Forge(root, host=place.host) as forge:
        yield forge


@pytest.fixture(scope="module")
def source(forge: Forge) -> str:
    return forge.url("tiny-vit")


@pytest.fixture(scope="module")
def on_the_laptop(source: str, place: Place, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ``slipway run`` makes of the same Model here: set digest and archive digest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLIPWAY_HTTP_HOSTS", place.host)
        outcome = run_model(
            parse_manifest(manifest("tiny", source), "laptop"), str(tmp_path_factory.mktemp("store")), Observer()
        )
    assert not outcome.failures, outcome.failures
    return {name: receipt.outputs for name, receipt in outcome.receipts.items()}


@pytest.fixture(scope="module")
def begun(place: Place, source: str) -> str:
    """All first runs, begun at once: pods spend most of their time waiting. Returns the Workflow that was submitted by hand."""
    place.apply(
        "---\n".join(
            (manifest("tiny", source), manifest("repaired", source, "next"), manifest("built", source, builder="local"))
        )
    )
    flags = ["-p=name=by-hand", f"-p=source={source}", '-p=services=["auto"]', "-o=name"]
    return submitted(place, *flags)


def submitted(place: Place, *flags: str) -> str:
    """The name of a Workflow that ``argo submit`` has made."""
    return place.argo("submit", "--from", "workflowtemplate/slipway-ingest", *flags).split()[0].rpartition("/")[2]


def workflows(place: Place, name: str) -> list[str]:
    listing = json.loads(place.kubectl("get", "workflows", "-l", f"slipway.dev/model={name}", "-o", "json"))
    return [item["metadata"]["name"] for item in listing["items"]]


@pytest.mark.usefixtures("begun")
def test_digests_equal_those_of_the_laptop(place: Place, on_the_laptop: dict[str, Any], tmp_path: Path) -> None:
    wait("Model tiny is Ready", place.is_("tiny", "Ready"))
    found = place.model("tiny")
    status = found["status"]
    assert workflows(place, "tiny") == [workflow_name(found["metadata"]["uid"], 1)]
    assert status["finishedGeneration"] == 1
    assert status["revision"] == on_the_laptop["fetch"]["revision"]
    assert status["setDigest"] == "sha256:" + on_the_laptop["fetch"]["set_digest"]
    [service] = status["services"]
    assert service["archiveDigest"] == "sha256:" + on_the_laptop[f"{TASK}/archive"]["archive_digest"]
    # The archive out of the bucket serves a prediction.
    archive = tmp_path / "archive.tar.gz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", place.settings.get("STORAGE_EMULATOR_HOST", ""))
        open_store(place.settings["SLIPWAY_STORE"]).copy_to(service["archive"], archive)
    with serve_archive(archive, sha256=service["archiveDigest"].removeprefix("sha256:")) as running:
        picture = (running.package / "src/golden/picture.png").read_bytes()
        fields = {"image": ("picture.png", picture, "image/png")}
        answer = urllib3.request("POST", f"{running.served.url}/predict", fields=fields, timeout=ANSWER_TIMEOUT, retries=False)
    assert answer.status == 200
    assert answer.json()["labels"]


def test_the_same_by_argo_submit(place: Place, begun: str, on_the_laptop: dict[str, Any]) -> None:
    place.argo("wait", begun)
    nodes = json.loads(place.kubectl("get", "workflow", begun, "-o", "json"))["status"]
    assert nodes["phase"] == "Succeeded"
    outputs = {
        parameter["name"]: parameter["value"]
        for node in nodes["nodes"].values()
        for parameter in node.get("outputs", {}).get("parameters", [])
    }
    assert outputs["set_digest"] == on_the_laptop["fetch"]["set_digest"]


@pytest.mark.fault("refused")
def test_wrong_arguments_are_refused_before_fetching(place: Place, forge: Forge, source: str) -> None:
    right = {"name": "x", "source": source, "services": '["ner"]'}
    wrong = {
        "name={{=1+1}}": "--name",
        "name=Bad_Name": "--name",
        "builder=local": "BuilderMissing",
        "framework=x": "--framework",
        'services=["{{=1+1}}"]': "UnknownTask",
    }
    before = len(forge.exchanges)
    names = {}
    for argument in wrong:
        name, _, value = argument.partition("=")
        names[argument] = submitted(place, *(f"-p={key}={given}" for key, given in {**right, name: value}.items()), "-o=name")
    for argument, says in wrong.items():
        with contextlib.suppress(AssertionError):  # it fails with the Workflow
            place.argo("wait", names[argument])
        found = json.loads(place.kubectl("get", "workflow", names[argument], "-o", "json"))["status"]
        assert found["phase"] == "Failed"
        pods = [node for node in found["nodes"].values() if node["type"] == "Pod" and node["templateName"] == "fetch"]
        assert [says in pod["message"] for pod in pods] == [True], pods
    assert len(forge.exchanges) == before


@pytest.mark.usefixtures("begun")
def test_a_failing_source_is_ready_after_retry(place: Place, forge: Forge, vit_folder: Path) -> None:
    wait("Model repaired is Stalled", place.is_("repaired", "Stalled"))
    found = place.model("repaired")
    assert condition(found, "Stalled")["reason"] == "RevisionNotFound"
    failure = found["status"]["lastFailure"]
    assert (failure["step"], failure["reason"], failure["retryable"]) == ("fetch", "RevisionNotFound", False)
    assert "next" in failure["message"]
    assert failure["hint"]
    publish(forge.root, "tiny-vit", vit_folder, branch="next")
    [workflow] = workflows(place, "repaired")
    place.argo("retry", workflow)
    place.apply(manifest("built", forge.url("tiny-vit")))  # for the next test, meanwhile
    wait("Model repaired is Ready", place.is_("repaired", "Ready"))
    found = place.model("repaired")
    assert condition(found, "Stalled") == {}
    assert "lastFailure" not in found["status"]


@pytest.mark.usefixtures("begun")
def test_a_local_builder_is_refused_before_fetching(place: Place) -> None:
    wait(
        "Model built was Stalled",
        lambda: "Stalled" in place.kubectl("get", "events", "--field-selector=involvedObject.name=built"),
    )
    described = place.kubectl("get", "events", "--field-selector=involvedObject.name=built,reason=Stalled", "-o", "json")
    [stalled] = json.loads(described)["items"]
    assert stalled["message"].startswith("BuilderMissing: ")
    assert "plan" in stalled["message"]
    wait("Model built is Ready", place.is_("built", "Ready"))
    assert workflows(place, "built") == [workflow_name(place.model("built")["metadata"]["uid"], 2)]


def test_ten_models_survive_killed_controllers(place: Place, source: str) -> None:
    names = [f"ten-{number}" for number in range(10)]
    place.apply("---\n".join(manifest(name, source) for name in names))
    for part in ("eventsource", "sensor", "operator"):
        pods = place.kubectl("get", "pods", "-o", "name").split()
        killed = [pod for pod in pods if part in pod]
        assert killed, f"no pod of the {part} among {pods}"
        place.kubectl("delete", *killed, "--grace-period=0", "--force")
        time.sleep(5)
    for name in names:
        wait(f"Model {name} is Ready", place.is_(name, "Ready"), 1200)
        assert len(workflows(place, name)) == 1


def test_people_can_read_what_the_cluster_says(place: Place, tmp_path: Path) -> None:
    table = place.kubectl("get", "models")
    assert table.splitlines()[0].split()[:4] == ["NAME", "READY", "REASON", "SOURCE"]
    described = place.kubectl("describe", "model", "tiny")
    for text in ("Set Digest:", "Archive Digest:", "Ready", "Events:"):
        assert text in described
