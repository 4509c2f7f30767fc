"""Whether the parts of an installation are ready, from the status of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from crd.kubernetes_client import KubernetesClient
from crd.kubernetes_objects import DeploymentObject, ObjectWithConditions, PodObject
from crd.resource_kinds import CRD, DEPLOYMENT, EVENT_BUS, EVENT_SOURCE, POD, SENSOR, AnyKind
from steps.core.text import display_text, join_words

# Argo Events makes a Deployment for each of these, with this label.
POD_LABELS: Mapping[AnyKind, str] = {EVENT_SOURCE: "eventsource-name", SENSOR: "sensor-name"}
SUBSCRIBED = "Subscribing to subject"  # what a Sensor of Argo Events 1.9 logs when it subscribes to the event bus
WAITED_FOR = (CRD, DEPLOYMENT, EVENT_BUS, EVENT_SOURCE, SENSOR)


def why_not_ready(cluster: KubernetesClient, kind: AnyKind, name: str) -> str:
    """Return what is not ready yet about an object; empty when it is ready."""
    found = cluster.find(kind, name)
    if found is None:
        return "is not there"
    if kind == DEPLOYMENT:
        return _deployment(cluster, cast(DeploymentObject, found))
    status = cast(ObjectWithConditions, found).get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    if kind == CRD:
        established = conditions.get("Established")
        return "" if established and established["status"] == "True" else "is not established"
    if not conditions:
        return "has no status: is the controller of Argo Events running?"
    if bad := [each for each in conditions.values() if each["status"] != "True"]:
        return join_words(
            [display_text(f"{each['type']}: {each.get('message') or each.get('reason') or 'not yet'}", 300) for each in bad]
        )
    if label := POD_LABELS.get(kind):
        deployments = cluster.list_objects(DEPLOYMENT, labels=f"{label}={name}")
        return _deployment(cluster, deployments[0]) if deployments else "has no Deployment yet"
    return ""


def listens(cluster: KubernetesClient, sensor: str) -> bool:
    """Whether the logs of the Sensor's pods say that it has subscribed to its events. No status says so."""
    pods = cluster.list_objects(POD, labels=f"{POD_LABELS[SENSOR]}={sensor}")
    return any(SUBSCRIBED in line for pod in pods for line in cluster.read_log(pod["metadata"]["name"]))


def _deployment(cluster: KubernetesClient, deployment: DeploymentObject) -> str:
    wanted, status = deployment["spec"].get("replicas", 1), deployment.get("status") or {}
    current = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    ready = min(status.get("updatedReplicas", 0), status.get("availableReplicas", 0))
    # An older pod beside the new one still works, with the old image or the old rights.
    if current and ready >= wanted and status.get("replicas", 0) == wanted:
        return ""
    selector = deployment["spec"]["selector"].get("matchLabels") or {}
    pods = cluster.list_objects(POD, labels=",".join(f"{key}={value}" for key, value in selector.items()))
    causes = [why for pod in pods if (why := _waiting(pod))] or [
        display_text(each["message"], 300)
        for each in status.get("conditions") or ()
        if each["type"] == "ReplicaFailure" and each["status"] == "True"
    ]
    return f"{ready} of {wanted} pods ready" + (f" ({join_words(causes)})" if causes else "")


def _waiting(pod: PodObject) -> str:
    """Return why a container of the pod does not run, as the kubelet says it."""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        state = container.get("state") or {}
        if detail := state.get("waiting") or state.get("terminated"):
            return display_text(f"{detail.get('reason', '')} {detail.get('message', '')}".strip(), 300)
    return ""
