"""The manifests that are checked in: fresh, the same wherever they are made, and pods that a restricted namespace lets in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.access import RULES
from pipelines.installation import FOLDER
from pipelines.manifests import files, render
from steps import __version__

# What YAML 1.1 takes for a boolean where it stands without quotes.
BOOLEANS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"}


@dataclass(frozen=True)
class Pod:
    """The parts of a pod that Pod Security looks at, wherever a manifest keeps them."""

    where: str
    security: dict[str, Any]
    containers: dict[str, dict[str, Any]]
    account: str | None
    resources: dict[str, Any]


def documents() -> list[dict[str, Any]]:
    return [document for name in files() for document in yaml.safe_load_all((FOLDER / name).read_text())]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in documents() if document["kind"] == kind]


def pods() -> Iterator[Pod]:
    """Every pod that comes of the manifests."""
    for manifest in of_kind("WorkflowTemplate"):
        spec = manifest["spec"]
        patch = json.loads(spec["podSpecPatch"])
        beside = {part["name"]: part["securityContext"] for part in (*patch["initContainers"], *patch["containers"])}
        for template in spec["templates"]:
            if "container" in template:
                main = template["container"]
                containers = {"main": main["securityContext"], **beside}
                account = spec["serviceAccountName"]
                yield Pod(template["name"], spec["securityContext"], containers, account, main["resources"])
    for manifest in (*of_kind("Sensor"), *of_kind("EventSource")):
        pod = manifest["spec"]["template"]
        main = pod["container"]
        containers = {"main": main["securityContext"]}
        yield Pod(manifest["kind"], pod["securityContext"], containers, pod["serviceAccountName"], main["resources"])
    for manifest in of_kind("Deployment"):
        pod = manifest["spec"]["template"]["spec"]
        containers = {container["name"]: container["securityContext"] for container in pod["containers"]}
        resources = pod["containers"][0]["resources"]
        yield Pod(manifest["metadata"]["name"], pod["securityContext"], containers, pod["serviceAccountName"], resources)


def bus_pod() -> Pod:
    """The bus's pod, which needs no account and takes the resources that NATS takes."""
    (bus,) = of_kind("EventBus")
    pod = bus["spec"]["jetstream"]
    parts = ("containerTemplate", "reloaderContainerTemplate", "metricsContainerTemplate")
    return Pod("EventBus", pod["securityContext"], {part: pod[part]["securityContext"] for part in parts}, None, {})


def restricted_pods() -> list[Pod]:
    return [*pods(), bus_pod()]


def test_the_checked_in_files_are_fresh() -> None:
    rendered = render()
    assert {path.name for path in FOLDER.iterdir()} == set(rendered)
    for name, text in rendered.items():
        checked_in = list(yaml.safe_load_all((FOLDER / name).read_text()))
        assert checked_in == list(yaml.safe_load_all(text)), f"{name} is stale: run `make manifests`"


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["1", "5"])
def test_they_are_rendered_alike_by_every_process(seed: str) -> None:
    code = "import json; from pipelines.manifests import render; print(json.dumps(render()))"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == render()


def test_they_hold_no_anchors() -> None:
    for path in FOLDER.iterdir():
        tokens = yaml.scan(path.read_text())
        assert not [token for token in tokens if isinstance(token, yaml.AnchorToken | yaml.AliasToken)], path.name


def test_parameter_names_stay_strings_in_yaml() -> None:
    names = [name for document in documents() for name in parameter_names(document)]
    assert names
    assert all(isinstance(name, str) and name.lower() not in BOOLEANS for name in names), names


def parameter_names(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "parameters" and isinstance(item, list):
                yield from (parameter["name"] for parameter in item if "name" in parameter)
            yield from parameter_names(item)
    elif isinstance(value, list):
        for item in value:
            yield from parameter_names(item)


def test_every_image_has_this_versions_tag() -> None:
    found = [image for document in documents() for image in images(document)]
    assert found
    assert {image.rpartition(":")[2] for image in found} == {__version__}


def images(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "image" and isinstance(item, str):
                yield item
            yield from images(item)
    elif isinstance(value, list):
        for item in value:
            yield from images(item)


@pytest.mark.parametrize("pod", restricted_pods(), ids=lambda pod: pod.where)
def test_pods_are_what_a_restricted_namespace_lets_in(pod: Pod) -> None:
    assert pod.security["runAsNonRoot"] is True
    assert pod.security["runAsUser"] > 10000
    assert pod.security["seccompProfile"] == {"type": "RuntimeDefault"}
    for name, security in pod.containers.items():
        assert security["allowPrivilegeEscalation"] is False, name
        assert security["capabilities"] == {"drop": ["ALL"]}, name
        assert security["readOnlyRootFilesystem"] is True, name
        assert security["runAsNonRoot"] is True, name


@pytest.mark.parametrize("pod", list(pods()), ids=lambda pod: pod.where)
def test_pods_have_an_account_and_limits(pod: Pod) -> None:
    assert pod.account in RULES
    assert set(pod.resources["requests"]) == {"cpu", "memory"}
    assert "memory" in pod.resources["limits"]


@pytest.mark.slow
def test_only_accounts_of_argo_events_mount_tokens() -> None:
    mounted = {account["metadata"]["name"] for account in of_kind("ServiceAccount") if account["automountServiceAccountToken"]}
    assert mounted == {manifest["spec"]["template"]["serviceAccountName"] for manifest in documents() if is_events(manifest)}
    (template,) = of_kind("WorkflowTemplate")
    assert template["spec"]["automountServiceAccountToken"] is False


def is_events(manifest: dict[str, Any]) -> bool:
    return manifest["kind"] in ("Sensor", "EventSource")


def test_nothing_outside_the_namespace_is_granted() -> None:
    kinds = {document["kind"] for document in documents()}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding"}
    for role in of_kind("Role"):
        for rule in role["rules"]:
            assert not any("*" in rule[part] for part in ("apiGroups", "resources", "verbs")), role["metadata"]["name"]


def test_the_kustomization_lists_files_in_order() -> None:
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert kustomization["sortOptions"] == {"order": "fifo"}
    resources = kustomization["resources"]
    assert [name for name in resources if name.endswith(".yaml")] == list(files())
    assert all((FOLDER / Path(name)).exists() for name in resources)
    kinds = [document["kind"] for document in documents()]
    order = ["Namespace", "ServiceAccount", "WorkflowTemplate", "EventBus", "Sensor", "EventSource"]
    assert sorted(order, key=kinds.index) == order
