"""``slipway retry``: the failed steps of a run once more, in the same Workflow; what is done stays done."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from crd.kubernetes_client import KubernetesClient
from pipelines.cluster.argo import retry_workflow
from pipelines.cluster.runs import find_run
from pipelines.commands.options import ContextOption, JsonOption, NamespaceOption, WatchOption
from pipelines.commands.watching import watch_run
from steps.core.errors import ExitCode


def retry(
    name: Annotated[str, typer.Argument(help="A Model or a Workflow whose run failed.")],
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    watch: WatchOption = False,
    as_json: JsonOption = False,
) -> int:
    """Repeat the failed steps of a run.

    This is `argo retry`: steps that are done stay done. It needs the program `argo`.
    """
    cluster = KubernetesClient.connect(namespace, context)
    run = find_run(cluster, name)
    retry_workflow(cluster, run)
    print(f"The Workflow {run.workflow_name} goes on.", file=sys.stderr, flush=True)
    return watch_run(cluster, name, as_json=as_json) if watch else ExitCode.DONE
