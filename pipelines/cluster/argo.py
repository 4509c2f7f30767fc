"""Argo: how to get the versions that Slipway is tested with, and its program, which retries a Workflow.

Which nodes of a failed Workflow must go, and which only change their phase, is several hundred lines inside Argo, and they
change with its versions. The program needs no Argo Server.
"""

from __future__ import annotations

import shutil

from crd.kubernetes_client import KubernetesClient
from pipelines.cluster.runs import ModelRun
from steps.core.environment import for_kubernetes_program
from steps.core.errors import Reason, SlipwayError
from steps.core.process import capture
from steps.core.text import display_text

PROGRAM = "argo"
INSTALL_HINT = "Install it: https://github.com/argoproj/argo-workflows/releases/tag/v3.7.15"
INSTALL_WORKFLOWS = (
    "kubectl create namespace argo; kubectl apply --server-side -n argo "
    "-f https://github.com/argoproj/argo-workflows/releases/download/v3.7.15/install.yaml"
)
INSTALL_EVENTS = (
    "kubectl create namespace argo-events; kubectl apply --server-side "
    "-f https://raw.githubusercontent.com/argoproj/argo-events/v1.9.10/manifests/install.yaml"
)


def retry_workflow(cluster: KubernetesClient, run: ModelRun) -> None:
    """Let the run's failed Workflow go on where it failed.

    Raises:
        SlipwayError: ``InvalidInput`` for a run that has not failed or that Argo refuses, ``MissingDependency`` without the
            program ``argo``, ``AccessDenied`` where a right is missing.
    """
    if run.workflow is None:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"{run.name} has no Workflow to retry: {run.workflow_name} was deleted, or does not exist yet.",
            hint=f"Start again: `kubectl -n {cluster.namespace} delete model {run.name}`, then `slipway submit`. "
            "Steps that were done find their work in the store.",
        )
    if run.workflow.get("status", {}).get("phase") not in ("Failed", "Error"):
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"{run.name} has not failed: its Workflow {run.workflow_name} is {str(run.phase).lower()}.",
            hint="Only a failed run can be retried. `slipway submit` starts one for a changed Model.",
        )
    if shutil.which(PROGRAM) is None:
        raise SlipwayError(
            Reason.MISSING_DEPENDENCY,
            "The program argo is not installed, and it is what retries a Workflow.",
            hint=f"{INSTALL_HINT}, or press Retry at the Workflow {run.workflow_name} in the Argo UI, "
            "or delete the Model and submit it again: steps that were done find their work in the store.",
        )
    command = [PROGRAM, "retry", "-n", cluster.namespace, *(["--context", cluster.context] if cluster.context else [])]
    done = capture([*command, run.workflow_name, "-o", "name"], for_kubernetes_program())
    if done.exit_code != 0:
        message = display_text(" ".join(done.stderr.decode(errors="replace").split()), 1000)
        reason = Reason.ACCESS_DENIED if "forbidden" in message else Reason.INVALID_INPUT
        raise SlipwayError(reason, f"argo retry refused: {message}", hint=f"By hand: {' '.join(command)} {run.workflow_name}")
