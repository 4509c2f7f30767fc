"""``slipway status``: all Models as a table, or one run in full: conditions, services, steps, and the last failure."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from crd.kubernetes_client import KubernetesClient
from crd.resource_kinds import MODEL
from pipelines.cluster.runs import find_run
from pipelines.commands.options import ContextOption, JsonOption, NamespaceOption
from pipelines.display.console import open_console
from pipelines.display.json_lines import describe_model, describe_run
from pipelines.display.tables import models_table, print_run
from steps.core.errors import ExitCode


def status(
    name: Annotated[str, typer.Argument(help="A Model or a Workflow (default: all Models).")] = "",
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    as_json: JsonOption = False,
) -> int:
    """Show all Models of the cluster, or one run in full.

    Of all Models it shows whether they are ready, why not, and the commit. Of one it shows the conditions, the services with
    their digests, the steps and the last failure.
    """
    cluster = KubernetesClient.connect(namespace, context)
    console, now = open_console(sys.stdout), datetime.now(UTC)
    if not name:
        show_models(cluster, console, now, as_json=as_json)
    elif as_json:
        print(json.dumps(describe_run(find_run(cluster, name), now), indent=1))
    else:
        print_run(find_run(cluster, name), console, now)
    return ExitCode.DONE


def show_models(cluster: KubernetesClient, console: Console, now: datetime, *, as_json: bool) -> None:
    """Print all Models of the namespace."""
    models = cluster.list_objects(MODEL)
    if as_json:
        print(json.dumps([describe_model(model, now) for model in models], indent=1))
    elif models:
        console.print(models_table(models, now))
    else:
        console.print(f"No Models in the namespace {cluster.namespace}. `slipway submit -f model.yaml` creates one.")
