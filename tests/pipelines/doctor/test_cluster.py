"""``slipway doctor`` in a cluster: the ConfigMap is settings that fit together, and the Secrets have what it points to."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from crd.kubernetes_client import KubernetesClient, ObjectT
from crd.resource_kinds import CONFIG_MAP, SECRET, SERVICE_ACCOUNT, AnyKind, ResourceKind
from pipelines.doctor.cluster import in_cluster
from pipelines.doctor.finding import Finding
from pipelines.manifests import settings
from pipelines.names import SETTINGS, STEPS_ACCOUNT
from steps.core.errors import Reason, SlipwayError

PASSWORD = "hunter2-hunter2"


@dataclass(frozen=True)
class Installed(KubernetesClient):
    """A cluster that has these objects; ``denied`` are kinds that one may not look at."""

    objects: dict[tuple[AnyKind, str], dict[str, Any]] = field(default_factory=dict)
    denied: set[AnyKind] = field(default_factory=set)

    def serves(self, kind: AnyKind) -> bool:
        return True

    def find(self, kind: ResourceKind[ObjectT], name: str) -> ObjectT | None:
        if kind in self.denied:
            raise SlipwayError(Reason.ACCESS_DENIED, f"you may not get {kind.kind}s", hint="Ask whoever runs the cluster.")
        return cast("ObjectT | None", self.objects.get((kind, name)))

    def list_objects(self, kind: ResourceKind[ObjectT], *, labels: str = "", all_namespaces: bool = False) -> list[ObjectT]:
        return []

    def is_allowed(self, verb: str, group: str, resource: str, subresource: str = "") -> bool:
        return True

    def configure(self, **data: str) -> None:
        self.objects[CONFIG_MAP, SETTINGS] = {"data": {**cast(dict[str, str], settings()["data"]), **data}}

    def keep(self, secret: str, **files: str) -> None:
        encoded = {name: base64.b64encode(text.encode()).decode() for name, text in files.items()}
        self.objects[SECRET, secret] = {"data": encoded}

    def findings(self, what: str) -> list[Finding]:
        return [each for each in in_cluster(self) if each.what.startswith(what)]

    def finding(self, what: str) -> Finding:
        [found] = self.findings(what)
        return found


@pytest.fixture
def cluster() -> Installed:
    made = Installed("here", "", "https://api.example", "v1.34.4", None)
    made.configure()
    made.objects[SERVICE_ACCOUNT, STEPS_ACCOUNT] = {"metadata": {}}
    return made


def test_destinations_are_reported_and_not_tried(cluster: Installed) -> None:
    cluster.configure(SLIPWAY_BUILDER="cloudbuild", SLIPWAY_REGISTRY="r.example/team")
    finding = cluster.finding("ConfigMap")
    assert finding.good
    assert finding.detail == (
        "results go to gs://slipway, images by cloudbuild to r.example/team; what pods may do there shows in a run"
    )
    assert not cluster.findings("Secret")


def test_a_configmap_that_is_missing_leads_to_install(cluster: Installed) -> None:
    del cluster.objects[CONFIG_MAP, SETTINGS]
    finding = cluster.finding("ConfigMap")
    assert (finding.good, finding.detail, finding.fix) == (False, "not in the namespace here", "slipway install -n here")


def test_each_wrong_setting_is_a_finding(cluster: Installed) -> None:
    cluster.configure(
        SLIPWAY_STORE="", SLIPWAY_BUILDER="oci", SLIPWAY_BUILD_TIMEOUT="1", SLIPWAY_STOR="x", AWS_SECRET_ACCESS_KEY=PASSWORD
    )
    found = cluster.findings("ConfigMap")
    said = [each.detail for each in found if not each.good]
    beginnings = ("SLIPWAY_BUILD_TIMEOUT: ", "SLIPWAY_REGISTRY is", "SLIPWAY_STORE is", "There is no", "AWS_SECRET_ACCESS_KEY")
    assert [text for text, beginning in zip(said, beginnings, strict=True) if not text.startswith(beginning)] == []
    assert all(each.fix for each in found if not each.good)
    assert PASSWORD not in str(found)


def test_a_named_file_must_be_in_the_secret(cluster: Installed) -> None:
    cluster.configure(GOOGLE_APPLICATION_CREDENTIALS="/etc/slipway/credentials/key.json")
    what = "Secret slipway-credentials, for GOOGLE_APPLICATION_CREDENTIALS"
    missing = cluster.finding(what)
    assert (missing.good, missing.required) == (False, True)
    assert missing.fix == "kubectl -n here create secret generic slipway-credentials --from-file=key.json=FILE"
    cluster.keep("slipway-credentials", other=PASSWORD)
    assert cluster.finding(what).detail == "it has no file key.json"
    cluster.keep("slipway-credentials", **{"key.json": PASSWORD})
    assert cluster.finding(what).good
    assert PASSWORD not in str(list(in_cluster(cluster)))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (None, "not in the namespace here"),
        ({"password": PASSWORD}, "it is not a Secret of the type kubernetes.io/dockerconfigjson"),
        ({".dockerconfigjson": "{"}, "its .dockerconfigjson cannot be read"),
        (
            {".dockerconfigjson": json.dumps({"auths": {"other.example": {"auth": PASSWORD}}})},
            "for other.example, and none for r.example",
        ),
        ({".dockerconfigjson": json.dumps({"auths": {"https://r.example:5000": {"auth": PASSWORD}}})}, ""),
    ],
)
def test_the_builder_oci_needs_credentials_to_push(cluster: Installed, files: dict[str, str] | None, said: str) -> None:
    cluster.configure(SLIPWAY_BUILDER="oci", SLIPWAY_REGISTRY="r.example:5000/team")
    if files:
        cluster.keep("slipway-registry", **files)
    finding = cluster.finding("Secret slipway-registry")
    assert (finding.good, finding.required) == (not said, not said), "a registry may take pushes from everybody"
    assert said in finding.detail
    assert finding.good or "create secret docker-registry slipway-registry --docker-server=r.example:5000" in finding.fix
    assert PASSWORD not in str(finding)


def test_whoever_may_not_see_secrets_is_told_so(cluster: Installed) -> None:
    cluster.configure(SSL_CERT_FILE="/etc/slipway/credentials/ca.pem")
    cluster.denied.add(SECRET)
    finding = cluster.finding("Secret")
    assert (finding.good, finding.detail) == (True, "you have no right to see it")
    cluster.denied.add(CONFIG_MAP)
    assert cluster.finding("ConfigMap").fix == "Ask whoever runs the cluster."


def test_the_cloud_identity_is_reported(cluster: Installed) -> None:
    assert cluster.finding("ServiceAccount").detail == "no annotation names an identity in a cloud"
    annotations = {"iam.gke.io/gcp-service-account": "slipway-steps@p.iam.gserviceaccount.com"}
    cluster.objects[SERVICE_ACCOUNT, STEPS_ACCOUNT] = {"metadata": {"annotations": annotations}}
    assert cluster.finding("ServiceAccount").detail == "acts as slipway-steps@p.iam.gserviceaccount.com"
    del cluster.objects[SERVICE_ACCOUNT, STEPS_ACCOUNT]
    assert cluster.finding("ServiceAccount").fix == "slipway install -n here"
