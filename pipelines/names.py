"""Names of the Kubernetes objects that Slipway installs, each written down once.

``crd.workflow`` has the names that operator and Sensor must agree on: of the WorkflowTemplate, of Workflows and their labels.
Everything else that a manifest, ``slipway install`` or ``slipway doctor`` names is here. This module needs no other package, so
that a name costs nobody an import of Hera or of the Kubernetes client.
"""

from __future__ import annotations

from collections.abc import Mapping

NAMESPACE = "slipway"  # of the manifests that are checked in
PART_OF_LABEL = "app.kubernetes.io/part-of"
NAME_LABEL = "app.kubernetes.io/name"
VERSION_LABEL = "app.kubernetes.io/version"
LABELS: Mapping[str, str] = {PART_OF_LABEL: "slipway"}  # on every object

# Container images, without the registry that an installation may put before them.
IMAGE = "slipway/{image}:{version}"
USER_ID = 10001  # of user and group in every image and pod

# What an installation decides: a ConfigMap that is the environment of every step.
SETTINGS = "slipway-settings"
REGISTRY_ANNOTATION = "slipway.dev/registry"  # of that ConfigMap: the registry that Slipway's own images come from

# Secrets, both optional, and the folder that a step finds their files in.
CREDENTIALS_SECRET = "slipway-credentials"
REGISTRY_SECRET = "slipway-registry"
SECRETS_FOLDER = "/etc/slipway"
CREDENTIALS_FOLDER = f"{SECRETS_FOLDER}/credentials"
REGISTRY_FOLDER = f"{SECRETS_FOLDER}/registry"

# Service accounts, see ``pipelines.access``.
STEPS_ACCOUNT = "slipway-steps"
EXECUTOR_ACCOUNT = "slipway-executor"
SENSOR_ACCOUNT = "slipway-sensor"
EVENT_SOURCE_ACCOUNT = "slipway-eventsource"
OPERATOR_ACCOUNT = "slipway-operator"

OPERATOR = "slipway-operator"  # the Deployment
EVENT_BUS = "default"  # what EventSources and Sensors use when they name none


def events_name(namespace: str) -> str:
    """The name of the Sensor and of the EventSource of a namespace.

    On an event bus that several namespaces share, nothing but these names keeps their events apart.
    """
    return f"{namespace}-models"
