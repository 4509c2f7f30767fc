"""All of Slipway's manifests into a cluster, in the right order, and a wait until every part is ready.

These are the manifests of ``kubectl apply -k pipelines/manifests``, changed for the namespace, the registry and the event bus
of this installation. What an earlier installation decided (settings, registry, event bus) stays unless it is named again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

import yaml

from crd.kubernetes_client import KubernetesClient
from crd.kubernetes_objects import DataObject, KubernetesObject, Manifest
from crd.resource_kinds import CONFIG_MAP, CRD, EVENT_BUS, EVENT_SOURCE, SENSOR, WORKFLOW, AnyKind, kind_of
from crd.schema import definition
from pipelines import names
from pipelines.cluster.argo import INSTALL_EVENTS, INSTALL_WORKFLOWS
from pipelines.cluster.readiness import WAITED_FOR, listens, why_not_ready
from pipelines.configuration import check_cluster
from pipelines.events import events
from pipelines.names import REGISTRY_ANNOTATION, SETTINGS, events_name
from steps.core.clock import Clock
from steps.core.errors import Reason, SlipwayError
from steps.core.redaction import WHERE_SECRETS_GO, find_secret, redact_address
from steps.core.settings import Settings

# Each kind after those that it needs. A Sensor gets no event from before its first subscription, so the EventSource comes after
# it: when it starts, it sends an event for every Model.
ORDER = (
    "Namespace",
    "CustomResourceDefinition",
    "ServiceAccount",
    "Secret",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "WorkflowTemplate",
    "EventBus",
    "Deployment",
    "Sensor",
    "EventSource",
)
FOLDER = Path(__file__).parent / "manifests"
KUSTOMIZATION = "kustomization.yaml"
NO_NAMESPACE = ("Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding")
OWN_IMAGE = re.compile(r"^slipway/[a-z]+:")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ARGO = {WORKFLOW: ("Argo Workflows", INSTALL_WORKFLOWS), SENSOR: ("Argo Events", INSTALL_EVENTS)}
POLL = 1.0  # seconds
LISTENS = 30.0  # seconds that a running Sensor gets to log that it has subscribed
STEADY = 5.0  # seconds that everything must stay ready: a container that crashes soon after its start is ready for a moment


ValueT = TypeVar("ValueT")


class InstalledObject(KubernetesObject, total=False):
    """A manifest of the installation, as far as it is changed here."""

    data: dict[str, str]
    subjects: list[dict[str, str]]


@dataclass(frozen=True)
class Choices:
    """What the person who installs decides.

    ``settings`` are environment variables of the steps. ``event_bus_url`` is a NATS server to use, ``registry`` the one that
    Slipway's own images are pulled from; None means as before, or the default.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    event_bus_url: str | None = None
    registry: str | None = None

    @classmethod
    def parse(cls, pairs: Sequence[str], *, store: str, event_bus_url: str, registry: str | None) -> Choices:
        """Read the flags. Raises ``InvalidInput``; the values of settings are checked later, with those that are there."""
        settings = {}
        for flag, address in (("store", store), ("event-bus-url", event_bus_url), ("registry", registry or "")):
            if what := find_secret(address):
                text = f"--{flag} {redact_address(address)} has {what}."
                raise SlipwayError(Reason.INVALID_INPUT, text, hint=f"Many may read what is installed. {WHERE_SECRETS_GO}")
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not equals or not VARIABLE.fullmatch(key):
                raise SlipwayError(Reason.INVALID_INPUT, f"--set {redact_address(pair)} is not KEY=VALUE.")
            settings[key] = value
        if store:
            settings["SLIPWAY_STORE"] = store
        if event_bus_url and not re.fullmatch(r"(nats|tls)://[^\s/]+", event_bus_url):
            raise SlipwayError(Reason.INVALID_INPUT, f"--event-bus-url {event_bus_url} is not nats://HOST:PORT.")
        return cls(settings, event_bus_url or None, registry.rstrip("/") if registry is not None else None)


def install_manifests(
    cluster: KubernetesClient, choices: Choices, clock: Clock, timeout: float, say: Callable[[str], None]
) -> None:
    """Apply all manifests and wait until everything is ready.

    Args:
        cluster: The cluster, and the namespace to install into.
        choices: What the person decides.
        clock: Waits between looks.
        timeout: Seconds to wait until all is ready; 0 does not wait.
        say: Gets a line for each object, and for what is waited for.

    Raises:
        SlipwayError: ``MissingDependency`` without Argo, or when something is not ready in time; ``InvalidInput`` and
            ``UnsupportedStore`` for wrong settings, before anything is applied.
    """
    require_argo(cluster)
    end = clock.monotonic() + timeout
    existing = cluster.find(CONFIG_MAP, SETTINGS)
    registry = choices.registry
    settings = check(existing, choices.settings, cluster.namespace)
    if registry is None:
        registry = ((existing["metadata"].get("annotations") if existing else None) or {}).get(REGISTRY_ANNOTATION, "")
    keep_bus = not choices.event_bus_url and cluster.find(EVENT_BUS, names.EVENT_BUS) is not None
    applied: list[tuple[AnyKind, str]] = []
    for manifest in manifests(cluster.namespace, choices.event_bus_url):
        kind, name = kind_of(cast(Manifest, manifest)), manifest["metadata"]["name"]
        if kind == CONFIG_MAP and name == SETTINGS:
            manifest = with_settings(manifest, existing, choices.settings, registry)
        if kind == EVENT_BUS and keep_bus:
            say(f"{kind.kind} {name}: left as it is")
        else:
            before = cluster.find(kind, name)
            if kind == EVENT_SOURCE and before is None and timeout:
                wait_for_sensor(cluster, clock, timeout, say)
            after = cluster.apply(cast(Manifest, with_registry(manifest, registry)))
            say(f"{kind.kind} {name}: {_what(before, after)}")
        if kind == CRD:
            wait(cluster, [(kind, name)], clock, timeout or 60, say)
        applied.append((kind, name))
    say(f"Results go to {settings.store} (--store names another place).")
    goal = f" and go to {settings.registry}" if settings.registry else ""
    say(f"Images come from the builder {settings.builder}{goal} (--set SLIPWAY_BUILDER=…, --set SLIPWAY_REGISTRY=…).")
    if timeout:
        parts = [each for each in applied if each[0] in WAITED_FOR]
        wait(cluster, parts, clock, end - clock.monotonic(), say, steady=STEADY)
        say("Everything is ready.")


def require_argo(cluster: KubernetesClient) -> None:
    """Raise ``MissingDependency`` unless the cluster has Argo Workflows and Argo Events."""
    for kind, (name, command) in ARGO.items():
        if not cluster.serves(kind):
            raise SlipwayError(Reason.MISSING_DEPENDENCY, f"The cluster at {cluster.server} has no {name}.", hint=command)


def read_manifests() -> list[InstalledObject]:
    """Return the manifests that are checked in, in no particular order."""
    paths = [path for path in sorted(FOLDER.glob("*.yaml")) if path.name != KUSTOMIZATION]
    return [manifest for path in paths for manifest in yaml.safe_load_all(path.read_text())]


def manifests(namespace: str, bus_url: str | None) -> list[InstalledObject]:
    """Return every manifest for this namespace, in the order in which they must be applied."""
    # Sensor and EventSource have the namespace in their names and specs, so they are made again rather than moved.
    fixed = [each for each in read_manifests() if each["kind"] not in (EVENT_BUS.kind, SENSOR.kind, EVENT_SOURCE.kind)]
    made = cast(list[InstalledObject], [definition(), *events(namespace, bus_url)])
    found = [placed(each, namespace) for each in (*made, *fixed)]
    rank = {kind: number for number, kind in enumerate(ORDER)}
    return sorted(found, key=lambda each: rank.get(each["kind"], rank["Deployment"]))


def placed(manifest: InstalledObject, namespace: str) -> InstalledObject:
    """Return the manifest in a namespace, as kustomize would make it: its metadata, and the accounts that a binding names."""
    if manifest["kind"] == "Namespace":
        renamed = manifest.copy()
        renamed["metadata"] = {**manifest["metadata"], "name": namespace}
        return renamed
    moved = manifest.copy()
    if "subjects" in manifest:
        moved["subjects"] = [{**subject, "namespace": namespace} for subject in manifest["subjects"]]
    if manifest["kind"] not in NO_NAMESPACE:
        moved["metadata"] = {**manifest["metadata"], "namespace": namespace}
    return moved


def with_registry(value: ValueT, registry: str) -> ValueT:
    """Return the same value with ``REGISTRY/`` before the names of Slipway's own images, wherever an ``image`` is named."""
    if not registry:
        return value
    if isinstance(value, dict):
        changed: object = {
            key: f"{registry}/{item}"
            if key == "image" and isinstance(item, str) and OWN_IMAGE.match(item)
            else with_registry(item, registry)
            for key, item in value.items()
        }
    elif isinstance(value, list):
        changed = [with_registry(item, registry) for item in value]
    else:
        return value
    return cast(ValueT, changed)


def with_settings(
    manifest: InstalledObject, existing: DataObject | None, chosen: Mapping[str, str], registry: str
) -> InstalledObject:
    """Return the ConfigMap of the settings: what is chosen now goes before what is there, and that before the defaults."""
    changed = manifest.copy()
    changed["metadata"] = {**manifest["metadata"], "annotations": {REGISTRY_ANNOTATION: registry}}
    before = (existing.get("data") if existing else None) or {}
    changed["data"] = {**(manifest.get("data") or {}), **before, **chosen}
    return changed


def check(existing: DataObject | None, chosen: Mapping[str, str], namespace: str) -> Settings:
    """Return the settings as they would be. Raises everything that is wrong with them as one error."""
    default = next(each for each in read_manifests() if each["kind"] == CONFIG_MAP.kind)
    settings, wrong = check_cluster(with_settings(default, existing, chosen, "")["data"], namespace)
    if len(wrong) > 1:
        text = "\n".join(each.message for each in wrong)
        raise SlipwayError(Reason.INVALID_INPUT, text, hint="\n".join(dict.fromkeys(each.hint for each in wrong)))
    for each in wrong:
        raise each
    return settings


def wait(
    cluster: KubernetesClient,
    parts: Sequence[tuple[AnyKind, str]],
    clock: Clock,
    timeout: float,
    say: Callable[[str], None],
    *,
    steady: float = 0,
) -> None:
    """Wait until all parts are ready and stay so for ``steady`` seconds; ``say`` gets what is waited for.

    Raises:
        SlipwayError: ``MissingDependency`` after ``timeout`` seconds.
    """
    since = clock.monotonic()
    deadline, printed = since + timeout, set[str]()
    while True:
        waiting = [f"{kind.kind} {name} {why}" for kind, name in parts if (why := why_not_ready(cluster, kind, name))]
        if waiting:
            since = clock.monotonic() + POLL
        elif clock.monotonic() >= since + steady:
            return
        if waiting and clock.monotonic() > deadline:
            raise SlipwayError(
                Reason.MISSING_DEPENDENCY,
                f"Not ready after {timeout:.0f} seconds: {'; '.join(waiting)}.",
                hint=f"`kubectl -n {cluster.namespace} get pods` and `slipway doctor -n {cluster.namespace}` say more.",
            )
        if waiting and waiting[0] not in printed:  # the kubelet's messages alternate
            printed.add(waiting[0])
            say(f"Waiting: {waiting[0]}")
        clock.sleep(POLL)


def wait_for_sensor(cluster: KubernetesClient, clock: Clock, timeout: float, say: Callable[[str], None]) -> None:
    """Wait until the Sensor has subscribed to its events; the subscription stays on the bus across restarts.

    Events before the subscription are lost until the operator finds their Models. A Sensor that runs and does not log that it
    has subscribed (another version may word it otherwise) does not stop the installation. Raises as ``wait`` does.
    """
    name = events_name(cluster.namespace)
    wait(cluster, [(SENSOR, name)], clock, timeout, say)
    deadline = clock.monotonic() + LISTENS
    while not (subscribed := listens(cluster, name)) and clock.monotonic() < deadline:
        clock.sleep(POLL)
    say(f"{SENSOR.kind} {name}: {'has subscribed' if subscribed else 'does not log that it has subscribed'}")


def _what(before: KubernetesObject | None, after: KubernetesObject) -> str:
    if before is None:
        return "created"
    return "unchanged" if before["metadata"].get("resourceVersion") == after["metadata"].get("resourceVersion") else "changed"
