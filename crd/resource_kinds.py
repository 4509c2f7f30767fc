"""The kinds of Kubernetes objects that Slipway reads or writes, each with its place in the API's paths.

Names and paths are written down here, so that no client has to discover them from the API server first. To use another kind,
add it here; ``kind_of`` then finds it for manifests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import quote

from crd.kubernetes_objects import (
    DataObject,
    DeploymentObject,
    EventObject,
    KubernetesObject,
    Manifest,
    ModelObject,
    ObjectWithConditions,
    PodObject,
    WorkflowObject,
)
from crd.types import API_VERSION, KIND, PLURAL

ObjectT_co = TypeVar("ObjectT_co", bound=KubernetesObject, covariant=True)


@dataclass(frozen=True)
class ResourceKind(Generic[ObjectT_co]):
    """A kind of objects; the type parameter, and ``shape``, is how one of them looks when it is read.

    ``api_version`` and ``kind`` are as a manifest has them, ``plural`` as the API's paths have it.
    """

    api_version: str
    kind: str
    plural: str
    shape: type[ObjectT_co]
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group; empty for Kubernetes' core."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version of the API group."""
        return self.api_version.rpartition("/")[2]

    @property
    def resource(self) -> tuple[str, str, str]:
        """Group, version and plural, as kopf and the kubernetes package take them."""
        return self.group, self.version, self.plural

    @property
    def group_path(self) -> str:
        """The path of the group and version, which lists the kinds that the API server knows there."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """The path of all objects of this kind, or of the one of this name, or of a part of it.

        An empty ``namespace`` stands for all namespaces.
        """
        place = ("namespaces", namespace) if self.namespaced and namespace else ()
        parts = (*place, self.plural, *(part for part in (name, subresource) if part))
        return "/".join((self.group_path, *(quote(part, safe="") for part in parts)))


AnyKind = ResourceKind[KubernetesObject]

_ARGO = "argoproj.io/v1alpha1"
_RBAC = "rbac.authorization.k8s.io/v1"

MODEL = ResourceKind(API_VERSION, KIND, PLURAL, ModelObject)
WORKFLOW = ResourceKind(_ARGO, "Workflow", "workflows", WorkflowObject)
WORKFLOW_TEMPLATE = ResourceKind(_ARGO, "WorkflowTemplate", "workflowtemplates", KubernetesObject)
EVENT_BUS = ResourceKind(_ARGO, "EventBus", "eventbus", ObjectWithConditions)
EVENT_SOURCE = ResourceKind(_ARGO, "EventSource", "eventsources", ObjectWithConditions)
SENSOR = ResourceKind(_ARGO, "Sensor", "sensors", ObjectWithConditions)
DEPLOYMENT = ResourceKind("apps/v1", "Deployment", "deployments", DeploymentObject)
NAMESPACE = ResourceKind("v1", "Namespace", "namespaces", KubernetesObject, namespaced=False)
POD = ResourceKind("v1", "Pod", "pods", PodObject)
CONFIG_MAP = ResourceKind("v1", "ConfigMap", "configmaps", DataObject)
SECRET = ResourceKind("v1", "Secret", "secrets", DataObject)
SERVICE_ACCOUNT = ResourceKind("v1", "ServiceAccount", "serviceaccounts", KubernetesObject)
EVENT = ResourceKind("v1", "Event", "events", EventObject)
ROLE = ResourceKind(_RBAC, "Role", "roles", KubernetesObject)
ROLE_BINDING = ResourceKind(_RBAC, "RoleBinding", "rolebindings", KubernetesObject)
CRD = ResourceKind(
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    ObjectWithConditions,
    namespaced=False,
)

KINDS: Mapping[tuple[str, str], AnyKind] = {
    (kind.api_version, kind.kind): kind
    for kind in (
        MODEL,
        WORKFLOW,
        WORKFLOW_TEMPLATE,
        EVENT_BUS,
        EVENT_SOURCE,
        SENSOR,
        DEPLOYMENT,
        NAMESPACE,
        POD,
        CONFIG_MAP,
        SECRET,
        SERVICE_ACCOUNT,
        EVENT,
        ROLE,
        ROLE_BINDING,
        CRD,
    )
}


def kind_of(manifest: Manifest) -> AnyKind:
    """The kind that a manifest names. Raises ``ValueError`` for one that is not in ``KINDS``."""
    api_version, kind = manifest["apiVersion"], manifest["kind"]
    found = KINDS.get((str(api_version), str(kind)))
    if found is None:
        raise ValueError(f"crd.resource_kinds has no kind {kind} of {api_version}")
    return found
