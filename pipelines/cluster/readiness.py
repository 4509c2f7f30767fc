"""Whether what was applied is ready: the parts of an installation, read from their own status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from crd.kubernetes_client import KubernetesClient
from crd.kubernetes_objects import DeploymentObject, ObjectWithConditions, PodObject
from crd.resource_kinds import CRD, DEPLOYMENT, EVENT_BUS, EVENT_SOURCE, POD, SENSOR, AnyKind
from steps.core.text import display_text, join_words

# Argo Events makes a Deployment for each of these and labels its pods so.
POD_LABELS: Mapping[AnyKind, str] = {EVENT_SOURCE: "eventsource-name", SENSOR: "sensor-name"}
SUBSCRIBED = "Subscribing to subject"  # what a Sensor of Argo Events 1.9 logs when it asks the bus for what comes from now on
WAITED_FOR = (CRD, DEPLOYMENT, EVENT_BUS, EVENT_SOURCE, SENSOR)


def why_not_ready(cluster: KubernetesClient, kind: AnyKind, name: str) -> str:
    """What is not ready yet about an object; empty when it is ready."""
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
        return "is not looked after: is the controller of Argo Events running?"
    if bad := [each for each in conditions.values() if each["status"] != "True"]:
        return join_words(
            [display_text(f"{each['type']}: {each.get('message') or each.get('reason') or 'not yet'}", 300) for each in bad]
        )
    if label := POD_LABELS.get(kind):
        deployments = cluster.list_objects(DEPLOYMENT, labels=f"{label}={name}")
        return _deployment(cluster, deployments[0]) if deployments else "has no Deployment yet"
    return ""


def listens(cluster: KubernetesClient, sensor: str) -> bool:
    """Whether the Sensor says, in its pods' logs, that it has subscribed to its events. No status tells that."""
    pods = cluster.list_objects(POD, labels=f"{POD_LABELS[SENSOR]}={sensor}")
    return any(SUBSCRIBED in line for pod in pods for line in cluster.read_log(pod["metadata"]["name"]))


def _deployment(cluster: KubernetesClient, deployment: DeploymentObject) -> str:
    wanted, status = deployment["spec"].get("replicas", 1), deployment.get("status") or {}
    current = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    ready = min(status.get("updatedReplicas", 0), status.get("availableReplicas", 0))
    # An older pod beside the new one still does its work: with the old image, or the old rights.
    if current and ready >= wanted and status.get("replicas", 0) == wanted:
        return ""
    selector = deployment["spec"]["selector"].get("matchLabels") or {}
    pods = cluster.list_objects(POD, labels=",".join(f"{key}={value}" for key, value in selector.items()))
    said = [why for pod in pods if (why := _waiting(pod))] or [
        display_text(each["message"], 300)
        for each in status.get("conditions") or ()
        if each["type"] == "ReplicaFailure" and each["status"] == "True"
    ]
    return f"{ready} of {wanted} pods ready" + (f" ({join_words(said)})" if said else "")


def _waiting(pod: PodObject) -> str:
    """Why a pod's container does not run, in the kubelet's words."""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        state = container.get("state") or {}
        if said := state.get("waiting") or state.get("terminated"):
            return display_text(f"{said.get('reason', '')} {said.get('message', '')}".strip(), 300)
    return ""
