"""Workflows as Argo 3.7.15 left them on a real cluster, and Models to go with them.

``workflows/*.json`` hold what the operator reads of each. Some ran the pipeline's own template, with steps that reported what
real ones would; the others are a single pod. Times, names and messages are Argo's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from crd.kubernetes_objects import ModelObject, ModelStatusObject, NodeObject, WorkflowObject
from crd.status import ModelStatus
from crd.workflow import workflow_name

FOLDER = Path(__file__).parent / "workflows"
TASKS = ("text-classification", "image-classification")
UID = "0c5f8f0a-9a5b-4c86-8f0f-2d8a50a3a1f1"


def workflow(name: str, *, of: ModelObject | None = None) -> WorkflowObject:
    """A recorded Workflow; with ``of``, under the name and labels that it would have for that Model."""
    text = (FOLDER / f"{name}.json").read_text()
    found = cast(WorkflowObject, json.loads(text))
    if of is not None:
        metadata = of["metadata"]
        new = workflow_name(metadata["uid"], metadata["generation"])
        found = cast(WorkflowObject, json.loads(text.replace(found["metadata"]["name"], new)))
        found["metadata"]["labels"] = {
            "slipway.dev/model": metadata["name"],
            "slipway.dev/uid": metadata["uid"],
            "slipway.dev/generation": str(metadata["generation"]),
        }
    return found


def model(
    *,
    generation: int = 1,
    uid: str = UID,
    status: ModelStatus | None = None,
    services: tuple[str, ...] = TASKS,
    builder: str | None = None,
) -> ModelObject:
    """A Model as the API server stores it."""
    spec: dict[str, object] = {"services": list(services), "sourceKind": "git_lfs", "source": "https://example.org/m"}
    if builder is not None:
        spec["builder"] = builder
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "Model",
        "metadata": {"name": "m", "namespace": "lab", "uid": uid, "generation": generation, "resourceVersion": "1"},
        "spec": spec,
        "status": cast(ModelStatusObject, status.model_dump(mode="json", by_alias=True) if status else {}),
    }


def nodes(found: WorkflowObject, step: str) -> list[NodeObject]:
    """The nodes of one step, to change them in place."""
    return [node for node in found["status"]["nodes"].values() if node.get("templateName") == step]
