"""``slipway logs``: what the steps of a run wrote; all at once, or live until the run ends."""

from __future__ import annotations

import functools
import sys
from typing import Annotated

import typer

from crd.kubernetes_client import KubernetesClient
from pipelines.cluster.logs import LogFollower, read_logs
from pipelines.cluster.runs import find_run
from pipelines.cluster.watch import wait_for_run
from pipelines.commands.options import ContextOption, NamespaceOption
from steps.core.errors import ExitCode


def logs(
    name: Annotated[str, typer.Argument(help="A Model or a Workflow.")],
    step: Annotated[str, typer.Argument(help="One step: fetch, or image-classification/smoke of a service.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print lines as they come, until the run ends.")] = False,
    namespace: NamespaceOption = "",
    context: ContextOption = "",
) -> int:
    """Print the logs of a run's steps.

    Argo deletes the pods of a run that succeeded; the records and the report of the run stay in the store.
    """
    cluster = KubernetesClient.connect(namespace, context)
    if follow:
        run = wait_for_run(cluster, name, LogFollower(cluster, step, functools.partial(print, flush=True)))
        print(f"{run.name}: {run.phase}", file=sys.stderr)
        return ExitCode.DONE
    for line in read_logs(cluster, find_run(cluster, name), step):
        print(line)
    return ExitCode.DONE
