"""Flags that several verbs share, so that they read the same in each ``--help``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.names import NAMESPACE
from steps.store.supported import addresses

ManifestOption = Annotated[Path, typer.Option("--file", "-f", help="The manifest: a YAML file with one Model.")]
StoreOption = Annotated[str, typer.Option(help=f"Where results are kept: {addresses()} (default: from the settings).")]
NamespaceOption = Annotated[
    str, typer.Option("--namespace", "-n", envvar="SLIPWAY_NAMESPACE", help=f"Namespace in the cluster (default: {NAMESPACE}).")
]
ContextOption = Annotated[str, typer.Option(help="Context of KUBECONFIG (default: the current one).")]
WatchOption = Annotated[bool, typer.Option("--watch", help="Show the steps until the run ends; exit with the failure's code.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
