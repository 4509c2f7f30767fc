"""``slipway install``: Slipway in a cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from crd.kubernetes_client import KubernetesClient
from pipelines.commands.options import ContextOption, NamespaceOption
from pipelines.installation import Choices, install_manifests
from steps.core.clock import SystemClock
from steps.core.errors import ExitCode
from steps.store.supported import bucket_addresses


def install(
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    store: Annotated[str, typer.Option(help=f"Where the cluster keeps results: {bucket_addresses()}.")] = "",
    event_bus_url: Annotated[
        str, typer.Option(help="NATS server with JetStream to use, nats://HOST:PORT (default: one is started).")
    ] = "",
    registry: Annotated[str | None, typer.Option(help="Registry of Slipway's own images: REGISTRY/slipway/…")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Environment variable of all steps; can be repeated.")
    ] = None,
    timeout: Annotated[int, typer.Option(min=0, help="Seconds to wait until all is ready; 0 does not wait.")] = 300,
) -> int:
    """Install or upgrade Slipway in a cluster.

    Applies all manifests and waits until all is ready. What was set at an earlier installation stays unless it is named again.
    """
    choices = Choices.parse(settings or [], store=store, event_bus_url=event_bus_url, registry=registry)
    cluster = KubernetesClient.connect(namespace, context)
    install_manifests(cluster, choices, SystemClock(), timeout, lambda line: print(line, flush=True))
    return ExitCode.DONE
