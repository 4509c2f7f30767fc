"""The operator: watches Models and their Workflows, writes every status, and starts the Workflow that an event was lost for.

    kopf run crd/operator.py --verbose -n NAMESPACE         on a laptop, with KUBECONFIG

The handlers only decide when to look at a Model; ``crd.reconcile`` has what is done then, and ``crd.observe`` what a status
says. The operator keeps no state of its own: it may be killed at any time, and what is left undone is done by the next look.
Rights: ``pipelines.access``; how it runs in the cluster: ``pipelines.operator``.
"""

from __future__ import annotations

import functools
import logging

import kopf

from crd.fitting import fit
from crd.kubernetes_client import KubernetesClient
from crd.kubernetes_objects import ModelObject, WorkflowObject
from crd.observe import is_waiting
from crd.reconcile import reconcile, reconcile_workflow, stop_workflows
from crd.resource_kinds import MODEL, WORKFLOW
from crd.workflow import MODEL_LABEL, UID_LABEL
from steps.core.settings import read_seconds

# Seconds between two looks at an unfinished Model that nothing was reported of, and seconds that a Model must have been left
# alone before its Workflow is created here: normally the Sensor has done so by then.
RESYNC = read_seconds("SLIPWAY_RESYNC_SECONDS", 60.0)
HEAD_START = read_seconds("SLIPWAY_HEAD_START_SECONDS", 10.0)
THREADS = 8
TIMEOUT = (5.0, 20.0)  # seconds to connect to the API server, and between two reads


@functools.cache
def _connection() -> KubernetesClient:
    """The one connection to the API server, made at the first request and shared by all threads."""
    return KubernetesClient.connect(timeout=TIMEOUT, field_manager="slipway-operator")


def _client(namespace: str | None) -> KubernetesClient:
    """The client for a namespace."""
    return _connection().in_namespace(namespace or "")


class NoDiffBase(kopf.DiffBaseStorage):
    """Keeps no copy of the last object in the object: no handler here needs to know what changed."""

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Return nothing: no copy is kept."""
        del body
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Store nothing."""


@kopf.on.startup(retries=12, backoff=5)
def configure(settings: kopf.OperatorSettings, **_: object) -> None:
    """Set kopf up, or end the operator where it can do nothing: in a pod it is then started again, until there is work.

    Raises:
        kopf.PermanentError: The cluster does not have Models or Workflows.
    """
    settings.persistence.finalizer = "slipway.dev/stop-workflow"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="slipway.dev")
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.peering.standalone = True
    settings.posting.enabled = False  # events are this operator's own, see crd.events
    settings.scanning.disabled = True  # needs rights on CRDs and namespaces, to notice what never changes here
    settings.watching.label_selectors[WORKFLOW.resource] = UID_LABEL
    settings.networking.request_timeout = 30
    settings.execution.max_workers = THREADS
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)  # the probes
    for kind in (MODEL, WORKFLOW):
        if not _connection().serves(kind):
            raise kopf.PermanentError(
                f"The cluster does not have {kind.plural}.{kind.group} yet. Install Argo Workflows, then run `slipway install`."
            )


def waits(body: kopf.Body, **_: object) -> bool:
    """Whether a Model is still to be run to its end. Of another one nothing is left to do, so nothing may hold it."""
    return is_waiting(fit(dict(body), ModelObject))


@kopf.on.event(*MODEL.resource)
def model_changed(type: str, namespace: str | None, name: str, uid: str, **_: object) -> None:
    """Handle any change of a Model, and every Model when the operator starts: a new generation gets its status at once."""
    if type == "DELETED":  # perhaps without the finalizer, which people remove by hand
        stop_workflows(_client(namespace), uid)
    else:
        reconcile(_client(namespace), name)


@kopf.on.event(*WORKFLOW.resource, labels={UID_LABEL: kopf.PRESENT, MODEL_LABEL: kopf.PRESENT})
def workflow_changed(body: kopf.Body, namespace: str | None, **_: object) -> None:
    """Handle any change of a Model's Workflow, its deletion included."""
    reconcile_workflow(_client(namespace), fit(dict(body), WorkflowObject))


@kopf.timer(*MODEL.resource, interval=RESYNC, idle=HEAD_START, when=waits, retries=3, backoff=RESYNC)
def model_waits(namespace: str | None, name: str, **_: object) -> None:
    """Look again at a Model that is not finished, and create its Workflow if it does not exist: the safety net."""
    reconcile(_client(namespace), name, start=True)


@kopf.on.delete(*MODEL.resource, when=waits, retries=5, backoff=5, timeout=60)
def model_deleted(namespace: str | None, uid: str, **_: object) -> None:
    """Stop what runs for a Model that is being deleted (its finalizer, which is there while a Model is unfinished).

    After some tries it gives up: a Workflow without a Model is stopped when it is next seen. A finished Model can be deleted
    while no operator runs.
    """
    stop_workflows(_client(namespace), uid)
