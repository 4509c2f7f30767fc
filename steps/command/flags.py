"""The flags of a step: from the fields of its inputs to a command line, and back.

One flag for each field, ``source_kind`` as ``--source-kind``. What a user gets wrong, in a flag of a step or of ``slipway``,
becomes an ``InvalidInput`` here (``parse_inputs``, ``usage_error``) and is reported like any other failure.
"""

from __future__ import annotations

import argparse
import contextlib
import enum
import json
import re
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal, NoReturn, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from steps.core.contract import Inputs, InputsT, OutputsT, Step
from steps.core.errors import Reason, SlipwayError
from steps.core.names import RunName
from steps.core.wording import explain, is_text, shown
from steps.store.supported import addresses


class Parser(argparse.ArgumentParser):
    """An argument parser that raises what is wrong as ``InvalidInput`` instead of printing it."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, and first of all name a flag that does not exist: else the one that it should be is called missing."""
        given = sys.argv[1:] if args is None else args
        for text in given:
            name = text.partition("=")[0]
            if name.startswith("--") and name != "--" and " " not in text and name not in self._option_string_actions:
                near = get_close_matches(name, self._option_string_actions, 1)
                self.error(f"unrecognized arguments: {name}" + (f" (did you mean {near[0]}?)" if near else ""))
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise the user's mistake that argparse found."""
        raise usage_error(message, self.prog)


def usage_error(message: str, command: str) -> SlipwayError:
    """Make the error for wrong arguments of a command (``InvalidInput``); its hint is the command's ``--help``."""
    text = re.sub(r"Input should be a valid integer\b.*", "write a whole number.", " ".join(message.split()))
    return SlipwayError(Reason.INVALID_INPUT, text, hint=f"`{command} --help` lists the arguments.")


def make_parser(step: Step[InputsT, OutputsT]) -> argparse.ArgumentParser:
    """Make the step's command line: one flag for each field of its inputs, and the flags that all steps have."""
    out = "\n".join(f"  {name:<18} {field.description}" for name, field in step.outputs.model_fields.items())
    result = Parser(
        prog=f"python -m steps.{step.name}",
        description=step.title,
        epilog=f"outputs:\n{out}\n\nexit codes: 0 done, 75 transient (try again later), 130 and 143 stopped by a signal (run "
        "again to\ncontinue), 70 a bug of Slipway; the others are permanent failures, reported with a reason and a hint on\n"
        "standard error; see docs/errors.md.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for name, field in step.inputs.model_fields.items():
        add_flag(result, name, field)
    common = result.add_argument_group("where and how")
    common.add_argument(
        "--store",
        default="",
        help=f"{addresses()} (default: from the settings, or ./.slipway)",
    )
    common.add_argument("--scratch", default="", help="folder for unfinished work (default: beside the store)")
    common.add_argument("--outputs", default="", help="folder to write one file for each output to")
    common.add_argument("--run", default="", help="name of the run that the step is recorded under, for the report")
    common.add_argument(
        "--progress",
        choices=["plain", "json"],
        default="plain",
        help="how progress and failures are written to standard error (default: plain)",
    )
    return result


def flag_name(field: str) -> str:
    """Return the flag of a field: ``source_kind`` is ``--source-kind``."""
    return f"--{field.replace('_', '-')}"


def format_flags(inputs: Inputs) -> list[str]:
    """Return the flags that ``parse_inputs`` makes these inputs of, each as ``--name=value``."""
    values = inputs.model_dump(mode="json")
    return [f"{flag_name(name)}={','.join(value) if isinstance(value, list) else value}" for name, value in values.items()]


def add_flag(parser: argparse.ArgumentParser, name: str, field: FieldInfo) -> None:
    """Add the flag of one field: its type, choices, default and help."""
    kind = field.annotation
    options: dict[str, Any] = {"help": field.description, "dest": name, "required": field.is_required()}
    if field.default_factory is not None:  # read when it is needed: ``--help`` also works with settings that are wrong
        options["default"] = ""
        options["help"] += " (default: from the settings)"
    elif not field.is_required():
        options["default"] = field.default
        if field.default not in (None, "", (), False):
            options["help"] += f" (default: {field.default})"
    if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
        options["choices"] = [*([""] if field.default_factory else []), *(member.value for member in kind)]
    elif get_origin(kind) is Literal:
        options["choices"] = list(get_args(kind))
    elif get_origin(kind) is tuple:
        options["metavar"] = "A,B,…"
    else:
        options["metavar"] = "N" if kind is int else "TEXT"
    parser.add_argument(flag_name(name), **options)


def parse_inputs(model: type[InputsT], values: Mapping[str, object]) -> InputsT:
    """Make a step's inputs from texts, as flags and Argo parameters are.

    Argo passes every flag: an empty text for a field whose default is a setting means that setting.

    Args:
        model: The model of the inputs.
        values: A text for each field; a list is separated by commas, or JSON.

    Raises:
        SlipwayError: ``InvalidInput``, with the flag that is wrong.
    """
    parsed = {
        name: split_list(value)
        if isinstance(value, str) and get_origin(model.model_fields[name].annotation) is tuple
        else value
        for name, value in values.items()
        if value != "" or model.model_fields[name].default_factory is None
    }
    for name, value in values.items():
        if isinstance(value, str) and not is_text(value):
            raise SlipwayError(
                Reason.INVALID_INPUT, f"{flag_name(name)}: {shown(value)} is not text in UTF-8.", hint="Write it in UTF-8."
            )
    try:
        return model.model_validate(parsed)
    except ValidationError as error:
        problem = error.errors()[0]
        flag = flag_name("".join(str(part) for part in problem["loc"][:1]))
        raise SlipwayError(Reason.INVALID_INPUT, f"{flag}: {explain(problem)}.") from None


def check_run(name: str) -> None:
    """Raise ``InvalidInput`` unless ``--run`` is empty or can name a run."""
    try:
        TypeAdapter(RunName).validate_python(name or "none")
    except ValidationError as error:
        raise SlipwayError(Reason.INVALID_INPUT, f"--run: {explain(error.errors()[0])}.") from None


def split_list(text: str) -> tuple[str, ...]:
    """Read a list as people write it (``a,b``), or as Argo passes it (``["a", "b"]``)."""
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(text)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
    return tuple(part.strip() for part in text.split(",") if part.strip())
