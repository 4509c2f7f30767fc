"""What each service account may do, asked of the API server with the account's own token: what is listed, and nothing else."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, cast

import pytest
import yaml
from kubernetes.client import ApiClient, AuthorizationV1Api, Configuration, CoreV1Api, CustomObjectsApi
from kubernetes.dynamic import DynamicClient

from crd.kubernetes_objects import ModelObject
from crd.types import API_VERSION
from crd.workflow import thin_workflow
from pipelines.access import RULES, access
from pipelines.installation import FOLDER
from pipelines.names import CREDENTIALS_SECRET, EXECUTOR_ACCOUNT, STEPS_ACCOUNT
from tests.cluster.place import fresh_namespace

WORKFLOWS = ("argoproj.io", "v1alpha1")
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
RESOURCES = (
    ("", "pods"),
    ("", "pods/log"),
    ("", "pods/exec"),
    ("", "secrets"),
    ("", "configmaps"),
    ("", "serviceaccounts"),
    ("", "serviceaccounts/token"),
    ("", "events"),
    ("", "namespaces"),
    ("", "nodes"),
    ("apps", "deployments"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("coordination.k8s.io", "leases"),
    ("argoproj.io", "workflows"),
    ("argoproj.io", "workflowtemplates"),
    ("argoproj.io", "workflowtaskresults"),
    ("argoproj.io", "eventsources"),
    ("argoproj.io", "sensors"),
    ("argoproj.io", "eventbus"),
    ("slipway.dev", "models"),
    ("slipway.dev", "models/status"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
)
Right = tuple[str, str, str]  # API group, resource, verb


@pytest.fixture(scope="module")
def home(kube: ApiClient, namespace: str, models: CustomObjectsApi) -> str:
    """A namespace with the accounts in it, and the resource that some of their rights are for."""
    for manifest in access():
        apply(kube, namespace, manifest)
    return namespace


@pytest.fixture(scope="module")
def elsewhere(kube: ApiClient) -> Iterator[str]:
    """A namespace that nothing was granted in."""
    with fresh_namespace(kube) as name:
        yield name


@pytest.fixture
def account(kube: ApiClient, home: str, request: pytest.FixtureRequest) -> Iterator[AuthorizationV1Api]:
    """The reviews, asked by the account that the test names."""
    token = CoreV1Api(kube).create_namespaced_service_account_token(request.param, home, {"spec": {"expirationSeconds": 600}})
    configuration = Configuration(host=kube.configuration.host)
    configuration.ssl_ca_cert = kube.configuration.ssl_ca_cert
    configuration.api_key = {"authorization": f"Bearer {token.status.token}"}
    with ApiClient(configuration) as client:
        yield AuthorizationV1Api(client)


def apply(kube: ApiClient, namespace: str, manifest: Mapping[str, object]) -> None:
    # A place that cannot exist keeps the package from believing what it discovered another time.
    client = DynamicClient(kube, cache_file=f"{os.devnull}/none")
    resource = client.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
    resource.server_side_apply(body=manifest, namespace=namespace, field_manager="slipway-tests")


def granted(name: str) -> set[Right]:
    return {(group, resource, verb) for group, resource, verbs in RULES[name] for verb in verbs}


def allowed(account: AuthorizationV1Api, namespace: str | None) -> set[Right]:
    """Of all verbs on all resources those that the API server lets the account do; no namespace means in the whole cluster."""
    found = set()
    for (group, resource), verb in product(RESOURCES, VERBS):
        what, _, sub = resource.partition("/")
        attributes = {"group": group, "resource": what, "subresource": sub, "verb": verb, "namespace": namespace}
        body = {"spec": {"resourceAttributes": attributes}}
        if account.create_self_subject_access_review(body).status.allowed:
            found.add((group, resource, verb))
    return found


every_account = pytest.mark.parametrize(("account", "name"), [(name, name) for name in RULES], indirect=["account"], ids=RULES)


def test_every_granted_right_is_needed() -> None:
    assert {right for name in RULES for right in granted(name)} <= {
        (group, resource, verb) for (group, resource), verb in product(RESOURCES, VERBS)
    }


@every_account
def test_an_account_has_only_listed_rights(account: AuthorizationV1Api, name: str, home: str) -> None:
    assert allowed(account, home) == granted(name)


@every_account
def test_an_account_may_do_nothing_in_another_namespace(account: AuthorizationV1Api, name: str, elsewhere: str) -> None:
    assert not allowed(account, elsewhere)


@every_account
def test_an_account_has_no_cluster_rights(account: AuthorizationV1Api, name: str) -> None:
    assert not allowed(account, None)


@every_account
def test_kubernetes_lists_the_same_rights(account: AuthorizationV1Api, name: str, home: str, elsewhere: str) -> None:
    assert rules(account, home) - rules(account, elsewhere) == granted(name)


def rules(account: AuthorizationV1Api, namespace: str) -> set[Right]:
    """What the API server says that the account may do; what every account may is among it."""
    review = account.create_self_subject_rules_review({"spec": {"namespace": namespace}})
    return {right for rule in review.status.resource_rules for right in product(rule.api_groups, rule.resources, rule.verbs)}


def test_a_steps_container_gets_no_token(kube: ApiClient, home: str) -> None:
    """A real pod of a real run: whatever becomes of it, its specification is what Argo made of the template."""
    settings, template = (yaml.safe_load((FOLDER / name).read_text()) for name in ("settings.yaml", "workflowtemplate.yaml"))
    for manifest in (settings, template):
        apply(kube, home, manifest)
    spec = {"sourceKind": "upload", "source": "gs://slipway/nothing", "services": ["image-classification"]}
    metadata = {"name": "a", "uid": "none", "generation": 1, "namespace": home}
    workflow = thin_workflow(cast(ModelObject, {"apiVersion": API_VERSION, "metadata": metadata, "spec": spec}))
    CustomObjectsApi(kube).create_namespaced_custom_object(*WORKFLOWS, home, "workflows", workflow)
    pod = first_pod(kube, home, workflow["metadata"]["name"])
    assert pod["spec"]["serviceAccountName"] == STEPS_ACCOUNT
    assert pod["spec"]["automountServiceAccountToken"] is False
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    containers = {container["name"]: container for container in pod["spec"]["containers"]}
    mounted = {name: [mount["name"] for mount in part["volumeMounts"]] for name, part in containers.items()}
    for name in mounted["main"]:
        own = set(volumes[name]) - {"name"} <= {"emptyDir"}
        assert own or volumes[name]["secret"]["secretName"] == CREDENTIALS_SECRET, (
            "neither the pod's own nor what a person put there"
        )
    assert not any("secretKeyRef" in json.dumps(variable) for variable in containers["main"].get("env", []))
    assert not any("secretRef" in source for source in containers["main"].get("envFrom", []))
    # The check can tell: the executor beside it has its token.
    (token,) = (mount["name"] for mount in containers["wait"]["volumeMounts"] if mount["mountPath"] == TOKEN)
    assert volumes[token]["secret"]["secretName"] == f"{EXECUTOR_ACCOUNT}.service-account-token"
    assert token not in mounted["main"]


def first_pod(kube: ApiClient, namespace: str, workflow: str) -> dict[str, Any]:
    end = time.monotonic() + 60
    while True:
        label = f"workflows.argoproj.io/workflow={workflow}"
        pods = CoreV1Api(kube).list_namespaced_pod(namespace, label_selector=label).items
        if pods:
            pod: dict[str, Any] = kube.sanitize_for_serialization(pods[0])
            return pod
        assert time.monotonic() < end, "Argo made no pod for the Workflow"
        time.sleep(0.2)
