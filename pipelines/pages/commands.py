"""docs/commands.md: the verbs of ``slipway`` from typer, and the steps as commands from their inputs and outputs."""

from __future__ import annotations

import inspect
import re
from typing import Any

import typer.main

from pipelines.cli import app
from pipelines.pages.markdown import code, from_docstring, page, sentence, table
from pipelines.step_table import STEPS
from steps.command.flags import flag_name, make_parser
from steps.core.contract import Step


def commands_page() -> str:
    """Return the page."""
    return page(
        "Commands",
        "`slipway` is the command for people. Each step is a command, too: it is what runs in a container of the Workflow, and "
        "it can be run by hand. All end with the exit codes of [errors.md](errors.md), and take what is not given from the "
        "[settings](settings.md).",
        "## slipway",
        *verbs(),
        "## Steps",
        "`python -P -m steps.NAME --flag value …` runs one step. Its outputs are printed as one JSON object; a step that was "
        "done before, with equal inputs and the same version of Slipway, is not done again, and prints the same. Lists are "
        "separated by commas. These flags are the same for all steps:",
        table(["flag", "meaning"], common_flags()),
        *(part for step in STEPS.values() for part in step_parts(step)),
    )


def verbs() -> list[str]:
    """Return a section for each verb of ``slipway``: its help, how it is called, and its arguments."""
    group: Any = typer.main.get_command(app)  # typer's classes for the command line are not part of its public types
    context = group.make_context("slipway", ["version"], resilient_parsing=True)
    parts = []
    for verb in group.list_commands(context):
        _, command, _ = group.resolve_command(context, [verb])
        inner = type(context)(command, info_name=verb, parent=context)
        rows = [row for parameter in command.params if (row := parameter.get_help_record(inner))]
        parts += [
            f"### slipway {verb}",
            from_docstring(inspect.cleandoc(command.help or "")),
            "    " + " ".join(command.get_usage(inner).removeprefix("Usage: ").split()),
            table(["argument", "meaning"], [[code(names), sentence_with_default(text)] for names, text in rows])
            if rows
            else "",
        ]
    return parts


def arguments_table(rows: list[tuple[str, str]]) -> str:
    """Return the table of a verb's arguments and options, from what typer's help has; empty where there are none."""
    return table(["argument", "meaning"], [[code(names), sentence_with_default(text)] for names, text in rows]) if rows else ""


def sentence_with_default(text: str) -> str:
    """Return the help of an option with what typer puts behind it (``[default: 3000]``) as it is."""
    found = re.fullmatch(r"(.*?)\s*(\[[^\[\]]*\])?", " ".join(text.split()))
    assert found is not None, "the expression takes every line"
    return f"{sentence(found[1])} {found[2] or ''}".strip()


def common_flags() -> list[list[str]]:
    """Return the flags that all steps have, with their help."""
    [group] = [group for group in make_parser(STEPS["fetch"])._action_groups if group.title == "where and how"]
    return [[code(action.option_strings[0]), sentence(action.help or "")] for action in group._group_actions]


def step_parts(step: Step[Any, Any]) -> list[str]:
    """Return a step's section: what it does, its inputs and its outputs."""
    parser = make_parser(step)
    fields = step.inputs.model_fields
    actions = {action.dest: action for action in parser._actions}
    inputs = []
    for name, field in fields.items():
        choices = actions[name].choices
        values = f" One of {', '.join(code(choice) for choice in choices if choice)}." if choices else ""
        need = "required" if field.is_required() else ""
        inputs.append([code(flag_name(name)), need, sentence(actions[name].help or "") + values])
    outputs = [[code(name), sentence(field.description or "")] for name, field in step.outputs.model_fields.items()]
    return [
        f"### steps.{step.name}",
        from_docstring(prose(inspect.getdoc(step.run) or step.title)),
        table(["input", "", "meaning"], inputs),
        table(["output", "meaning"], outputs),
    ]


def prose(docstring: str) -> str:
    """Return a docstring of Google's style with its section ``Raises`` as a paragraph."""
    text, _, raises = docstring.partition("\nRaises:\n")
    failures = " ".join(raises.split()).removeprefix("SlipwayError: ")
    return f"{text.strip()}\n\nFailures: {failures}" if failures else text
