"""Between any two steps one byte of a stored object changes: the step that reads it next stops and names the object."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steps.archive import STEP as ARCHIVE
from steps.archive import ArchiveInputs
from steps.build import STEP as BUILD
from steps.build import BuildInputs
from steps.core.contract import Step
from steps.core.documents import BuildPlan
from steps.core.errors import ExitCode, Reason, SlipwayError
from steps.core.receipts import execute
from steps.fetch import STEP as FETCH
from steps.load import STEP as LOAD
from steps.load import LoadInputs
from steps.render import STEP as RENDER
from steps.render import RenderInputs
from steps.smoke import STEP as SMOKE
from steps.smoke import SmokeInputs
from tests.steps.packages import Made

pytestmark = pytest.mark.slow  # a model is loaded

Flip = Callable[[Path], None]


def inputs_of(made: Made) -> dict[str, tuple[Step[Any, Any], Any]]:
    """Every step of the chain with the inputs that this package gives it."""
    archived: dict[str, Any] = {"archive": made.archive, "archive_digest": made.digest}
    named: dict[str, Any] = {"name": "tiny", "service": made.service}
    return {
        "fetch": (FETCH, made.fetched),
        "load": (LOAD, LoadInputs(lock=made.lock, services=(made.service,))),
        "render": (RENDER, RenderInputs(**named, lock=made.lock, facts=made.facts)),
        "archive": (ARCHIVE, ArchiveInputs(**named, lock=made.lock, render=made.render)),
        "build": (BUILD, BuildInputs(**named, **archived)),
        "smoke": (SMOKE, SmokeInputs(service=made.service, **archived, facts=made.facts)),
    }


def key_of(made: Made, what: str) -> str:
    keys = {"lock": made.lock, "facts": made.facts, "render": made.render, "archive": made.archive}
    blobs = {file.path: file.key for file in made.read_lock().files}
    return keys.get(what) or blobs[what]


def stopped(made: Made, step: str) -> SlipwayError:
    with pytest.raises(SlipwayError) as caught:
        execute(*inputs_of(made)[step], made.context)
    assert caught.value.reason.exit_code is ExitCode.INTEGRITY
    assert not any(path.name.startswith(("step-", "put-")) for path in made.context.scratch.iterdir())
    return caught.value


@pytest.mark.parametrize(
    ("what", "step"),
    [
        ("model.safetensors", "fetch"),
        ("config.json", "fetch"),
        ("lock", "fetch"),
        ("facts", "load"),
        ("render", "render"),
        ("archive", "archive"),
    ],
)
def test_a_finished_step_checks_its_outputs(classifier: Made, tmp_path: Path, flip: Flip, what: str, step: str) -> None:
    made = classifier.copied_to(tmp_path / "store")
    path = made.root / key_of(made, what)
    flip(path)
    error = stopped(made, step)
    assert error.reason is Reason.DIGEST_MISMATCH
    assert str(path) in error.message


@pytest.mark.parametrize(
    ("what", "step"),
    [
        ("model.safetensors", "fetch"),
        ("model.safetensors", "load"),
        ("model.safetensors", "archive"),
        ("config.json", "load"),
        ("config.json", "archive"),
        ("tokenizer.json", "load"),
        ("lock", "load"),
        ("lock", "render"),
        ("lock", "archive"),
        ("facts", "render"),
        ("facts", "smoke"),
        ("render", "archive"),
        ("archive", "build"),
        ("archive", "smoke"),
    ],
)
def test_a_step_checks_what_it_reads(classifier: Made, tmp_path: Path, flip: Flip, what: str, step: str) -> None:
    made = classifier.copied_to(tmp_path / "store")
    for receipt in (made.root / "receipts" / step).glob("*"):
        receipt.unlink()
    path = made.root / key_of(made, what)
    flip(path)
    error = stopped(made, step)
    assert error.reason is Reason.DIGEST_MISMATCH
    # The load step sees a file of the model under the name that it has there.
    assert str(path) in error.message or (step == "load" and f"model/{what}" in error.message)


def test_a_changed_archive_is_not_overwritten(classifier: Made, tmp_path: Path, flip: Flip) -> None:
    made = classifier.copied_to(tmp_path / "store")
    for receipt in (made.root / "receipts/archive").glob("*"):
        receipt.unlink()
    flip(made.path)
    error = stopped(made, "archive")
    assert error.reason is Reason.PUBLISH_CONFLICT
    assert str(made.path) in error.message


def test_a_changed_context_or_plan_stops_the_build(classifier: Made, tmp_path: Path, flip: Flip) -> None:
    made = classifier.copied_to(tmp_path / "store")
    step, inputs = inputs_of(made)["build"]
    outputs = execute(step, inputs, made.context).outputs
    plan = made.context.read_document(outputs.plan, BuildPlan)
    for key in (outputs.plan, plan.dockerfile, f"{plan.context}/src/model/model.safetensors"):
        whole = (made.root / key).read_bytes()
        flip(made.root / key)
        with pytest.raises(SlipwayError) as caught:
            execute(step, inputs, made.context)
        assert caught.value.reason is Reason.DIGEST_MISMATCH
        assert str(made.root / key) in caught.value.message
        (made.root / key).write_bytes(whole)
    assert execute(step, inputs, made.context).skipped


def test_a_truncated_object_stops_the_next_step(classifier: Made, tmp_path: Path) -> None:
    made = classifier.copied_to(tmp_path / "store")
    path = made.root / key_of(made, "model.safetensors")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    for receipt in (made.root / "receipts/load").glob("*"):
        receipt.unlink()
    with pytest.raises(SlipwayError, match=r"model\.safetensors has \d+ bytes where the lock has") as caught:
        execute(*inputs_of(made)["load"], made.context)
    assert caught.value.reason is Reason.DIGEST_MISMATCH


def test_a_deleted_object_is_made_again(classifier: Made, tmp_path: Path) -> None:
    made = classifier.copied_to(tmp_path / "store")
    made.path.unlink()
    done = execute(*inputs_of(made)["archive"], made.context)
    assert not done.skipped
    assert done.outputs.archive_digest == made.digest


def test_finished_steps_are_skipped(classifier: Made) -> None:
    for name, (step, inputs) in inputs_of(classifier).items():
        if name not in ("build", "smoke"):
            assert execute(step, inputs, classifier.context).skipped
