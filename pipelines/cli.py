"""``slipway``: the command."""

from __future__ import annotations

import functools
import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ParamSpec

import typer
from rich.markup import escape

from crd.kubernetes_client import DEFAULT_NAMESPACE, KubernetesClient
from crd.manifest import read_manifest
from pipelines.commands import plan
from pipelines.display import run as display
from pipelines.local import run_model
from steps import __version__
from steps.command.context import open_context
from steps.command.process import run_to_exit_code
from steps.core.clock import SystemClock
from steps.core.errors import ExitCode, Reason, SlipwayError, missing_extra
from steps.core.progress import PlainProgress, Progress
from steps.core.receipts import Failure
from steps.core.settings import read_settings
from steps.store.supported import addresses, bucket_addresses, open_store

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
StoreOption = Annotated[str, typer.Option(help=f"Where the results go: {addresses()} (default: what the settings say).")]
NamespaceOption = Annotated[
    str,
    typer.Option(
        "--namespace", "-n", envvar="SLIPWAY_NAMESPACE", help=f"Namespace in the cluster (default: {DEFAULT_NAMESPACE})."
    ),
]
ContextOption = Annotated[str, typer.Option(help="Context of KUBECONFIG; the current one without it.")]
WatchOption = Annotated[bool, typer.Option("--watch", help="Show the steps until the end; exit with the failure's code.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output, for machines.")]


def command(function: Callable[P, int]) -> Callable[P, None]:
    """Make a function a command: what it returns is the exit code, and what it raises ends with its reason's code."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        raise typer.Exit(run_to_exit_code(lambda: function(*args, **kwargs)))

    app.command(name=function.__name__.rstrip("_"))(wrapped)
    return wrapped


@command
def run(file: ManifestOption, store: StoreOption = "", as_json: JsonOption = False) -> int:
    """Take a model the whole way on this machine: a packaged, tested service for each of its tasks."""
    model = read_manifest(file)
    observer = display.open_display(as_json=as_json)
    store = store or read_settings().store
    outcome = run_model(model, store, observer)
    opened = open_store(store)
    if isinstance(observer, display.JsonDisplay):
        observer.say("result", **display.result(outcome, opened))
    else:
        display.print_outcome(outcome, opened, display.open_console(sys.stdout))
        for node, error in outcome.failures.items():
            display.print_failure(Failure.from_error(error), display.open_console(sys.stderr), node=node)
    return outcome.failure.reason.exit_code if outcome.failure else ExitCode.DONE


@command
def plan_(file: ManifestOption, store: StoreOption = "", as_json: JsonOption = False) -> int:
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
    from pipelines.commands.serve import serve_archive

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

    from steps.tasks.table import TASKS

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("task", "also", "what it answers"):
        table.add_column(name)
    for task in TASKS.values():
        table.add_row(task.name, ", ".join(task.aliases), task.title)
    display.open_console(sys.stdout).print(table)
    return ExitCode.DONE


@command
def submit(
    file: ManifestOption,
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    workflow: Annotated[bool, typer.Option("--workflow", help="Start a Workflow at once, without a Model.")] = False,
    watch: WatchOption = False,
    as_json: JsonOption = False,
) -> int:
    """Create the Model in the cluster, or change it to what the manifest says; the cluster takes it the whole way."""
    from pipelines.commands.submit import namespace_of, submit_model, submit_workflow
    from pipelines.commands.watch import follow

    model = read_manifest(file)
    cluster = KubernetesClient.connect(namespace_of(model, namespace), context)
    made = (submit_workflow if workflow else submit_model)(cluster, model)
    if as_json:
        print(json.dumps({"event": "submitted", "namespace": cluster.namespace, **asdict(made)}), flush=True)
    else:
        print(f"{made.kind} {made.name} {made.what} in the namespace {cluster.namespace}.", flush=True)
        if made.what == "unchanged":
            print(f"What is done is not run again. `slipway retry {made.name}` repeats a run that failed.", flush=True)
    return follow(cluster, made.name, as_json=as_json) if watch else ExitCode.DONE


@command
def status(
    name: Annotated[str, typer.Argument(help="A Model, or a Workflow; all Models without it.")] = "",
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    as_json: JsonOption = False,
) -> int:
    """Show what became of all Models, or of one in full."""
    from pipelines.cluster.runs import find_run
    from pipelines.commands.status import show_all, show_one

    cluster = KubernetesClient.connect(namespace, context)
    console, now = display.open_console(sys.stdout), datetime.now(UTC)
    if name:
        show_one(find_run(cluster, name), console, now, as_json=as_json)
    else:
        show_all(cluster, console, now, as_json=as_json)
    return ExitCode.DONE


@command
def logs(
    name: Annotated[str, typer.Argument(help="A Model, or a Workflow.")],
    step: Annotated[str, typer.Argument(help="One step: fetch, or image-classification/smoke in a branch.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Live, until the run ends.")] = False,
    namespace: NamespaceOption = "",
    context: ContextOption = "",
) -> int:
    """Print what the steps of a run wrote."""
    from pipelines.cluster.runs import find_run
    from pipelines.commands.logs import Follower
    from pipelines.commands.logs import logs as lines
    from pipelines.commands.watch import attend

    cluster = KubernetesClient.connect(namespace, context)
    if follow:
        run = attend(cluster, name, Follower(cluster, step, functools.partial(print, flush=True)))
        print(f"{run.name}: {run.phase}", file=sys.stderr)
        return ExitCode.DONE
    for line in lines(cluster, find_run(cluster, name), step):
        print(line)
    return ExitCode.DONE


@command
def retry(
    name: Annotated[str, typer.Argument(help="A Model, or a Workflow, whose run failed.")],
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    watch: WatchOption = False,
    as_json: JsonOption = False,
) -> int:
    """Do the failed steps of a run again (`argo retry`); what is done stays done."""
    from pipelines.cluster.runs import find_run
    from pipelines.commands.retry import retry as start_again
    from pipelines.commands.watch import follow

    cluster = KubernetesClient.connect(namespace, context)
    run = find_run(cluster, name)
    start_again(cluster, run)
    print(f"The Workflow {run.workflow_name} goes on.", file=sys.stderr, flush=True)
    return follow(cluster, name, as_json=as_json) if watch else ExitCode.DONE


@command
def install(
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    store: Annotated[str, typer.Option(help=f"Where the cluster keeps the results: {bucket_addresses()}.")] = "",
    event_bus_url: Annotated[str, typer.Option(help="A NATS server with JetStream to use, nats://…; or one is started.")] = "",
    registry: Annotated[str | None, typer.Option(help="Registry that has Slipway's own images: REGISTRY/slipway/…")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An environment variable of all steps.")
    ] = None,
    timeout: Annotated[int, typer.Option(min=0, help="Seconds to wait until all is ready; 0 does not wait.")] = 300,
) -> int:
    """Apply all manifests to the cluster and wait until all is ready. What was set before stays, unless it is named again."""
    if importlib.util.find_spec("hera") is None:  # the template is written anew, for this very version
        raise missing_extra("pipelines", "operator", package="hera", needed_by="slipway install")
    from pipelines.commands.install import Choices
    from pipelines.commands.install import install as apply

    choices = Choices.parse(settings or [], store=store, event_bus_url=event_bus_url, registry=registry)
    cluster = KubernetesClient.connect(namespace, context)
    apply(cluster, choices, SystemClock(), timeout, lambda line: print(line, flush=True))
    return ExitCode.DONE


@command
def doctor(
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    store: StoreOption = "",
    as_json: JsonOption = False,
) -> int:
    """Say what is missing, on this machine and in the cluster, and how to get it."""
    from pipelines.doctor import examine, print_findings

    findings = examine(namespace, context, store)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        print_findings(findings, display.open_console(sys.stdout))
    return ExitCode.DONE if all(finding.good or not finding.required for finding in findings) else ExitCode.ENVIRONMENT


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
