"""The Workflow that a Model gets: its name, its arguments, its labels.

Whatever starts one (Sensor, operator, command) makes the same thin Workflow under the same name. The name is a pure function of
uid, generation and pipeline version: where two try, one succeeds, and the other finds that nothing is left to do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from crd.kubernetes_objects import ModelObject, WorkflowObject

TEMPLATE = "slipway-ingest"
PIPELINE_VERSION = "v1"  # a new version gives new names; what has finished is not run again, because the status says so
MODEL_LABEL = "slipway.dev/model"
UID_LABEL = "slipway.dev/uid"
GENERATION_LABEL = "slipway.dev/generation"

# Workflow parameter: field of the spec. Lists travel as JSON.
SPEC_PARAMETERS = {
    "source_kind": "sourceKind",
    "source": "source",
    "services": "services",
    "framework": "framework",
    "revision": "revision",
    "include": "include",
    "exclude": "exclude",
    "expected_set_digest": "expectedSetDigest",
    "builder": "builder",
}


def workflow_name(uid: str, generation: int) -> str:
    """The name of the Workflow for a generation of a Model.

    It is ``ingest-`` and 20 hex digits of SHA-256 over ``<uid>/<generation>/<pipeline version>``.
    """
    return f"ingest-{hashlib.sha256(f'{uid}/{generation}/{PIPELINE_VERSION}'.encode()).hexdigest()[:20]}"


def requested_services(spec: Mapping[str, object]) -> tuple[str, ...]:
    """The tasks that a stored spec names, ``auto`` among them, as far as it is one."""
    services = spec.get("services")
    return tuple(each for each in services if isinstance(each, str)) if isinstance(services, list) else ()


def workflow_parameters(name: str, spec: Mapping[str, object]) -> dict[str, str]:
    """The Workflow's arguments for a spec as the API server stores it; what is absent keeps the template's default."""
    given = {parameter: spec[field] for parameter, field in SPEC_PARAMETERS.items() if spec.get(field) is not None}
    return {"name": name} | {key: value if isinstance(value, str) else json.dumps(value) for key, value in given.items()}


def thin_workflow(model: ModelObject) -> WorkflowObject:
    """The Workflow of a stored Model: a reference to the template and arguments, and nothing else.

    It stays within what ``templateReferencing: Secure`` lets users set.
    """
    metadata = model["metadata"]
    name, uid, generation = metadata["name"], metadata["uid"], int(metadata["generation"])
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "name": workflow_name(uid, generation),
            "namespace": metadata["namespace"],
            "labels": {MODEL_LABEL: name, UID_LABEL: uid, GENERATION_LABEL: str(generation)},
        },
        "spec": {
            "workflowTemplateRef": {"name": TEMPLATE},
            "arguments": {
                "parameters": [{"name": key, "value": value} for key, value in workflow_parameters(name, model["spec"]).items()]
            },
        },
    }
