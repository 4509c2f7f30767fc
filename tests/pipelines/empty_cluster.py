"""A cluster in memory that has Argo and nothing of Slipway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from crd.kubernetes_client import KubernetesClient, ObjectT
from crd.kubernetes_objects import KubernetesObject
from crd.resource_kinds import DEPLOYMENT, AnyKind, ResourceKind, kind_of
from pipelines.cluster.readiness import SUBSCRIBED
from pipelines.installation import (
    Choices,
    install_manifests,
)
from tests.conftest import FakeClock


@dataclass(frozen=True)
class Empty(KubernetesClient):
    """A cluster with Argo and nothing else, where all is ready at once; but the Sensor listens after ``listens`` seconds."""

    clock: FakeClock = field(default_factory=FakeClock)
    listens: float = 0
    objects: dict[tuple[AnyKind, str], dict[str, Any]] = field(default_factory=dict)
    applied: dict[str, float] = field(default_factory=dict)  # when the last object of each kind was

    def serves(self, kind: AnyKind) -> bool:
        return True

    def find(self, kind: ResourceKind[ObjectT], name: str) -> ObjectT | None:
        return cast("ObjectT | None", self.objects.get((kind, name)))

    def apply(self, manifest: Mapping[str, Any]) -> KubernetesObject:
        kind, name = kind_of(manifest), manifest["metadata"]["name"]
        conditions = [{"type": "Established", "status": "True"}]
        numbers = dict.fromkeys(("observedGeneration", "replicas", "updatedReplicas", "availableReplicas"), 1)
        metadata = {**manifest["metadata"], "generation": 1, "resourceVersion": "1"}
        self.objects[kind, name] = {**manifest, "metadata": metadata, "status": {"conditions": conditions, **numbers}}
        self.applied[kind.kind] = self.clock.monotonic()
        return cast(KubernetesObject, self.objects[kind, name])

    def list_objects(self, kind: ResourceKind[ObjectT], *, labels: str = "", all_namespaces: bool = False) -> list[ObjectT]:
        if kind == DEPLOYMENT:
            return cast(list[ObjectT], [found for (each, _), found in self.objects.items() if each == kind])
        pods = [{"metadata": {"name": "sensor"}}] if labels == "sensor-name=here-models" else []
        return cast(list[ObjectT], pods)

    def read_log(self, pod: str) -> list[str]:
        return [f'{{"msg":"{SUBSCRIBED} default.here-models.model"}}'] if self.clock.monotonic() >= self.listens else ["…"]

    def install(self, timeout: float, **settings: str) -> list[str]:
        said: list[str] = []
        install_manifests(self, Choices(settings), self.clock, timeout, said.append)
        return said


def empty(listens: float) -> Empty:
    return Empty("here", "", "", "", None, listens=listens)
