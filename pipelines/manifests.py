"""The manifests as files: rendered here, checked in, applied with ``kubectl apply -k pipelines/manifests``.

``python -m pipelines.manifests`` writes them again; a test compares what is checked in with what this makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import yaml

from crd.kubernetes_objects import Manifest
from pipelines.access import access
from pipelines.events import events
from pipelines.installation import FOLDER, KUSTOMIZATION
from pipelines.names import LABELS, NAMESPACE, SETTINGS
from pipelines.operator import operator_manifests
from pipelines.workflow_template import workflow_template
from steps.core.settings import variable

HEADER = "# Made by `make manifests`; change the Python it comes from instead.\n"


def settings() -> Manifest:
    """Return the ConfigMap of the settings, which every step reads as environment variables."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": SETTINGS, "labels": LABELS},
        # A pod looks at a build in Cloud Build for a minute at most, and does not wait for its end.
        "data": {variable("store"): "gs://slipway", variable("build_wait"): "60"},
    }


def namespace() -> Manifest:
    """Return the namespace, which refuses any pod with more privileges than Pod Security ``restricted`` allows."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {**LABELS, "pod-security.kubernetes.io/enforce": "restricted"}},
    }


def files() -> Mapping[str, Sequence[Manifest]]:
    """Return all manifests by file name, in the order in which they must be applied."""
    return {
        "namespace.yaml": [namespace()],
        "access.yaml": access(),
        "settings.yaml": [settings()],
        "workflowtemplate.yaml": [workflow_template().to_dict()],
        "operator.yaml": operator_manifests(),
        "events.yaml": events(NAMESPACE),
    }


def render() -> Mapping[str, str]:
    """Return the text of every file in ``manifests/``, the kustomization included."""
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

    def ignore_aliases(self, data: object) -> bool:
        return True


def dump_all(documents: Sequence[Manifest]) -> str:
    """Return the documents as YAML, each value written out."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=120)


def write() -> None:
    """Write all files, and delete the others in their folder."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.iterdir():
        path.unlink()
    for name, text in render().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    write()
