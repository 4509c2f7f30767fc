"""The Kubernetes objects that Slipway reads, as the API server stores them: the fields that are read, and no others.

A field that the API server may leave out is not required here. ``crd.fitting`` brings what was read into these shapes. Field
names are those of the Kubernetes API (https://kubernetes.io/docs/reference/kubernetes-api/), of Argo Workflows
(https://argo-workflows.readthedocs.io/en/latest/fields/) and, for a Model, of ``crd.types`` and ``crd.status``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Required, TypedDict

Manifest = Mapping[str, object]  # an object as it is sent to the API server


class ObjectMetadata(TypedDict, total=False):
    """``metadata`` of any object (meta/v1 ObjectMeta). Times are RFC 3339."""

    name: Required[str]
    namespace: str
    uid: str
    generation: int
    resourceVersion: str
    labels: dict[str, str]
    annotations: dict[str, str]
    creationTimestamp: str
    deletionTimestamp: str | None


class KubernetesObject(TypedDict, total=False):
    """What every object has."""

    apiVersion: str
    kind: str
    metadata: Required[ObjectMetadata]


class ConditionObject(TypedDict, total=False):
    """One condition of a status (meta/v1 Condition, or what resembles it)."""

    type: Required[str]
    status: Required[str]
    reason: str
    message: str
    observedGeneration: int
    lastTransitionTime: str


class ServiceStatusObject(TypedDict, total=False):
    """One service in the status of a Model, see ``crd.status.ServiceStatus``."""

    task: Required[str]
    archive: str
    archiveDigest: str
    image: str
    imageDigest: str
    latencyMs: int


class LastFailureObject(TypedDict, total=False):
    """The last failure in the status of a Model, see ``crd.status.LastFailure``."""

    step: Required[str]
    reason: Required[str]
    message: str
    hint: str
    retryable: bool
    time: str


class ModelStatusObject(TypedDict, total=False):
    """``status`` of a Model, see ``crd.status.ModelStatus``."""

    observedGeneration: int
    finishedGeneration: int
    workflow: str
    revision: str
    setDigest: str
    report: str
    services: list[ServiceStatusObject]
    conditions: list[ConditionObject]
    lastFailure: LastFailureObject | None


class ModelObject(KubernetesObject, total=False):
    """A Model. Its spec is as it is stored: one that ``crd.types`` accepts only where ``model_failure`` finds nothing wrong."""

    spec: Required[Mapping[str, object]]
    status: ModelStatusObject


class ParameterObject(TypedDict, total=False):
    """A parameter of a Workflow or of one of its nodes; without a value where none was given."""

    name: Required[str]
    value: str


class NodeInputs(TypedDict, total=False):
    """What a node of a Workflow was given."""

    parameters: list[ParameterObject]


class NodeOutputs(TypedDict, total=False):
    """What a node of a Workflow left."""

    parameters: list[ParameterObject]
    exitCode: str


class NodeObject(TypedDict, total=False):
    """A node of a Workflow: a pod, a retry of pods, a DAG or a group. Times are RFC 3339, and null before they have come."""

    id: Required[str]
    name: Required[str]
    type: Required[str]
    templateName: str
    phase: str
    message: str
    startedAt: str | None
    finishedAt: str | None
    inputs: NodeInputs
    outputs: NodeOutputs


class WorkflowArguments(TypedDict, total=False):
    """The arguments of a Workflow."""

    parameters: list[ParameterObject]


class WorkflowSpecObject(TypedDict, total=False):
    """``spec`` of a Workflow."""

    workflowTemplateRef: dict[str, str]
    arguments: WorkflowArguments
    shutdown: str


class WorkflowStatusObject(TypedDict, total=False):
    """``status`` of a Workflow."""

    phase: str
    message: str
    startedAt: str | None
    finishedAt: str | None
    nodes: dict[str, NodeObject]
    compressedNodes: str
    offloadNodeStatusVersion: str


class WorkflowObject(KubernetesObject, total=False):
    """A Workflow of Argo Workflows."""

    spec: WorkflowSpecObject
    status: WorkflowStatusObject


class ContainerStateDetail(TypedDict, total=False):
    """Why a container waits or has ended."""

    reason: str
    message: str


class ContainerState(TypedDict, total=False):
    """The state of a container; at most one of the two is there."""

    waiting: ContainerStateDetail
    terminated: ContainerStateDetail


class ContainerStatus(TypedDict, total=False):
    """The status of one container of a pod."""

    name: str
    state: ContainerState


class PodStatus(TypedDict, total=False):
    """``status`` of a pod."""

    phase: str
    containerStatuses: list[ContainerStatus]


class PodObject(KubernetesObject, total=False):
    """A pod."""

    status: PodStatus


class ContainerObject(TypedDict, total=False):
    """A container of a pod template."""

    name: str
    image: Required[str]
    command: list[str]
    args: list[str]


class PodTemplateSpec(TypedDict, total=False):
    """``spec`` of a pod template."""

    containers: Required[list[ContainerObject]]


class PodTemplate(TypedDict, total=False):
    """The pod template of a Deployment."""

    spec: Required[PodTemplateSpec]


class LabelSelector(TypedDict, total=False):
    """Which pods belong to a Deployment."""

    matchLabels: dict[str, str]


class DeploymentSpec(TypedDict, total=False):
    """``spec`` of a Deployment."""

    replicas: int
    selector: Required[LabelSelector]
    template: Required[PodTemplate]


class DeploymentStatus(TypedDict, total=False):
    """``status`` of a Deployment."""

    observedGeneration: int
    replicas: int
    updatedReplicas: int
    availableReplicas: int
    conditions: list[ConditionObject]


class DeploymentObject(KubernetesObject, total=False):
    """A Deployment."""

    spec: Required[DeploymentSpec]
    status: DeploymentStatus


class DataObject(KubernetesObject, total=False):
    """A ConfigMap, whose values are texts, or a Secret, whose values are texts in base64."""

    data: dict[str, str]


class EventObject(KubernetesObject, total=False):
    """A Kubernetes event (core/v1 Event). Times are RFC 3339."""

    involvedObject: Required[dict[str, str]]
    type: str
    reason: Required[str]
    message: Required[str]
    source: dict[str, str]
    firstTimestamp: str
    lastTimestamp: str
    count: int


class ConditionsStatus(TypedDict, total=False):
    """A status of which only the conditions are read."""

    conditions: list[ConditionObject]


class ObjectWithConditions(KubernetesObject, total=False):
    """An object of which only the conditions are read: a CustomResourceDefinition, or a part of Argo Events."""

    status: ConditionsStatus


class AccessReviewStatus(TypedDict, total=False):
    """The answer to an access review."""

    allowed: bool


class AccessReview(TypedDict, total=False):
    """A SelfSubjectAccessReview; it has no metadata of its own."""

    status: Required[AccessReviewStatus]
