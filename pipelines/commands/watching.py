"""What ``--watch`` does: show a run in the cluster until it ends."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from crd.kubernetes_client import KubernetesClient
from pipelines.cluster.watch import wait_for_run
from pipelines.display.console import open_console
from pipelines.display.open import open_view
from pipelines.display.tables import print_run
from steps.core.errors import ExitCode


def watch_run(cluster: KubernetesClient, name: str, *, as_json: bool) -> int:
    """Show the run of a Model or a Workflow until it ends, then print it in full.

    Returns the exit code of the step that failed, or 0.
    """
    run = wait_for_run(cluster, name, open_view(as_json=as_json))
    if not as_json:
        print_run(run, open_console(sys.stdout), datetime.now(UTC))
    return run.failure[1].reason.exit_code if run.failure else ExitCode.DONE
