"""The main function of every step: ``python -m steps.NAME --flag value``.

Flags come from the step's inputs. Outputs go to standard output as one JSON object and, with ``--outputs``, to one file for
each field, which is what Argo reads. Progress goes to standard error. A failure ends with its reason's exit code, two lines on
standard error, and one JSON line in the termination log, which Kubernetes shows in the pod's status.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from steps.command.context import open_context
from steps.command.flags import check_run, make_parser, parse_inputs
from steps.command.folders import require_folder
from steps.command.process import run_to_exit_code
from steps.command.streams import open_streams
from steps.core.contract import InputsT, Outputs, OutputsT, Step
from steps.core.deadline import deadline, step_deadline
from steps.core.errors import ExitCode
from steps.core.progress import JsonProgress, PlainProgress, Progress
from steps.core.receipts import execute
from steps.core.settings import read_settings, unknown_variables


def main(step: Step[InputsT, OutputsT], argv: Sequence[str] | None = None) -> NoReturn:
    """Run the step as a process of its own and exit.

    Args:
        step: The step to run.
        argv: Its arguments; None: those of the process.
    """
    open_streams()
    arguments = sys.argv[1:] if argv is None else list(argv)
    as_json = "--progress=json" in arguments or ("--progress", "json") in itertools.pairwise(arguments)
    progress: Progress = JsonProgress(sys.stderr) if as_json else PlainProgress(sys.stderr)

    def work() -> int:
        given = make_parser(step).parse_args(arguments)
        inputs = parse_inputs(step.inputs, {name: getattr(given, name) for name in step.inputs.model_fields})
        check_run(given.run)
        if given.outputs:
            require_folder(given.outputs, "--outputs")
        for warning in unknown_variables(os.environ):
            progress.note(f"Warning: {warning}")
        context = open_context(given.store, given.scratch, progress)
        with deadline(f"The step {step.name}", step_deadline(step.name, read_settings())):
            done = execute(step, inputs, context, run=given.run)
        if done.skipped:
            progress.note(f"{step.name} was done before: nothing to do.")
        if given.outputs:
            write_outputs(done.outputs, Path(given.outputs))
        print(json.dumps(done.outputs.model_dump(mode="json")))
        return ExitCode.DONE

    sys.exit(run_to_exit_code(work, as_json=as_json))


def write_outputs(outputs: Outputs, folder: Path) -> None:
    """Write one file for each output, holding just the value, or a list as JSON: what Argo's ``valueFrom.path`` reads."""
    for name, value in outputs.model_dump(mode="json").items():
        (folder / name).write_text(json.dumps(value) if isinstance(value, list) else str(value))
