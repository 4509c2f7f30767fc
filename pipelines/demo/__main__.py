"""``make run``: all steps once, with a model that is trained, published and fetched on this machine.

A small vision transformer learns handwritten digits, is committed with its weights in Git LFS, served over HTTP on loopback,
ingested by its address like any other model, and finally asked about a digit that it never saw.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import urllib3

from crd.manifest import read_manifest
from pipelines.commands.serve import serve_archive
from pipelines.demo.digits import REPOSITORY, held_out_pictures, prepare
from pipelines.demo.forge import Forge
from pipelines.display.console import open_console, program
from pipelines.display.open import open_display
from pipelines.display.tables import print_outcome
from pipelines.local import run_model
from steps.command.flags import Parser
from steps.command.process import run_to_exit_code
from steps.command.streams import open_streams
from steps.core.errors import ExitCode, Reason, SlipwayError
from steps.core.text import format_seconds
from steps.package.listen import check_listen
from steps.package.local_service import ANSWER_TIMEOUT
from steps.store.local import require_local
from steps.store.supported import open_store

FOLDER = Path(".demo")
STORE = ".slipway"
PORT_VARIABLE = "SLIPWAY_DEMO_PORT"
MAX_PORT = 65535
PORT = 8417  # always the same, so that the second run has the same address and finds its work done
TASK = "image-classification"
MANIFEST = """\
apiVersion: slipway.dev/v1alpha1
kind: Model
metadata:
  name: digits-vit
spec:
  framework: transformers
  name: Handwritten digits, a small vision transformer
  services:
    - image-classification
  sourceKind: git_lfs
  source: {source}
"""


def main(arguments: Sequence[str] = ()) -> int:
    """Train and publish the model, run the steps on it, and ask the packaged service about one picture.

    Returns the exit code. Raises ``SlipwayError`` with what failed, ``SmokeMismatch`` for a wrong label among it.
    """
    # It has no arguments but --help.
    Parser(prog="python -m pipelines.demo", description=(__doc__ or "").partition("\n\n")[0]).parse_args(arguments)
    port = read_port(os.environ.get(PORT_VARIABLE, ""))
    check_listen("127.0.0.1", port)
    console = open_console(sys.stdout)
    begin = time.monotonic()
    console.print("[bold]1. A model[/bold], trained here on scikit-learn's handwritten digits and committed with Git LFS")
    commit = prepare(FOLDER / "forge", lambda line: console.print(f"   {line}"))
    console.print(f"   commit {commit}")
    with Forge(FOLDER / "forge", port=port) as forge:
        manifest = FOLDER / "model.yaml"
        manifest.write_text(MANIFEST.format(source=forge.url(REPOSITORY)))
        console.print(f"\n[bold]2. slipway run -f {manifest}[/bold], from {forge.url(REPOSITORY)}")
        outcome = run_model(read_manifest(manifest), STORE, open_display(as_json=False))
    store = require_local(open_store(STORE), "The demo")
    console.print()
    print_outcome(outcome, store, console)
    if outcome.failure:
        raise outcome.failure
    made = outcome.receipts[f"{TASK}/archive"].outputs
    console.print("\n[bold]3. A prediction[/bold] from the packaged service, for a digit that the model never saw")
    with serve_archive(store.path(made["archive"]), sha256=made["archive_digest"]) as running:
        picture, truth = held_out_pictures(1)[0]
        path = FOLDER / "digit.png"
        path.write_bytes(picture)
        label, score = predict(running.served.url, picture)
    console.print(f"   curl -F image=@{path} {running.served.url}/predict", soft_wrap=True)
    console.print(f"\n   label [bold]{label}[/bold], score {score:.4f} (written by hand: {truth})")
    again = f"{program()} serve {store.path(made['archive'])}"
    console.print(f"\nThe service has been stopped. Start it again, with a request to try, by\n   {again}", soft_wrap=True)
    console.print(f"\nDone in {format_seconds(time.monotonic() - begin)}.")
    if label != truth:
        raise SlipwayError(Reason.SMOKE_MISMATCH, f"The service reads {label!r} where a {truth!r} was written.")
    return ExitCode.DONE


def read_port(text: str) -> int:
    """Return the port of the demo's Git server; empty is the usual one. Raises ``InvalidInput`` for what is no port."""
    if not text:
        return PORT
    if not text.isdecimal() or not 0 <= int(text[:6]) <= MAX_PORT:
        raise SlipwayError(
            Reason.INVALID_INPUT, f"{PORT_VARIABLE}: {text!r} is not a port.", hint=f"Write a number from 0 to {MAX_PORT}."
        )
    return int(text)


def predict(url: str, picture: bytes) -> tuple[str, float]:
    """Post one picture to the service; returns the best label and its score."""
    fields = {"image": ("digit.png", picture, "image/png")}
    response = urllib3.request("POST", f"{url}/predict", fields=fields, timeout=ANSWER_TIMEOUT, retries=False)
    best = response.json()["labels"][0]
    return str(best["label"]), float(best["score"])


if __name__ == "__main__":
    open_streams()
    sys.exit(run_to_exit_code(lambda: main(sys.argv[1:])))
