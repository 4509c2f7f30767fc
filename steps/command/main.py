"""The process around a step: ``python -m steps.NAME --flag value``.

Flags come from the step's inputs. Outputs go to standard output as one JSON object and, with ``--outputs``, to one file
a field, which is what Argo reads. Progress goes to standard error. A failure ends with its reason's exit code, two lines
for a person on standard error, and one JSON line in the termination log, which Kubernetes shows in the pod's status.
"""

from __future__ import annotations

import argparse
import contextlib
import enum
import json
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from steps.core.contract import Context, Inputs, InputsT, Outputs, OutputsT, Step
from steps.core.errors import ExitCode, Reason, SlipwayError, Terminated, to_slipway_error
from steps.core.progress import JsonProgress, PlainProgress, Progress
from steps.core.receipts import Failure, execute
from steps.core.settings import read_settings
from steps.core.text import display_text
from steps.images.builders.supported import configured_builder
from steps.store.supported import addresses, open_store

TERMINATION_LOG = Path("/dev/termination-log")  # Kubernetes' default terminationMessagePath
MAX_TERMINATION_LOG = 4096  # bytes: of a longer file the kubelet hands on the end, and half a JSON line says nothing


def main(step: Step[InputsT, OutputsT], argv: Sequence[str] | None = None) -> NoReturn:
    """Run the step as a process of its own and exit."""
    arguments = make_parser(step).parse_args(argv)
    progress: Progress = JsonProgress(sys.stderr) if arguments.progress == "json" else PlainProgress(sys.stderr)

    def work() -> int:
        inputs = parse_inputs(step.inputs, {name: getattr(arguments, name) for name in step.inputs.model_fields})
        context = open_context(arguments.store, arguments.scratch, progress)
        done = execute(step, inputs, context, run=arguments.run)
        if done.skipped:
            progress.note(f"{step.name} was done before: nothing to do.")
        if arguments.outputs:
            write_outputs(done.outputs, Path(arguments.outputs))
        print(json.dumps(done.outputs.model_dump(mode="json")))
        return ExitCode.DONE

    sys.exit(run_to_exit_code(work, as_json=arguments.progress == "json"))


def run_to_exit_code(work: Callable[[], int], *, as_json: bool = False) -> int:
    """Call ``work`` and turn whatever leaves it into an exit code, words for a person, and the termination log."""
    # Ctrl-C also where a script's `&` has switched it off.
    handlers = {signal.SIGTERM: _terminate, signal.SIGINT: signal.default_int_handler}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        return work()
    except (Exception, KeyboardInterrupt, Terminated) as error:
        failure = to_slipway_error(error)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    report_failure(failure, as_json=as_json)
    return failure.reason.exit_code


def report_failure(failure: SlipwayError, *, as_json: bool) -> None:
    """Say a failure: to the termination log where there is one, and to standard error."""
    if failure.reason is Reason.INTERNAL_ERROR and failure.__cause__:
        traceback.print_exception(failure.__cause__)  # the only case that shows one: somebody must mend it
    said = Failure.from_error(failure)
    if TERMINATION_LOG.exists():
        try:
            TERMINATION_LOG.write_bytes(termination_line(said))
        except OSError:
            print("The termination log cannot be written.", file=sys.stderr)
    if as_json:
        print(said.model_dump_json(), file=sys.stderr, flush=True)
    else:
        print(f"error: {failure}\n hint: {failure.hint}", file=sys.stderr, flush=True)


def termination_line(failure: Failure) -> bytes:
    """The failure as one line of JSON that Kubernetes hands on whole; where it is too long, the longer text gives way."""
    length = MAX_TERMINATION_LOG  # of either text, in characters: each is a byte at least
    cut = failure
    while len(line := f"{cut.model_dump_json()}\n".encode()) > MAX_TERMINATION_LOG:
        cut = failure.model_copy(
            update={"message": display_text(failure.message, length), "hint": display_text(failure.hint, length)}
        )
        length = length * 9 // 10
    return line


def _terminate(signum: int, frame: object) -> NoReturn:
    del signum, frame
    raise Terminated


def make_parser(step: Step[InputsT, OutputsT]) -> argparse.ArgumentParser:
    """The step's command line: one flag a field, and the flags that all steps have."""
    out = "\n".join(f"  {name:<18} {field.description}" for name, field in step.outputs.model_fields.items())
    result = argparse.ArgumentParser(
        prog=f"python -m steps.{step.name}",
        description=step.title,
        epilog=f"outputs:\n{out}\n\nexit codes: 0 done, 75 try again later, 70 a bug; the others are permanent "
        "failures\nand come with a reason and a hint on standard error.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for name, field in step.inputs.model_fields.items():
        add_flag(result, name, field)
    common = result.add_argument_group("where and how")
    common.add_argument(
        "--store",
        default="",
        help=f"{addresses()} (default: what the settings say, or ./.slipway)",
    )
    common.add_argument("--scratch", default="", help="folder for unfinished work (default: beside the store)")
    common.add_argument("--outputs", default="", help="folder that gets one file for each output")
    common.add_argument("--run", default="", help="record the step under this run, for the report")
    common.add_argument("--progress", choices=["plain", "json"], default="plain", help="(default: plain)")
    return result


def add_flag(result: argparse.ArgumentParser, name: str, field: FieldInfo) -> None:
    kind = field.annotation
    options: dict[str, Any] = {"help": field.description, "dest": name, "required": field.is_required()}
    if field.default_factory is not None:  # known when it is needed: ``--help`` works beside a broken settings file
        options["default"] = ""
        options["help"] += " (default: what the settings say)"
    elif not field.is_required():
        options["default"] = field.default
        if field.default not in ("", (), False):
            options["help"] += f" (default: {field.default})"
    if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
        options["choices"] = [*([""] if field.default_factory else []), *(member.value for member in kind)]
    elif get_origin(kind) is Literal:
        options["choices"] = list(get_args(kind))
    elif get_origin(kind) is tuple:
        options["metavar"] = "A,B,…"
    else:
        options["metavar"] = "N" if kind is int else "TEXT"
    result.add_argument(f"--{name.replace('_', '-')}", **options)


def parse_inputs(model: type[InputsT], values: dict[str, Any]) -> InputsT:
    """Inputs from texts, as flags and Argo parameters are: lists are comma-separated. Raises ``InvalidInput``.

    Argo gives every flag: an empty text for a field whose default is a setting means that setting.
    """
    parsed = {
        name: split_list(value) if isinstance(value, str) and get_origin(field_type(model, name)) is tuple else value
        for name, value in values.items()
        if value != "" or model.model_fields[name].default_factory is None
    }
    try:
        return model.model_validate(parsed)
    except ValidationError as error:
        problem = error.errors()[0]
        flag = "--" + "-".join(str(part) for part in problem["loc"][:1]).replace("_", "-")
        raise SlipwayError(Reason.INVALID_INPUT, f"{flag}: {problem['msg']}, not {problem['input']!r}.") from None


def split_list(text: str) -> tuple[str, ...]:
    """A list as people write it (``a,b``), or as Argo passes it (``["a", "b"]``)."""
    with contextlib.suppress(ValueError):
        value = json.loads(text)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
    return tuple(part.strip() for part in text.split(",") if part.strip())


def field_type(model: type[Inputs], name: str) -> Any:
    return model.model_fields[name].annotation


def open_context(store_uri: str, scratch: str, progress: Progress) -> Context:
    """The context of a real run; without an address, in the store of the settings."""
    if not store_uri:
        settings = read_settings()
        configured_builder(settings)  # refused by the first step, not by the one that builds
        store_uri = settings.store
    store = open_store(store_uri)
    folder = Path(scratch) if scratch else store.scratch or Path(tempfile.gettempdir()) / "slipway"
    return Context(store=store, scratch=folder, progress=progress)


def write_outputs(outputs: Outputs, folder: Path) -> None:
    """One file a field, holding just the value, a list as JSON: what Argo's ``valueFrom.path`` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in outputs.model_dump(mode="json").items():
        (folder / name).write_text(json.dumps(value) if isinstance(value, list) else str(value))
