"""EventBus, EventSource and Sensor of Argo Events, which start a Workflow for each new generation of a Model.

The EventSource sends an event for every Model that is added or changed and, after a restart, for every Model that exists. The
Sensor decides which events need a run, and creates the same Workflow under the same name as ``crd.workflow.thin_workflow``. An
event that comes twice starts no second run: the name is taken, or the generation is finished. A Model that no cluster can
build, or that the CRD would not let in today, is left to the operator, which reports it. The operator also finds the Models of
events that were lost.

Hera cannot write these objects (it drops a resource's group and an expression's fields), so they are plain manifests, for Argo
Events 1.9. The bus must be applied first and the EventSource last: a Sensor gets no event from before its first start.
"""

from __future__ import annotations

import json

from crd.kubernetes_objects import Manifest
from crd.types import API_VERSION
from crd.workflow import GENERATION_LABEL, MODEL_LABEL, PIPELINE_VERSION, SPEC_PARAMETERS, TEMPLATE, UID_LABEL
from pipelines import names
from pipelines.admission import accepts
from pipelines.names import LABELS, events_name
from pipelines.pod_security import CONTAINER_SECURITY, POD_SECURITY
from steps.images.builders.supported import IN_CLUSTER

BUS_VERSION = "2.10.29"  # of NATS; Argo Events 1.9.10 knows it
DEPENDENCY = "model"
# jq. An event has `body` (the Model), and for an update `oldBody`. A change of labels, annotations or status leaves the
# generation as it was. A list travels as `json.dumps` writes it, so that all who start a run write the same Workflow.
READ_EVENT = """\
.body as $model | .oldBody as $old | $model.metadata as $metadata
| (
    $metadata.deletionTimestamp == null
    and ($model.status | try .finishedGeneration catch 0 | numbers // 0) < $metadata.generation
    and ($old.metadata.uid != $metadata.uid or $old.metadata.generation != $metadata.generation)
    and ($model | {accepts})
    and ($model.spec.builder | IN({builders}))
  ) as $wanted
| if $wanted then {{
    wanted: $wanted,
    run: "\\($metadata.uid)/\\($metadata.generation)/{version}",
    labels: {{{labels}}},
    parameters: [
      {{name: "name", value: $metadata.name}},
      ({fields}[]
       | {{name: .[0], value: $model.spec[.[1]]}}
       | select(.value != null)
       | .value |= if type == "array" then "[" + (map(tojson) | join(", ")) + "]" else . end)
    ]
  }} else {{wanted: $wanted}} end
"""


def events(namespace: str, bus_url: str | None = None) -> list[Manifest]:
    """Return all three in the order in which they must be applied; see ``event_bus`` for ``bus_url``."""
    return [event_bus(bus_url), sensor(namespace), event_source(namespace)]


def event_bus(url: str | None = None) -> Manifest:
    """Return the EventBus: NATS pods that Argo Events runs or, with ``url``, a NATS server with JetStream that exists."""
    container = {"securityContext": CONTAINER_SECURITY}
    managed = {
        "version": BUS_VERSION,
        "metadata": {"labels": LABELS},
        "securityContext": POD_SECURITY,
        "containerTemplate": container,
        "reloaderContainerTemplate": container,
        "metricsContainerTemplate": container,
    }
    return _manifest("EventBus", names.EVENT_BUS, {"jetstreamExotic": {"url": url}} if url else {"jetstream": managed})


def event_source(namespace: str) -> Manifest:
    """Return the EventSource, which sends an event for every Model in ``namespace`` that is added or changed."""
    group, version = API_VERSION.split("/")
    models = {
        "namespace": namespace,
        "group": group,
        "version": version,
        "resource": "models",
        "eventTypes": ["ADD", "UPDATE"],
    }
    return _manifest(
        "EventSource", events_name(namespace), {"template": _pod(names.EVENT_SOURCE_ACCOUNT), "resource": {DEPENDENCY: models}}
    )


def sensor(namespace: str) -> Manifest:
    """Return the Sensor, which creates the Workflow of every Model whose generation is new."""
    dependency = {
        "name": DEPENDENCY,
        "eventSourceName": events_name(namespace),
        "eventName": DEPENDENCY,
        "transform": {"jq": read_event()},
        "filters": {"data": [{"path": "wanted", "type": "bool", "value": ["true"]}]},
    }
    workflow = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "", "labels": {}},
        "spec": {"workflowTemplateRef": {"name": TEMPLATE}, "arguments": {"parameters": []}},
    }
    trigger = {
        "template": {
            "name": "ingest",
            "k8s": {
                # Not `patch`, which accepts an object that exists: it needs the right to change any Workflow, and would undo
                # what a person gave `argo retry`. A name that is taken costs three attempts, 3 s, and their log lines.
                "operation": "create",
                "source": {"resource": workflow},
                "parameters": [
                    {
                        "src": {
                            "dependencyName": DEPENDENCY,
                            "dataTemplate": '{{ .Input.run | sha256sum | trunc 20 | printf "ingest-%s" }}',
                        },
                        "dest": "metadata.name",
                    },
                    _raw("labels", "metadata.labels"),
                    _raw("parameters", "spec.arguments.parameters"),
                ],
            },
        },
        # Without it nothing is retried, and an event is forgotten before its Workflow is there.
        "atLeastOnce": True,
        "retryStrategy": {"steps": 3, "duration": "1s", "factor": 2, "jitter": 0.1},
    }
    return _manifest(
        "Sensor",
        events_name(namespace),
        {"template": _pod(names.SENSOR_ACCOUNT), "dependencies": [dependency], "triggers": [trigger]},
    )


def read_event() -> str:
    """Return the jq program that makes of an event whether a run is needed, and the parts of the Workflow."""
    labels = {MODEL_LABEL: "$metadata.name", UID_LABEL: "$metadata.uid", GENERATION_LABEL: "($metadata.generation | tostring)"}
    return READ_EVENT.format(
        accepts=accepts(),
        version=PIPELINE_VERSION,
        builders=", ".join(json.dumps(each) for each in (None, *IN_CLUSTER)),
        labels=", ".join(f"{json.dumps(label)}: {value}" for label, value in labels.items()),
        fields=json.dumps(list(SPEC_PARAMETERS.items())),
    )


def _raw(key: str, dest: str) -> Manifest:
    return {"src": {"dependencyName": DEPENDENCY, "dataKey": key, "useRawData": True}, "dest": dest}


def _pod(account: str) -> Manifest:
    return {
        "metadata": {"labels": LABELS},
        "serviceAccountName": account,
        "securityContext": POD_SECURITY,
        "container": {
            "securityContext": CONTAINER_SECURITY,
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        },
    }


def _manifest(kind: str, name: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "labels": LABELS},
        "spec": spec,
    }
