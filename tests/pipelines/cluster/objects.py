"""Workflows and Models as the API server stores them, for the tests of runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from crd.kubernetes_objects import ModelObject, WorkflowObject
from crd.workflow import workflow_name
from pipelines.cluster.runs import ModelRun

NOW = datetime(2026, 11, 23, 20, 1, 0, tzinfo=UTC)


SERVICE = "image-classification"


REFUSED = '{"reason":"RevisionNotFound","message":"There is no next\\u001b[2J.","hint":"Name a branch.","retryable":false}'


def node(name: str, kind: str, phase: str, *, children: tuple[str, ...] = (), message: str = "", service: str = "") -> Any:
    """A node of a Workflow as Argo 3.7 writes it; its name serves as its id."""
    template = name.rpartition(".")[2].partition("(")[0].replace("onExit", "report")
    return {
        "id": name,
        "name": name,
        "displayName": name,
        "type": kind,
        "templateName": template,
        "phase": phase,
        "message": message,
        "startedAt": "2026-11-23T20:00:00Z",
        "finishedAt": "2026-11-23T20:00:05Z" if phase in ("Succeeded", "Failed", "Error") else None,
        "children": list(children),
        "inputs": {"parameters": [{"name": "service", "value": service}] if service else []},
    }


def step(name: str, phase: str, *tries: tuple[str, str], service: str = "") -> list[Any]:
    """A step's Retry node, and a pod for each try's phase and message."""
    pods = [node(f"{name}({number})", "Pod", pod, message=said, service=service) for number, (pod, said) in enumerate(tries)]
    return [node(name, "Retry", phase, children=tuple(pod["id"] for pod in pods), service=service), *pods]


def workflow(phase: str, *nodes: Any, message: str = "", name: str = "w") -> WorkflowObject:
    return {
        "metadata": {"name": name},
        "spec": {"arguments": {"parameters": [{"name": "services", "value": f'["{SERVICE}"]'}]}},
        "status": {"phase": phase, "message": message, "nodes": {each["id"]: each for each in nodes}},
    }


def model(*conditions: tuple[str, str, str], generation: int = 1, observed: int = 1, **status: Any) -> ModelObject:
    """A stored Model with conditions given as type, status and reason."""
    made = {
        "metadata": {"name": "m", "uid": "u", "generation": generation, "creationTimestamp": "2026-11-23T20:00:00Z"},
        "spec": {"services": [SERVICE], "sourceKind": "upload", "source": "/models/m"},
        "status": {
            "conditions": [
                {"type": kind, "status": state, "reason": reason, "message": "said", "observedGeneration": observed}
                for kind, state, reason in conditions
            ],
            **status,
        },
    }
    return cast(ModelObject, made)


def run(model: Any, workflow: Any) -> ModelRun:
    return ModelRun("m", workflow_name("u", 1), model, workflow)


READY = model(("Ready", "True", "Succeeded"))


STALLED = model(
    ("Ready", "False", "NotLfs"),
    ("Stalled", "True", "NotLfs"),
    lastFailure={"step": "fetch", "reason": "NotLfs", "message": "No LFS.", "hint": "Use it.", "retryable": False},
)


SUCCEEDED, FAILED, RUNNING = workflow("Succeeded"), workflow("Failed"), workflow("Running")
