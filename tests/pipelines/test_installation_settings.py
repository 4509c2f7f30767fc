"""Settings of an installation: what stays, what is refused, and what is anybody's."""

from __future__ import annotations

from typing import cast

import pytest

from crd.kubernetes_objects import DataObject
from crd.resource_kinds import CONFIG_MAP
from pipelines import manifests as rendering
from pipelines.installation import (
    InstalledObject,
    with_settings,
)
from pipelines.names import REGISTRY_ANNOTATION, SETTINGS
from steps.core.errors import Reason, SlipwayError
from tests.pipelines.empty_cluster import empty


def test_earlier_settings_stay_unless_named_again() -> None:
    default = cast(InstalledObject, rendering.settings())
    existing: DataObject = {"metadata": {"name": SETTINGS}, "data": {"SLIPWAY_STORE": "gs://mine", "EXTRA": "1", "KEPT": "2"}}
    merged = with_settings(default, existing, {"EXTRA": "3"}, "r")
    assert merged["data"] == {**default["data"], "SLIPWAY_STORE": "gs://mine", "EXTRA": "3", "KEPT": "2"}
    assert merged["metadata"]["annotations"] == {REGISTRY_ANNOTATION: "r"}
    assert with_settings(default, None, {}, "")["data"] == default["data"]


@pytest.mark.slow
def test_a_new_setting_joins_those_that_are_there() -> None:
    cluster = empty(listens=0)
    cluster.install(0, SLIPWAY_STORE="gs://mine/models", SLIPWAY_REGISTRY="r.example/team", EXTRA="1")
    said = cluster.install(0, SLIPWAY_BUILDER="cloudbuild", EXTRA="")
    assert "Results go to gs://mine/models (--store names another place)." in said
    assert any(line.startswith("Images come from the builder cloudbuild and go to r.example/team ") for line in said)
    found = cluster.objects[CONFIG_MAP, SETTINGS]["data"]
    assert (found["SLIPWAY_BUILDER"], found["SLIPWAY_REGISTRY"], found["EXTRA"]) == ("cloudbuild", "r.example/team", "")


PASSWORD = "hunter2-hunter2"


REFUSED: dict[str, tuple[dict[str, str], list[str]]] = {
    "a folder": ({"SLIPWAY_STORE": "/var/store"}, ["SLIPWAY_STORE is /var/store", "SLIPWAY_STORE=gs://BUCKET/PREFIX"]),
    "an address of a folder": ({"SLIPWAY_STORE": "file:///x"}, ["SLIPWAY_STORE is file:///x", "only a bucket"]),
    "no value": ({"SLIPWAY_BUILD_TIMEOUT": "soon"}, ["SLIPWAY_BUILD_TIMEOUT: ", "limit of one build, in seconds"]),
    "no builder": ({"SLIPWAY_BUILDER": "magic"}, ["SLIPWAY_BUILDER: "]),
    "no builder of a cluster": (
        {"SLIPWAY_BUILDER": "local"},
        ["SLIPWAY_BUILDER is local", "In a cluster there are plan, oci, cloudbuild."],
    ),
    "oci without a registry": (
        {"SLIPWAY_BUILDER": "oci"},
        ["SLIPWAY_REGISTRY is not set", "slipway install -n here --set SLIPWAY_REGISTRY=HOST/PATH"],
    ),
    "cloudbuild with another's store": (
        {"SLIPWAY_BUILDER": "cloudbuild", "SLIPWAY_REGISTRY": "r.example", "SLIPWAY_STORE": "s3://b"},
        ["The store is s3://b", "--set SLIPWAY_STORE=gs://BUCKET/PREFIX"],
    ),
    "no pool": ({"SLIPWAY_BUILD_POOL": "mine"}, ["The setting build_pool is 'mine'"]),
    "no registry": ({"SLIPWAY_REGISTRY": "a//b"}, ["a//b"]),
    "mistyped": (
        {"slipway_registri": "x"},
        ["no setting slipway_registri. Did you mean SLIPWAY_REGISTRY?", "--set slipway_registri="],
    ),
    "mistyped at its beginning": ({"SLIPAWAY_REGION": "x"}, ["Did you mean SLIPWAY_REGION?"]),
    "unknown": ({"SLIPWAY_COLOUR_OF_SAILS": "x"}, ["There is no setting SLIPWAY_COLOUR_OF_SAILS.", "SLIPWAY_HTTP_HOSTS"]),
    "a secret": (
        {"AWS_SECRET_ACCESS_KEY": PASSWORD},
        ["AWS_SECRET_ACCESS_KEY seems to hold a secret", "slipway-credentials", "slipway-registry"],
    ),
    "a secret in an address": (
        {"PIP_INDEX_URL": f"https://ada:{PASSWORD}@wheels.example/simple"},
        ["PIP_INDEX_URL seems to hold a secret"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("settings", "said"), REFUSED.values(), ids=list(REFUSED))
def test_wrong_settings_stop_before_anything_is_applied(settings: dict[str, str], said: list[str]) -> None:
    cluster = empty(listens=0)
    with pytest.raises(SlipwayError) as caught:
        cluster.install(0, **settings)
    assert caught.value.reason in (Reason.INVALID_INPUT, Reason.UNSUPPORTED_STORE)
    for text in said:
        assert text in f"{caught.value.message}\n{caught.value.hint}"
    assert PASSWORD not in f"{caught.value.message}\n{caught.value.hint}"
    assert not cluster.applied


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SlipwayError) as caught:
        empty(listens=0).install(0, SLIPWAY_BUILDER="oci", SLIPWAY_REGION="x", SLIPWAY_BUILD_TIMEOUT="1", SLIPWAY_STOR="s3://b")
    assert caught.value.reason is Reason.INVALID_INPUT
    said = caught.value.message.splitlines()
    assert [line.split()[0] for line in said] == ["SLIPWAY_BUILD_TIMEOUT:", "SLIPWAY_REGISTRY", "There"]
    assert "Did you mean SLIPWAY_STORE?" in said[2]


@pytest.mark.slow
def test_an_empty_value_removes_a_setting() -> None:
    cluster = empty(listens=0)
    cluster.install(0)
    cluster.objects[CONFIG_MAP, SETTINGS]["data"]["SLIPWAY_COLOUR"] = "red"
    with pytest.raises(SlipwayError, match="SLIPWAY_COLOUR"):
        cluster.install(0)
    cluster.install(0, SLIPWAY_COLOUR="")


def test_the_environment_of_libraries_is_anybodys() -> None:
    free = {
        "AWS_ENDPOINT_URL": "https://minio.example:9000",
        "AWS_SHARED_CREDENTIALS_FILE": "/etc/slipway/credentials/aws",
        "GOOGLE_APPLICATION_CREDENTIALS": "/etc/slipway/credentials/key.json",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "NO_PROXY": ".svc",
        "SLIPWAY_HTTP_HOSTS": "git.example",
        "SLIPWAY_PLAIN_HTTP": "registry:5000",
    }
    cluster = empty(listens=0)
    cluster.install(0, **free)
    assert free.items() <= cluster.objects[CONFIG_MAP, SETTINGS]["data"].items()
