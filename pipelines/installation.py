"""All of Slipway's manifests into a cluster, in the right order, and a wait until every part is ready.

These are the manifests of ``kubectl apply -k pipelines/manifests``, changed for the namespace, the registry and the event bus
of this installation. What an earlier installation decided (settings, registry, event bus) stays unless it is named again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from crd.kubernetes_client import KubernetesClient
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
from steps.core.settings import Settings

# Each kind after those that it needs. A Sensor sees nothing from before its first subscription, so the EventSource, which
# tells of every Model there is when it starts, comes after that.
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
LISTENS = 30.0  # seconds that a running Sensor gets to say that it has subscribed
STEADY = 5.0  # seconds that everything must stay ready: a container that starts and then crashes is ready for an instant


@dataclass(frozen=True)
class Choices:
    """What the person who installs decides. None means: as before, or the default."""

    settings: Mapping[str, str] = field(default_factory=dict)
    event_bus_url: str | None = None
    registry: str | None = None

    @classmethod
    def parse(cls, pairs: Sequence[str], *, store: str, event_bus_url: str, registry: str | None) -> Choices:
        """From the flags. Raises ``InvalidInput``; what the settings are worth, ``check`` says, with those that are there."""
        settings = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not equals or not VARIABLE.fullmatch(key):
                raise SlipwayError(Reason.INVALID_INPUT, f"--set {pair} is not KEY=VALUE.")
            settings[key] = value
        if store:
            settings["SLIPWAY_STORE"] = store
        if event_bus_url and not re.fullmatch(r"(nats|tls)://[^\s/]+", event_bus_url):
            raise SlipwayError(Reason.INVALID_INPUT, f"--event-bus-url {event_bus_url} is not nats://HOST:PORT.")
        return cls(settings, event_bus_url or None, registry.rstrip("/") if registry is not None else None)


def install_manifests(
    cluster: KubernetesClient, choices: Choices, clock: Clock, timeout: float, say: Callable[[str], None]
) -> None:
    """Apply everything and, unless ``timeout`` (seconds) is 0, wait. ``say`` hears a line for each object.

    Raises ``MissingDependency`` without Argo, or when something is not ready in time; ``InvalidInput`` and
    ``UnsupportedStore`` for settings that cannot be meant, before anything is applied.
    """
    require_argo(cluster)
    end = clock.monotonic() + timeout
    existing: Mapping[str, Any] = cluster.find(CONFIG_MAP, SETTINGS) or {}
    registry = choices.registry
    settings = check(existing, choices.settings, cluster.namespace)
    if registry is None:
        registry = ((existing.get("metadata") or {}).get("annotations") or {}).get(REGISTRY_ANNOTATION, "")
    keep_bus = not choices.event_bus_url and cluster.find(EVENT_BUS, names.EVENT_BUS) is not None
    applied: list[tuple[AnyKind, str]] = []
    for manifest in manifests(cluster.namespace, choices.event_bus_url):
        kind, name = kind_of(manifest), manifest["metadata"]["name"]
        if kind == CONFIG_MAP and name == SETTINGS:
            manifest = with_settings(manifest, existing, choices.settings, registry)
        if kind == EVENT_BUS and keep_bus:
            say(f"{kind.kind} {name}: left as it is")
        else:
            before = cluster.find(kind, name)
            if kind == EVENT_SOURCE and before is None and timeout:
                wait_for_sensor(cluster, clock, timeout, say)
            after = cluster.apply(with_registry(manifest, registry))
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


def read_manifests() -> list[dict[str, Any]]:
    """The manifests that are checked in, in no particular order."""
    paths = [path for path in sorted(FOLDER.glob("*.yaml")) if path.name != KUSTOMIZATION]
    return [manifest for path in paths for manifest in yaml.safe_load_all(path.read_text())]


def manifests(namespace: str, bus_url: str | None) -> list[dict[str, Any]]:
    """Every manifest for this namespace, in the order in which they must be applied."""
    # Sensor and EventSource have the namespace in their names and specs, so they are made anew rather than moved.
    fixed = [each for each in read_manifests() if each["kind"] not in (EVENT_BUS.kind, SENSOR.kind, EVENT_SOURCE.kind)]
    crd = cast(Mapping[str, Any], definition())
    found = [placed(each, namespace) for each in (crd, *fixed, *events(namespace, bus_url))]
    rank = {kind: number for number, kind in enumerate(ORDER)}
    return sorted(found, key=lambda each: rank.get(each["kind"], rank["Deployment"]))


def placed(manifest: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """A manifest put into a namespace, as kustomize would: its metadata, and the accounts that a binding names."""
    if manifest["kind"] == "Namespace":
        return {**manifest, "metadata": {**manifest["metadata"], "name": namespace}}
    moved = dict(manifest)
    if "subjects" in manifest:
        moved["subjects"] = [{**subject, "namespace": namespace} for subject in manifest["subjects"]]
    if manifest["kind"] not in NO_NAMESPACE:
        moved["metadata"] = {**manifest["metadata"], "namespace": namespace}
    return moved


def with_registry(value: Any, registry: str) -> Any:
    """The same value with ``REGISTRY/`` before the names of Slipway's own images, wherever an ``image`` is named."""
    if not registry:
        return value
    if isinstance(value, dict):
        return {
            key: f"{registry}/{item}"
            if key == "image" and isinstance(item, str) and OWN_IMAGE.match(item)
            else with_registry(item, registry)
            for key, item in value.items()
        }
    return [with_registry(item, registry) for item in value] if isinstance(value, list) else value


def with_settings(
    manifest: Mapping[str, Any], existing: Mapping[str, Any], chosen: Mapping[str, str], registry: str
) -> dict[str, Any]:
    """The settings: what is chosen now goes before what is there, and that before the defaults."""
    metadata = {**manifest["metadata"], "annotations": {REGISTRY_ANNOTATION: registry}}
    return {**manifest, "metadata": metadata, "data": {**manifest["data"], **(existing.get("data") or {}), **chosen}}


def check(existing: Mapping[str, Any], chosen: Mapping[str, str], namespace: str) -> Settings:
    """The settings as they would be. Raises what is wrong with them, all of it at once."""
    default = next(each for each in read_manifests() if each["kind"] == CONFIG_MAP.kind)
    settings, wrong = check_cluster(with_settings(default, existing, chosen, "")["data"], namespace)
    if len(wrong) > 1:
        said = "\n".join(each.message for each in wrong)
        raise SlipwayError(Reason.INVALID_INPUT, said, hint="\n".join(dict.fromkeys(each.hint for each in wrong)))
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
    """Wait until all are ready, and stay so for ``steady`` seconds; ``say`` hears what is waited for.

    Raises ``MissingDependency`` after ``timeout`` seconds.
    """
    since = clock.monotonic()
    deadline, told = since + timeout, set[str]()
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
        if waiting and waiting[0] not in told:  # the kubelet's words go back and forth
            told.add(waiting[0])
            say(f"Waiting: {waiting[0]}")
        clock.sleep(POLL)


def wait_for_sensor(cluster: KubernetesClient, clock: Clock, timeout: float, say: Callable[[str], None]) -> None:
    """Wait until the Sensor has its subscription, which then stays on the bus whatever is started anew.

    Without it, what a first EventSource tells of is lost, until the operator's next sweep finds it. So a Sensor that runs and
    does not say that it listens (another version may use other words) is no reason to stop. Raises as ``wait``.
    """
    name = events_name(cluster.namespace)
    wait(cluster, [(SENSOR, name)], clock, timeout, say)
    deadline = clock.monotonic() + LISTENS
    while not (heard := listens(cluster, name)) and clock.monotonic() < deadline:
        clock.sleep(POLL)
    say(f"{SENSOR.kind} {name}: {'listens' if heard else 'does not say that it listens'}")


def _what(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> str:
    if before is None:
        return "created"
    return "unchanged" if before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"] else "changed"
