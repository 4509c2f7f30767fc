"""``slipway doctor``: what is missing on this machine and in the cluster, and the command that mends it.

Nothing is changed anywhere, and no finding hides another: each check stands alone, and what cannot be found out says why.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape

from crd.workflow import TEMPLATE
from pipelines.cluster import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT_BUS,
    EVENT_SOURCE,
    GET_EVENTS,
    GET_WORKFLOWS,
    MODEL,
    SENSOR,
    WORKFLOW,
    WORKFLOW_TEMPLATE,
    Cluster,
    Kind,
)
from pipelines.readiness import why_not_ready
from pipelines.retry import GET_PROGRAM, PROGRAM
from steps import __version__
from steps.builders.local import LocalBuilder
from steps.errors import Reason, SlipwayError
from steps.progress import human_bytes
from steps.store import open_store
from steps.store.local import LocalStore

MACHINE, CLUSTER = "this machine", "the cluster"
PACKAGES = {"torch": "ml", "transformers": "ml", "bentoml": "ml", "hera": "pipelines", "kubernetes": "operator"}
SETTINGS, OPERATOR = "slipway-settings", "slipway-operator"  # as in pipelines.argo and pipelines.access, which need hera
# A kind of each part of Argo, the end of its controller's image, and how to get it.
ARGO = {
    WORKFLOW: ("Argo Workflows", "/workflow-controller", GET_WORKFLOWS),
    SENSOR: ("Argo Events", "/argo-events", GET_EVENTS),
}
MIN_FREE = 5_000_000_000  # bytes: a small model, its archive and its image's context
VERSION_LABEL = "app.kubernetes.io/version"
# What the person at the keyboard needs: verb, group, resource, and what for.
RIGHTS = (
    ("create", "slipway.dev", "models", "submit"),
    ("patch", "slipway.dev", "models", "submit"),
    ("create", "argoproj.io", "workflows", "submit --workflow"),
    ("update", "argoproj.io", "workflows", "retry"),
    ("list", "", "pods", "logs"),
    ("get", "", "pods/log", "logs"),
)


@dataclass(frozen=True)
class Finding:
    """One thing that is there or not. ``mend`` is a command, or a sentence where there is none."""

    part: str
    what: str
    good: bool
    detail: str = ""
    mend: str = ""
    required: bool = True


def examine(namespace: str, context: str, store: str) -> list[Finding]:
    """All findings, those of this machine in front."""
    found = [*machine(store)]
    try:
        cluster = Cluster.connect(namespace, context)
    except SlipwayError as error:
        configured = error.reason is not Reason.MISSING_DEPENDENCY
        return [*found, Finding(CLUSTER, "API server", False, error.message, error.hint, required=configured)]
    return [*found, *in_cluster(cluster)]


def machine(store: str) -> Iterator[Finding]:
    """What `slipway run` needs here."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(MACHINE, "Python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")
    for package, extra in PACKAGES.items():
        yield _package(package, extra)
    git = shutil.which("git")
    yield Finding(MACHINE, "git", git is not None, git or "", "apt install git, brew install git, …")
    argo = shutil.which(PROGRAM)
    yield Finding(MACHINE, f"{PROGRAM}, for slipway retry", argo is not None, argo or "", GET_PROGRAM, required=False)
    yield _builder()
    yield _store(store)


def in_cluster(cluster: Cluster) -> Iterator[Finding]:
    """What Models in this namespace need."""
    install = f"slipway install -n {cluster.namespace}"
    yield Finding(CLUSTER, "API server", True, f"{cluster.server}, Kubernetes {cluster.version}")
    for kind, (name, image, command) in ARGO.items():
        yield _check(name, command, argo, cluster, kind, image)
    yield _check("CRD models.slipway.dev", install, _known, cluster)
    yield _check(f"WorkflowTemplate {TEMPLATE}", install, _template, cluster)
    yield _check(f"ConfigMap {SETTINGS}", install, _settings, cluster)
    for kind in (EVENT_BUS, SENSOR, EVENT_SOURCE):
        yield _check(kind.kind, install, _all_ready, cluster, kind)
    yield _check("operator", install, _ready, cluster, DEPLOYMENT, OPERATOR)
    for verb, group, resource, purpose in RIGHTS:
        mend = f"ask whoever runs the cluster; `slipway {purpose}` needs it"
        yield _check(f"right to {verb} {resource}", mend, _right, cluster, verb, group, resource)


def argo(cluster: Cluster, kind: Kind, image: str) -> str:
    """The version of Argo's controller, found by its image: charts give it other names than the release's manifests do."""
    if not cluster.has(kind):
        raise Missing(f"the cluster does not know {kind.kind}s")
    try:
        deployments = cluster.search(DEPLOYMENT, everywhere=True)
    except SlipwayError as error:
        if error.reason is not Reason.ACCESS_DENIED:
            raise
        return "its kinds are there; you have no right to see whether its controller runs"  # nor any need of it
    for deployment in deployments:
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            name, _, version = container["image"].partition("@")[0].rpartition(":")
            said = [*(container.get("command") or ()), *(container.get("args") or ())]
            if name.endswith(image) and any("controller" in word for word in said):
                namespace = deployment["metadata"]["namespace"]
                if not (deployment.get("status") or {}).get("availableReplicas"):
                    raise Missing(f"its controller in the namespace {namespace} is not running")
                return f"{version} in the namespace {namespace}"
    raise Missing("its kinds are there, but its controller is not")


def print_findings(findings: list[Finding], console: Console) -> None:
    """One line for each, with the command to mend it below what is missing."""
    part = ""
    for finding in findings:
        if finding.part != part:
            part = finding.part
            console.print(f"[bold]{part[0].upper()}{part[1:]}[/bold]")
        mark = "[green]✓[/]" if finding.good else "[red]✗[/]" if finding.required else "[yellow]✗[/]"
        optional = "" if finding.good or finding.required else " (not required)"
        detail = f": {escape(finding.detail)}" if finding.detail else ""
        console.print(f"{mark} {escape(finding.what)}{detail}{optional}", soft_wrap=True)
        if not finding.good and finding.mend:
            console.print(f"    {escape(finding.mend)}", soft_wrap=True)


class Missing(Exception):
    """A check's answer when something is not there; its text says what. ``mend`` where the usual way does not help."""

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what)
        self.mend = mend


def _check(what: str, mend: str, ask: Callable[..., str], *arguments: Any) -> Finding:
    try:
        return Finding(CLUSTER, what, True, ask(*arguments))
    except Missing as missing:
        return Finding(CLUSTER, what, False, str(missing), missing.mend or mend)
    except SlipwayError as error:
        return Finding(CLUSTER, what, False, error.message, error.hint)


def _known(cluster: Cluster) -> str:
    if not cluster.has(MODEL):
        raise Missing("the cluster does not know Models")
    return ""


def _template(cluster: Cluster) -> str:
    found = cluster.find(WORKFLOW_TEMPLATE, TEMPLATE)
    if found is None:
        raise Missing(f"not in the namespace {cluster.namespace}")
    version = (found["metadata"].get("labels") or {}).get(VERSION_LABEL, "unknown")
    if version != __version__:
        raise Missing(f"version {version} is installed, and this is {__version__}")
    return f"version {version}"


def _settings(cluster: Cluster) -> str:
    found = cluster.find(CONFIG_MAP, SETTINGS)
    if found is None:
        raise Missing(f"not in the namespace {cluster.namespace}")
    data = found.get("data") or {}
    if "SLIPWAY_STORE" not in data:
        raise Missing("it does not say where results go (SLIPWAY_STORE)")
    return f"results go to {data['SLIPWAY_STORE']} (whether pods may write there is not checked)"


def _all_ready(cluster: Cluster, kind: Kind) -> str:
    names = [each["metadata"]["name"] for each in cluster.search(kind)]
    if not names:
        raise Missing(f"not in the namespace {cluster.namespace}")
    for name in names:
        _ready(cluster, kind, name)
    return ", ".join(names)


def _ready(cluster: Cluster, kind: Kind, name: str) -> str:
    if why := why_not_ready(cluster, kind, name):
        there = cluster.find(kind, name) is not None  # what is there and not ready, applying it again will not mend
        raise Missing(f"{name} {why}", f"kubectl -n {cluster.namespace} describe {kind.kind.lower()} {name}" if there else "")
    return name


def _right(cluster: Cluster, verb: str, group: str, resource: str) -> str:
    name, _, subresource = resource.partition("/")
    if not cluster.allowed(verb, group, name, subresource):
        raise Missing("you have not got it")
    return ""


def _package(package: str, extra: str) -> Finding:
    try:
        return Finding(MACHINE, package, True, importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        # The laptop's chain needs the first three; the rest is for clusters.
        return Finding(MACHINE, package, False, "", f"pip install 'slipway[{extra}]'", required=extra == "ml")


def _builder() -> Finding:
    try:
        return Finding(MACHINE, "image builder", True, LocalBuilder.find().program)
    except SlipwayError as error:
        return Finding(MACHINE, "image builder", False, error.message, error.hint, required=False)


def _store(uri: str) -> Finding:
    what = f"store {uri}"
    try:
        store = open_store(uri)
        if not isinstance(store, LocalStore):
            store.size("slipway-doctor")  # whether it is there does not matter: the bucket answered
            return Finding(MACHINE, what, True, "it answers")
    except SlipwayError as error:
        return Finding(MACHINE, what, False, error.message, error.hint)
    folder = next(each for each in (store.root, *store.root.parents) if each.exists())
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(MACHINE, what, False, f"{folder} is not writable", "name another folder: --store or SLIPWAY_STORE")
    free = shutil.disk_usage(folder).free
    return Finding(
        MACHINE, what, free >= MIN_FREE, f"{human_bytes(free)} free", f"free {human_bytes(MIN_FREE)}, or use --store"
    )
