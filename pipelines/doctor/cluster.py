"""What an installation has put into a cluster: whether it is there, ready and consistent.

What pods may do in the store and the registry is not tried from here: they act under identities of their own.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import TypeVar

from crd.kubernetes_client import KubernetesClient
from crd.kubernetes_objects import KubernetesObject
from crd.resource_kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT_BUS,
    EVENT_SOURCE,
    MODEL,
    SECRET,
    SENSOR,
    SERVICE_ACCOUNT,
    WORKFLOW,
    WORKFLOW_TEMPLATE,
    AnyKind,
    ResourceKind,
)
from crd.workflow import TEMPLATE
from pipelines.cluster.argo import INSTALL_EVENTS, INSTALL_WORKFLOWS
from pipelines.cluster.readiness import why_not_ready
from pipelines.configuration import check_cluster
from pipelines.doctor.finding import CLUSTER, Finding, Missing, check
from pipelines.names import (
    CREDENTIALS_FOLDER,
    CREDENTIALS_SECRET,
    OPERATOR,
    REGISTRY_SECRET,
    SETTINGS,
    STEPS_ACCOUNT,
    VERSION_LABEL,
)
from steps import __version__
from steps.core.errors import Reason, SlipwayError
from steps.core.settings import Settings
from steps.images.builders.supported import configured_builder

ObjectT = TypeVar("ObjectT", bound=KubernetesObject)
# A kind of each part of Argo, the end of its controller's image, and how to get it.
ARGO = {
    WORKFLOW: ("Argo Workflows", "/workflow-controller", INSTALL_WORKFLOWS),
    SENSOR: ("Argo Events", "/argo-events", INSTALL_EVENTS),
}
IDENTITIES = ("iam.gke.io/gcp-service-account", "eks.amazonaws.com/role-arn")  # annotations of Google's clusters, and Amazon's
DOCKER_CONFIG = ".dockerconfigjson"
# What the person at the keyboard needs: verb, group, resource, and what for.
RIGHTS = (
    ("create", "slipway.dev", "models", "submit"),
    ("patch", "slipway.dev", "models", "submit"),
    ("create", "argoproj.io", "workflows", "submit --workflow"),
    ("update", "argoproj.io", "workflows", "retry"),
    ("list", "", "pods", "logs"),
    ("get", "", "pods/log", "logs"),
)


def in_cluster(cluster: KubernetesClient) -> Iterator[Finding]:
    """Check all that Models in this namespace need."""
    install = f"slipway install -n {cluster.namespace}"
    yield Finding(CLUSTER, "API server", True, f"{cluster.server}, Kubernetes {cluster.version}")
    for kind, (name, image, command) in ARGO.items():
        yield _check(name, command, argo, cluster, kind, image)
    yield _check("CRD models.slipway.dev", install, _known, cluster)
    yield _check(f"WorkflowTemplate {TEMPLATE}", install, _template, cluster)
    yield from _configuration(cluster, install)
    for kind in (EVENT_BUS, SENSOR, EVENT_SOURCE):
        yield _check(kind.kind, install, _all_ready, cluster, kind)
    yield _check("operator", install, _ready, cluster, DEPLOYMENT, OPERATOR)
    for verb, group, resource, purpose in RIGHTS:
        fix = f"ask the administrator of the cluster; `slipway {purpose}` needs it"
        yield _check(f"right to {verb} {resource}", fix, _right, cluster, verb, group, resource)


def argo(cluster: KubernetesClient, kind: AnyKind, image: str) -> str:
    """Return the version of Argo's controller. It is found by its image, since Helm charts give it other names."""
    if not cluster.serves(kind):
        raise Missing(f"the cluster does not know {kind.kind}s")
    try:
        deployments = cluster.list_objects(DEPLOYMENT, all_namespaces=True)
    except SlipwayError as error:
        if error.reason is not Reason.ACCESS_DENIED:
            raise
        return "its kinds are there; you may not see whether its controller runs"  # nor any need of it
    for deployment in deployments:
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            name, _, version = container["image"].partition("@")[0].rpartition(":")
            words = [*(container.get("command") or ()), *(container.get("args") or ())]
            if name.endswith(image) and any("controller" in word for word in words):
                namespace = deployment["metadata"]["namespace"]
                if not (deployment.get("status") or {}).get("availableReplicas"):
                    raise Missing(f"its controller in the namespace {namespace} is not running")
                return f"{version} in the namespace {namespace}"
    raise Missing("its kinds are there, but its controller is not")


def _known(cluster: KubernetesClient) -> str:
    if not cluster.serves(MODEL):
        raise Missing("the cluster does not know Models")
    return ""


def _template(cluster: KubernetesClient) -> str:
    version = (_there(cluster, WORKFLOW_TEMPLATE, TEMPLATE)["metadata"].get("labels") or {}).get(VERSION_LABEL, "unknown")
    if version != __version__:
        raise Missing(f"version {version} is installed, and this is {__version__}")
    return f"version {version}"


def _configuration(cluster: KubernetesClient, install: str) -> Iterator[Finding]:
    """The ConfigMap, all that is wrong with it, and the Secrets that it, or its builder, leads to."""
    what = f"ConfigMap {SETTINGS}"
    data: dict[str, str] = {}

    def look() -> str:
        data.update(_there(cluster, CONFIG_MAP, SETTINGS).get("data") or {})
        return ""

    there = _check(what, install, look)
    if not there.good:
        yield there
        return
    settings, wrong = check_cluster(data, cluster.namespace)
    for error in wrong:
        yield Finding(CLUSTER, what, False, error.message, error.hint)
    images = f", images by {settings.builder}" + (f" to {settings.registry}" if settings.registry else "")
    yield Finding(CLUSTER, what, True, f"results go to {settings.store}{images}; what pods may do there shows in a run")
    yield from _secrets(cluster, settings, data)
    yield _check(f"ServiceAccount {STEPS_ACCOUNT}", install, _seen, _identity, cluster)


def _secrets(cluster: KubernetesClient, settings: Settings, data: dict[str, str]) -> Iterator[Finding]:
    """The files that settings point to, and what the builder in a pod pushes with."""
    folder = f"{CREDENTIALS_FOLDER}/"
    files = {name: path.removeprefix(folder) for name, path in data.items() if path.startswith(folder)}
    for name, key in files.items():
        create = f"kubectl -n {cluster.namespace} create secret generic {CREDENTIALS_SECRET} --from-file={key}=FILE"
        yield _check(f"Secret {CREDENTIALS_SECRET}, for {name}", create, _seen, _file, cluster, CREDENTIALS_SECRET, key)
    if configured_builder(settings).builder.pushes_itself and settings.registry:
        host = settings.registry.partition("/")[0]
        create = (
            f"kubectl -n {cluster.namespace} create secret docker-registry {REGISTRY_SECRET} --docker-server={host} "
            "--docker-username=NAME --docker-password=PASSWORD"
        )
        # A registry may take pushes from everybody who reaches it.
        yield _check(f"Secret {REGISTRY_SECRET}, to push", create, _seen, _login, cluster, host, required=False)


def _seen(ask: Callable[..., str], *arguments: object) -> str:
    """Return what ``ask`` returns, or that it may not be seen: whoever has no right to see it does not need it."""
    try:
        return ask(*arguments)
    except SlipwayError as error:
        if error.reason is not Reason.ACCESS_DENIED:
            raise
        return "you have no right to see it"


def _file(cluster: KubernetesClient, secret: str, key: str) -> str:
    if key not in (_there(cluster, SECRET, secret).get("data") or {}):
        raise Missing(f"it has no file {key}")
    return key


def _login(cluster: KubernetesClient, host: str) -> str:
    encoded = (_there(cluster, SECRET, REGISTRY_SECRET).get("data") or {}).get(DOCKER_CONFIG)
    if encoded is None:
        raise Missing(f"it is not a Secret of the type kubernetes.io/dockerconfigjson: it has no {DOCKER_CONFIG}")
    try:
        servers = list(json.loads(base64.b64decode(encoded))["auths"])
    except (ValueError, LookupError, TypeError):
        raise Missing(f"its {DOCKER_CONFIG} cannot be read") from None
    if not any(host in server for server in servers):
        raise Missing(f"it has credentials for {', '.join(servers) or 'no registry'}, and none for {host}")
    return f"it has credentials for {host}"


def _there(cluster: KubernetesClient, kind: ResourceKind[ObjectT], name: str) -> ObjectT:
    found = cluster.find(kind, name)
    if found is None:
        raise Missing(f"not in the namespace {cluster.namespace}")
    return found


def _identity(cluster: KubernetesClient) -> str:
    annotations = _there(cluster, SERVICE_ACCOUNT, STEPS_ACCOUNT)["metadata"].get("annotations") or {}
    acts = [f"acts as {annotations[name]}" for name in IDENTITIES if name in annotations]
    return acts[0] if acts else "no annotation names an identity in a cloud"


def _all_ready(cluster: KubernetesClient, kind: AnyKind) -> str:
    names = [each["metadata"]["name"] for each in cluster.list_objects(kind)]
    if not names:
        raise Missing(f"not in the namespace {cluster.namespace}")
    for name in names:
        _ready(cluster, kind, name)
    return ", ".join(names)


def _ready(cluster: KubernetesClient, kind: AnyKind, name: str) -> str:
    if why := why_not_ready(cluster, kind, name):
        there = cluster.find(kind, name) is not None  # applying again does not help what is there and not ready
        raise Missing(f"{name} {why}", f"kubectl -n {cluster.namespace} describe {kind.kind.lower()} {name}" if there else "")
    return name


def _right(cluster: KubernetesClient, verb: str, group: str, resource: str) -> str:
    name, _, subresource = resource.partition("/")
    if not cluster.is_allowed(verb, group, name, subresource):
        raise Missing("you do not have it")
    return ""


def _check(what: str, fix: str, ask: Callable[..., str], *arguments: object, required: bool = True) -> Finding:
    return check(CLUSTER, what, lambda: ask(*arguments), fix, required=required)
