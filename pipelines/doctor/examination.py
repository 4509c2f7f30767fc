"""All checks of ``slipway doctor`` in order, and how their findings are printed.

Nothing is changed anywhere, and no finding hides another: each check stands alone and has a limit of time, and what cannot be
found out says why. ``machine`` looks at what is installed, ``destinations`` at where the settings send results, images and
builds, ``cluster`` at what an installation has put there.
"""

from __future__ import annotations

import os

from rich.console import Console
from rich.markup import escape

from crd.kubernetes_client import KubernetesClient
from pipelines.configuration import check_here
from pipelines.doctor.cluster import in_cluster
from pipelines.doctor.destinations import destinations, settings_findings
from pipelines.doctor.finding import CLUSTER, Finding, within
from pipelines.doctor.machine import machine
from steps.core.errors import Reason, SlipwayError

__all__ = ["Finding", "examine", "print_findings"]


def examine(namespace: str, context: str, store: str) -> list[Finding]:
    """Return all findings, those of this machine first. ``store`` goes before what the settings say."""
    named = {"SLIPWAY_STORE": store} if store else {}
    settings, wrong = check_here({**os.environ, **named})
    found = [*machine(), *settings_findings(settings, wrong, by_flag=bool(store)), *destinations(settings)]
    try:
        cluster = within(lambda: KubernetesClient.connect(namespace, context))
    except TimeoutError as error:
        return [*found, Finding(CLUSTER, "API server", False, str(error), "Check KUBECONFIG and --context.")]
    except SlipwayError as error:
        configured = error.reason is not Reason.MISSING_DEPENDENCY
        return [*found, Finding(CLUSTER, "API server", False, error.message, error.hint, required=configured)]
    return [*found, *in_cluster(cluster)]


def print_findings(findings: list[Finding], console: Console) -> None:
    """Print one line for each finding, and below what is missing the command that fixes it."""
    part = ""
    for finding in findings:
        if finding.part != part:
            part = finding.part
            console.print(f"[bold]{part[0].upper()}{part[1:]}[/bold]")
        mark = "[green]✓[/]" if finding.good else "[red]✗[/]" if finding.required else "[yellow]✗[/]"
        optional = "" if finding.good or finding.required else " (not required)"
        detail = f": {escape(finding.detail)}" if finding.detail else ""
        console.print(f"{mark} {escape(finding.what)}{detail}{optional}", soft_wrap=True)
        if not finding.good and finding.fix:
            console.print(f"    {escape(finding.fix)}", soft_wrap=True)
