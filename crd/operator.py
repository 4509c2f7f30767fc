"""The operator: watches Models and their Workflows, writes every status, and starts the Workflow that an event was lost for.

    kopf run crd/operator.py --verbose -n NAMESPACE         on a laptop, with KUBECONFIG

The handlers only say when to look; what is looked at and done stands in ``crd.reconcile``, and what a status says in
``crd.observe``. The operator remembers nothing: it may be killed at any time, and what is left undone is done by the next look.
Rights: ``pipelines.access``; how it runs in the cluster: ``pipelines.operator``.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Mapping
from typing import Any

import kopf

from crd.api_server import MODELS, WORKFLOWS, connect
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


@kopf.on.startup(retries=12, backoff=5)
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Ends the operator where it can do nothing. In a pod it is then started again, until there is something to do."""
    settings.persistence.finalizer = "slipway.dev/stop-workflow"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="slipway.dev")
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.peering.standalone = True
    settings.posting.enabled = False  # events are this operator's own, see crd.events
    settings.scanning.disabled = True  # needs rights on CRDs and namespaces, to notice what never changes here
    settings.watching.label_selectors[WORKFLOWS] = UID_LABEL
    settings.networking.request_timeout = 30
    settings.execution.max_workers = THREADS
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)  # the probes
    logging.getLogger("kubernetes.client.rest").setLevel(logging.INFO)  # whole bodies of answers, with --verbose
    for kind in (MODELS, WORKFLOWS):
        if not cluster().serves(kind):
            raise kopf.PermanentError(f"The cluster has no {kind.plural}.{kind.group} yet: install Argo Workflows and Slipway.")


def unfinished(meta: Mapping[str, Any], status: Mapping[str, Any], **_: Any) -> bool:
    """Whether there is something to wait for."""
    finished = status.get("finishedGeneration", 0)
    return not isinstance(finished, int) or finished < meta.get("generation", 0)


@kopf.on.event(*MODELS)
def model_changed(type: str, namespace: str | None, name: str, uid: str, **_: Any) -> None:
    """Any change, and every Model when the operator starts: a new generation gets a status of its own at once."""
    if type == "DELETED":  # perhaps without the finalizer, which people remove by hand
        stop_all(cluster(), namespace or "", uid)
    else:
        reconcile(cluster(), namespace or "", name)


@kopf.on.event(*WORKFLOWS, labels={UID_LABEL: kopf.PRESENT, MODEL_LABEL: kopf.PRESENT})
def workflow_changed(body: kopf.Body, **_: Any) -> None:
    """Any change of a Model's Workflow, its disappearance included."""
    follow(cluster(), body)


@kopf.timer(*MODELS, interval=RESYNC, idle=HEAD_START, when=unfinished, retries=3, backoff=RESYNC)
def model_waits(namespace: str | None, name: str, **_: Any) -> None:
    """The safety net: looks again at what is not finished, and creates the Workflow that is not there."""
    reconcile(cluster(), namespace or "", name, start=True)


@kopf.on.delete(*MODELS, when=unfinished, retries=5, backoff=5, timeout=60)
def model_deleted(namespace: str | None, uid: str, **_: Any) -> None:
    """The finalizer, which is there while a Model is unfinished: stops what runs for it.

    After some tries it gives up: an orphan is stopped when it is seen. A finished Model goes without an operator.
    """
    stop_all(cluster(), namespace or "", uid)
