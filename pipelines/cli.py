"""``slipway``: the command."""

from __future__ import annotations

import functools
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec

import typer
from rich.markup import escape

from crd.manifest import read_manifest
from pipelines import display, plan
from pipelines.local import run_model
from steps import __version__
from steps.errors import ExitCode, Reason, SlipwayError
from steps.main import DEFAULT_STORE, guarded, open_context
from steps.progress import PlainProgress, Progress
from steps.receipts import Failure
from steps.store import open_store

app = typer.Typer(
    name="slipway",
    help="From a model's name to a checked service: fetch, load, package, build, smoke-test.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

P = ParamSpec("P")

ManifestOption = Annotated[Path, typer.Option("--file", "-f", help="The manifest: a YAML file with one Model.")]
StoreOption = Annotated[
    str, typer.Option(envvar="SLIPWAY_STORE", help="Folder, file:///folder or gs://bucket/prefix that keeps the results.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output, for machines.")]


def command(function: Callable[P, int]) -> Callable[P, None]:
    """Make a function a command: what it returns is the exit code, and what it raises ends with its reason's code."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        # Also without a terminal's job control (`&` in a script), where SIGINT starts out ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise typer.Exit(guarded(lambda: function(*args, **kwargs)))

    app.command(name=function.__name__.rstrip("_"))(wrapped)
    return wrapped


@command
def run(file: ManifestOption, store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> int:
    """Take a model the whole way on this machine: a packaged, tested service for each of its tasks."""
    model = read_manifest(file)
    observer = display.open_display(as_json=as_json)
    outcome = run_model(model, store, observer)
    opened = open_store(store)
    if isinstance(observer, display.JsonDisplay):
        observer.say("result", **display.result(outcome, opened))
    else:
        display.print_outcome(outcome, opened, display.open_console(sys.stdout))
        for node, error in outcome.failures.items():
            display.print_failure(Failure.of(error), display.open_console(sys.stderr), node=node)
    return outcome.failure.reason.exit_code if outcome.failure else ExitCode.DONE


@command
def plan_(file: ManifestOption, store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> int:
    """Show what a run would fetch: files, bytes, the format chosen and why. Fetches no weights."""
    model = read_manifest(file)
    progress = Progress() if as_json else PlainProgress(sys.stderr)
    survey = plan.survey_model(model, open_context(store, "", progress))
    if as_json:
        print(json.dumps(plan.as_json(model, survey), indent=1))
    else:
        plan.print_plan(model, survey, display.open_console(sys.stdout))
    return ExitCode.DONE


@command
def serve(
    archive: Annotated[Path, typer.Argument(help="An archive that `slipway run` made.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 3000,
    sha256: Annotated[str, typer.Option(help="Refuse the archive unless it has this digest.")] = "",
) -> int:
    """Start a packaged service on this machine and say how to call it. Ctrl-C ends it."""
    from pipelines.serving import serve_archive

    console = display.open_console(sys.stdout)
    console.print(f"Checking {escape(str(archive))} and starting it …", soft_wrap=True)
    with serve_archive(archive, host=host, port=port, sha256=sha256.removeprefix("sha256:")) as running:
        about = running.about
        console.print(f"\n[bold]{escape(about['name'])}[/bold]: {escape(about['task'])} at {running.served.url}")
        console.print(f"set digest {escape(about['setDigest'])}\n", soft_wrap=True)
        print(running.curl, flush=True)
        console.print(f"\nTry it in a browser: {running.served.url}/   Ctrl-C ends it.")
        try:
            code = running.served.process.wait()
        except KeyboardInterrupt:
            console.print("Stopped.")
            return ExitCode.DONE
    raise SlipwayError(Reason.BOOT_FAILED, f"The service ended by itself with exit code {code}.")


@command
def tasks() -> int:
    """List the tasks that can be served."""
    from rich.table import Table

    from steps.tasks import TASKS

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("task", "also", "what it answers"):
        table.add_column(name)
    for task in TASKS.values():
        table.add_row(task.name, ", ".join(task.aliases), task.title)
    display.open_console(sys.stdout).print(table)
    return ExitCode.DONE


@command
def version() -> int:
    """Print Slipway's version."""
    print(__version__)
    return ExitCode.DONE


def main() -> None:
    """The entry point."""
    app()


if __name__ == "__main__":
    main()
