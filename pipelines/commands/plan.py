"""``slipway plan``: what a run would fetch, without fetching it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crd.manifest import read_manifest
from crd.types import Model
from pipelines.commands.options import JsonOption, ManifestOption, StoreOption
from pipelines.disk_space import disks, require_space
from pipelines.display.console import open_console
from pipelines.preflight import Check, check_run, require, scratch_of
from steps.command.context import open_context
from steps.core.contract import Context
from steps.core.errors import ExitCode, SlipwayError
from steps.core.progress import PlainProgress, Progress
from steps.core.settings import read_settings
from steps.core.text import format_bytes, printable
from steps.fetch import FetchInputs, check_survey, keys_and_sizes, source_of
from steps.gate.json_files import architectures, check_json
from steps.images.builders.supported import configured_builder
from steps.sources.base import Survey
from steps.sources.choose import WEIGHTS_FORMAT, Choice
from steps.store.supported import open_store


def plan(file: ManifestOption, store: StoreOption = "", as_json: JsonOption = False) -> int:
    """Show what a run would fetch, without fetching it.

    It lists the files with their sizes, which of them would be fetched, and why; no weights are downloaded. Below stands what a
    run needs on this machine: libraries, store, builder, registry, disk space. The exit code is that of the first thing that is
    missing.
    """
    model = read_manifest(file)
    progress = Progress() if as_json else PlainProgress(sys.stderr)
    store = store or read_settings().store
    context = open_context(store, "", progress)
    checks = check_run(model, store)
    if any(check.failure and check.what.startswith("source ") for check in checks):
        require(checks)  # there is nothing to plan
    survey = survey_model(model, context)
    checks.append(check_disks(model, store, survey))
    if as_json:
        print(json.dumps({**describe_plan(model, survey), "checks": describe_checks(checks)}, indent=1))
    else:
        print_plan(model, survey, open_console(sys.stdout))
        print_checks(checks, open_console(sys.stdout))
    return next((check.failure.reason.exit_code for check in checks if check.failure), ExitCode.DONE)


def check_disks(model: Model, store: str, survey: Survey) -> Check:
    """Compare what a run of all the services would keep and need with the disks of this machine."""
    opened = open_store(store)
    builder = model.spec.builder or configured_builder(read_settings())
    services = len(check_survey(survey, model.spec.services))
    found = disks(keys_and_sizes(survey.choice), opened, scratch_of(opened), services, builder.builder)
    try:
        require_space(found)
    except SlipwayError as error:
        return Check("disk space", failure=error)
    return Check("disk space", "; ".join(map(str, found)))


def describe_checks(checks: Sequence[Check]) -> list[dict[str, object]]:
    """Return the checks as JSON."""
    return [
        {
            "what": check.what,
            "good": check.failure is None,
            "detail": check.failure.message if check.failure else check.detail,
            "reason": check.failure.reason if check.failure else "",
            "hint": check.failure.hint if check.failure else "",
        }
        for check in checks
    ]


def print_checks(checks: Sequence[Check], console: Console) -> None:
    """Print what a run would need here, and how to get what is missing."""
    console.print("\n[bold]What a run needs here[/bold]")
    for check in checks:
        mark = "[green]✓[/]" if check.failure is None else "[red]✗[/]"
        detail = f"{check.failure.reason}: {check.failure.message}" if check.failure else check.detail
        console.print(f"{mark} {escape(check.what)}: {escape(detail)}", soft_wrap=True)
        if check.failure:
            console.print(f"    {escape(check.failure.hint)}", soft_wrap=True)


def survey_model(model: Model, context: Context) -> Survey:
    """List the source, choose the files, and check ``config.json``; no weights are downloaded. Raises what ``fetch`` would."""
    spec = model.spec
    inputs = FetchInputs(
        source_kind=spec.source_kind,
        source=spec.source,
        revision=spec.revision,
        include=spec.include,
        exclude=spec.exclude,
        services=spec.services,
    )
    with source_of(inputs, context) as source:
        survey = source.survey()
    check_survey(survey, spec.services)
    return survey


def describe_plan(model: Model, survey: Survey) -> dict[str, object]:
    """Return the plan as JSON; sizes are bytes."""
    choice = survey.choice
    return {
        "name": model.metadata.name,
        "source": model.spec.source,
        "revision": survey.revision,
        "architectures": _architectures(survey),
        "format": WEIGHTS_FORMAT,
        "bytes": choice.size,
        "leftBytes": choice.left_size,
        "files": [{"path": file.path, "bytes": file.size, "stored": file.stored, "why": why} for file, why in choice.taken],
        "left": [{"path": file.path, "bytes": file.size if file.size_known else None, "why": why} for file, why in choice.left],
        "services": list(check_survey(survey, model.spec.services)),
    }


def print_plan(model: Model, survey: Survey, console: Console) -> None:
    """Print the plan for a person."""
    choice = survey.choice
    where = f" at commit {survey.revision}" if survey.revision else ""
    console.print(f"[bold]{escape(model.metadata.name)}[/bold] from {escape(model.spec.source)}{where}", soft_wrap=True)
    services = ", ".join(check_survey(survey, model.spec.services))
    console.print(f"{', '.join(_architectures(survey)) or 'architecture not known yet'}: {services}\n")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", overflow="fold")
    table.add_column("size", justify="right")
    table.add_column("why")
    for file, why in choice.taken:
        table.add_row(escape(printable(file.path)), format_bytes(file.size), f"[green]fetched[/green]: {why}")
    for file, why in choice.left:
        table.add_row(
            f"[dim]{escape(printable(file.path))}[/dim]",
            f"[dim]{format_bytes(file.size) if file.size_known else '?'}[/dim]",
            f"[dim]not fetched: {escape(why)}[/dim]",
        )
    console.print(table)
    console.print(
        f"\nWould fetch {len(choice.taken)} files, {format_bytes(choice.size)}: the weights once, as {WEIGHTS_FORMAT} "
        f"(the only format that holds no code). Would not fetch {len(choice.left)} files, {_left_size(choice)}."
    )


def _architectures(survey: Survey) -> list[str]:
    config = survey.texts.get("config.json")
    return list(architectures(check_json("config.json", config))) if config is not None else []


def _left_size(choice: Choice) -> str:
    """The size of what is left: a file in Git itself that nobody takes is not asked for its size."""
    known = format_bytes(choice.left_size)
    return known if all(file.size_known for file, _ in choice.left) else f"more than {known}"
