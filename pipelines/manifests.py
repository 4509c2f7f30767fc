"""The manifests as files: rendered here, checked in, applied with ``kubectl apply -k pipelines/manifests``.

``python -m pipelines.manifests`` writes them anew; a test compares what is checked in with what this makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from pipelines.access import access
from pipelines.events import events
from pipelines.installation import FOLDER, KUSTOMIZATION
from pipelines.names import LABELS, NAMESPACE, SETTINGS
from pipelines.operator import operator_manifests
from pipelines.workflow_template import workflow_template
from steps.core.settings import variable

HEADER = "# Made by `make manifests`; change the Python it comes from instead.\n"


def settings() -> dict[str, Any]:
    """What an installation decides: read by every step as environment variables."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": SETTINGS, "labels": LABELS},
        # A pod looks at a build that goes on elsewhere, and does not wait for its end.
        "data": {variable("store"): "gs://slipway", variable("build_wait"): "60"},
    }


def namespace() -> dict[str, Any]:
    """The namespace, which refuses any pod that could be more than the steps are."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {**LABELS, "pod-security.kubernetes.io/enforce": "restricted"}},
    }


def files() -> Mapping[str, Sequence[dict[str, Any]]]:
    """All manifests by file name, in the order in which they must be applied."""
    return {
        "namespace.yaml": [namespace()],
        "access.yaml": access(),
        "settings.yaml": [settings()],
        "workflowtemplate.yaml": [workflow_template().to_dict()],
        "operator.yaml": operator_manifests(),
        "events.yaml": events(NAMESPACE),
    }


def render() -> Mapping[str, str]:
    """The text of every file in ``manifests/``, the kustomization included."""
    texts = {name: HEADER + dump_all(documents) for name, documents in files().items()}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAMESPACE,
        "resources": ["../../crd/bases", *texts],
        "sortOptions": {"order": "fifo"},  # by itself kustomize would put the EventSource before the Sensor
    }
    return {**texts, KUSTOMIZATION: HEADER + dump_all([kustomization])}


class _Dumper(yaml.SafeDumper):
    """Without anchors: what stands twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump_all(documents: Sequence[dict[str, Any]]) -> str:
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=120)


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.iterdir():
        path.unlink()
    for name, text in render().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    write()
