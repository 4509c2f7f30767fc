"""``slipway``: the command line, one verb a line in ``VERBS``.

A verb is a module in ``pipelines.commands`` with a function of the same name: its parameters are the verb's flags, its
docstring is the help, its return value the exit code. The module is loaded when its verb is called, because the help of
``slipway`` itself, and every press of the TAB key, should cost no more than starting Python.

To add a verb, write its module and add its line here.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, cast

import typer
import typer.core
import typer.main

from steps import __version__
from steps.command.flags import usage_error
from steps.command.process import report_failure, run_to_exit_code
from steps.command.signals import ending_signals
from steps.command.streams import open_streams
from steps.core.errors import ExitCode, SlipwayError, Terminated, to_slipway_error
from steps.core.receipts import Failure
from steps.core.settings import unknown_variables

VERBS: Mapping[str, str] = {
    "run": "Run the whole pipeline for a model on this machine.",
    "plan": "Show what a run would fetch, without fetching it.",
    "serve": "Serve a packaged model on this machine.",
    "tasks": "List the tasks that can be served.",
    "submit": "Create or change a Model in the cluster.",
    "status": "Show all Models of the cluster, or one run in full.",
    "logs": "Print the logs of a run's steps.",
    "retry": "Repeat the failed steps of a run.",
    "install": "Install or upgrade Slipway in a cluster.",
    "doctor": "Check this machine and the cluster for what is missing.",
    "version": "Print the version of Slipway.",
}
CONTEXT: dict[str, list[str]] = {"help_option_names": ["-h", "--help"]}
_ended: list[str] = []  # the verb, once it has ended: how it did is reported


def load(verb: str) -> typer.core.TyperCommand:
    """Load a verb's module and make its function a command.

    What the function returns is the exit code; what it raises ends with the exit code of its reason.
    """
    function: Callable[..., int] = getattr(importlib.import_module(f"pipelines.commands.{verb}"), verb)

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> None:
        for warning in unknown_variables(os.environ):
            print(f"warning: {warning}", file=sys.stderr)
        on_failure = print_failed_result if kwargs.get("as_json") else None
        code = run_to_exit_code(lambda: function(*args, **kwargs), on_failure=on_failure)
        _ended.append(verb)
        raise typer.Exit(code)

    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, context_settings=CONTEXT)
    single.command(name=verb)(command)
    return cast(typer.core.TyperCommand, typer.main.get_command(single))


def print_failed_result(failure: SlipwayError) -> None:
    """Print a failure as the last line that a verb with ``--json`` writes to standard output: an event ``result``."""
    print(json.dumps({"event": "result", "failure": Failure.from_error(failure).model_dump(mode="json")}), flush=True)


class Verbs(typer.core.TyperGroup):
    """The verbs by name and first line of help; a verb itself is loaded when it is called or completed."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The verb that the arguments name, loaded, and the arguments after it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else command, rest

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command and exit. What is wrong with the arguments is reported as a step reports it: an error and a hint."""
        given = sys.argv[1:] if args is None else args
        _ended.clear()
        try:
            with ending_signals():
                code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
                if code == ExitCode.INTERRUPTED and not _ended:  # what typer makes of Ctrl-C while a verb is loaded
                    raise KeyboardInterrupt
        except typer.TyperException as error:
            context = getattr(error, "ctx", None)
            if not given:  # the message is the help
                print(error.format_message(), file=sys.stderr)
            else:
                failure = usage_error(error.format_message(), context.command_path if context else "slipway")
                if "--json" in given:
                    print_failed_result(failure)
                report_failure(failure)
            code = error.exit_code
        except SlipwayError as error:  # of what is not a verb: the help cannot be written, say
            report_failure(error)
            code = error.reason.exit_code
        except (KeyboardInterrupt, Terminated) as error:
            failure = to_slipway_error(error)
            if "--json" in given:
                print_failed_result(failure)
            report_failure(failure)
            code = failure.reason.exit_code
        if standalone_mode:
            sys.exit(code)
        return code


app = typer.Typer(
    name="slipway",
    cls=Verbs,
    help="From a model's name to a checked service: fetch, load, package, build, smoke-test.",
    no_args_is_help=True,
    context_settings=CONTEXT,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__, flush=True)
        raise typer.Exit


@app.callback()
def slipway(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Only the flags that stand before the verb."""
    del version


for _verb, _summary in VERBS.items():
    app.command(name=_verb, help=_summary)(lambda: None)


def main() -> None:
    """The entry point of the ``slipway`` program."""
    open_streams()
    app()


if __name__ == "__main__":
    main()
