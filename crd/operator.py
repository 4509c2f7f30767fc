"""The operator: watches Models and their Workflows, writes every status, and starts the Workflow that an event was lost for.

    kopf run crd/operator.py --verbose -n NAMESPACE         on a laptop, with KUBECONFIG

The handlers only say when to look; what is looked at and done stands in ``crd.reconcile``, and what a status says in
``crd.observe``. The operator remembers nothing: it may be killed at any time, and what is left undone is done by the next look.
Rights: ``pipelines.access``; how it runs in the cluster: ``pipelines.operator_manifest``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

import kopf

from crd.cluster import MODELS, WORKFLOWS, connect
from crd.reconcile import follow, reconcile, stop_all
from crd.workflow import MODEL_LABEL, UID_LABEL

# How often an unfinished Model is looked at though nothing was heard, and how long a Model must have been left alone before its
# Workflow is created here: normally the Sensor has done so by then.
RESYNC = float(os.environ.get("SLIPWAY_RESYNC_SECONDS", "60"))
HEAD_START = float(os.environ.get("SLIPWAY_HEAD_START_SECONDS", "10"))
THREADS = 8

cluster = functools.cache(connect)


class NoDiffBase(kopf.DiffBaseStorage):
    """Keeps no copy of the last object in the object: no handler here asks what changed."""

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        del body
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        pass


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Ends the operator where it can do nothing: no way to the API server, or no Models in it."""
    settings.persistence.finalizer = "slipway.dev/stop-workflow"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="slipway.dev")
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.peering.standalone = True
    settings.posting.enabled = False  # events are this operator's own, see crd.events
    settings.scanning.disabled = True  # needs rights on CRDs and namespaces, to notice what never changes here
    settings.watching.label_selectors[WORKFLOWS] = UID_LABEL
    settings.networking.request_timeout = 30
    settings.execution.max_workers = THREADS
    cluster()


def unfinished(meta: Mapping[str, Any], status: Mapping[str, Any], **_: Any) -> bool:
    """Whether there is something to wait for."""
    finished = status.get("finishedGeneration", 0)
    return not isinstance(finished, int) or finished < meta.get("generation", 0)


@kopf.on.event(*MODELS)
def model_changed(type: str, namespace: str | None, name: str, **_: Any) -> None:
    """Any change, and every Model when the operator starts: a new generation gets a status of its own at once."""
    if type != "DELETED":
        reconcile(cluster(), namespace or "", name)


@kopf.on.event(*WORKFLOWS, labels={UID_LABEL: kopf.PRESENT, MODEL_LABEL: kopf.PRESENT})
def workflow_changed(body: kopf.Body, **_: Any) -> None:
    """Any change of a Model's Workflow, its disappearance included."""
    follow(cluster(), body)


@kopf.timer(*MODELS, interval=RESYNC, idle=HEAD_START, when=unfinished, retries=3, backoff=RESYNC)
def model_waits(namespace: str | None, name: str, **_: Any) -> None:
    """The safety net: looks again at what is not finished, and creates the Workflow that is not there."""
    reconcile(cluster(), namespace or "", name, start=True)


@kopf.on.delete(*MODELS, retries=5, backoff=5, timeout=60)
def model_deleted(namespace: str | None, uid: str, **_: Any) -> None:
    """The finalizer: stops what runs for the Model. After some tries it gives up: an orphan is stopped when it is seen."""
    stop_all(cluster(), namespace or "", uid)
