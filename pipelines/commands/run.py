"""``slipway run``: the whole pipeline on this machine."""

from __future__ import annotations

import sys

from crd.manifest import read_manifest
from pipelines.commands.options import JsonOption, ManifestOption, StoreOption
from pipelines.display.console import open_console
from pipelines.display.json_lines import JsonDisplay, describe_outcome
from pipelines.display.open import open_display
from pipelines.display.tables import print_failure, print_outcome
from pipelines.local import run_model
from steps.core.errors import ExitCode
from steps.core.receipts import Failure
from steps.core.settings import read_settings
from steps.store.supported import open_store


def run(file: ManifestOption, store: StoreOption = "", as_json: JsonOption = False) -> int:
    """Run the whole pipeline for a model on this machine.

    The result is a packaged and tested service for each of its tasks, in the store. Steps that were done before are checked and
    skipped, so a run that was stopped goes on where it stopped.
    """
    model = read_manifest(file)
    observer = open_display(as_json=as_json)
    store = store or read_settings().store
    outcome = run_model(model, store, observer)
    opened = open_store(store)
    if isinstance(observer, JsonDisplay):
        observer.write("result", **describe_outcome(outcome, opened))
    else:
        print_outcome(outcome, opened, open_console(sys.stdout))
        for node, error in outcome.failures.items():
            print_failure(Failure.from_error(error), open_console(sys.stderr), node=node)
    return outcome.failure.reason.exit_code if outcome.failure else ExitCode.DONE
