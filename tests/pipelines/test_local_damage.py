"""One bit of a finished run's store is flipped: the next run of the same Model stops there and names the object."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.local import run_model
from steps.core.documents import BuildPlan
from steps.core.errors import ExitCode, Reason
from steps.core.lock import Lock
from steps.core.receipts import parse_receipt
from tests.pipelines.conftest import Heard, Ingested, slipway

pytestmark = [pytest.mark.slow, pytest.mark.fault("survived")]

BRANCH = "image-classification"


def key_of(run: Ingested, what: str) -> str:
    """Return the store key of a kind of object."""
    outputs = {node: receipt.outputs for node, receipt in run.outcome.receipts.items()}
    lock = run.context.read_document(outputs["fetch"]["lock"], Lock)
    plan = run.context.read_document(outputs[f"{BRANCH}/build"]["plan"], BuildPlan)
    keys: dict[str, str] = {
        "lock": outputs["fetch"]["lock"],
        "facts": outputs["load"]["facts"],
        "render": outputs[f"{BRANCH}/render"]["render"],
        "archive": outputs[f"{BRANCH}/archive"]["archive"],
        "plan": outputs[f"{BRANCH}/build"]["plan"],
        "Dockerfile": plan.dockerfile,
        "weights in the context": f"{plan.context}/src/model/model.safetensors",
        "smoke": outputs[f"{BRANCH}/smoke"]["smoke"],
    }
    return keys.get(what) or next(file.key for file in lock.files if file.path == what)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("what", "stops"),
    [
        ("model.safetensors", "fetch"),
        ("config.json", "fetch"),
        ("lock", "fetch"),
        ("facts", "load"),
        ("render", f"{BRANCH}/render"),
        ("archive", f"{BRANCH}/archive"),
        ("plan", f"{BRANCH}/build"),
        ("Dockerfile", f"{BRANCH}/build"),
        ("weights in the context", f"{BRANCH}/build"),
        ("smoke", f"{BRANCH}/smoke"),
    ],
)
def test_a_damaged_object_stops_its_step(vit_run: Ingested, tmp_path: Path, what: str, stops: str) -> None:
    run = vit_run.copied_to(tmp_path / "store")
    path = run.store / key_of(run, what)
    flip(path)
    heard = Heard()
    outcome = run_model(run.model, str(run.store), heard)
    assert [node for node, state in heard.states if state == "failed"] == [stops]
    # No later step was started, and none was done again.
    assert [node for node, state in heard.states if state == "running"] == [
        *outcome.nodes[: outcome.nodes.index(stops) + 1],
        "report",
    ]
    assert not [node for node, state in heard.states if state == "done" and node != "report"]
    error = outcome.failures[stops]
    assert error.reason is Reason.DIGEST_MISMATCH
    assert str(path) in error.message
    assert f"Delete it and run again: {path}" in error.hint
    recorded = json.loads((run.store / "runs" / outcome.run / f"{stops}.json").read_text())
    assert recorded["failure"]["reason"] == Reason.DIGEST_MISMATCH
    assert str(Reason.DIGEST_MISMATCH) in Path(outcome.report).read_text()


@pytest.mark.parametrize("what", ["model.safetensors", "archive"])
def test_deleting_the_damaged_object_repairs_it(vit_run: Ingested, tmp_path: Path, what: str) -> None:
    """The damaged object is deleted, as the hint says, and the next run makes only that again."""
    run = vit_run.copied_to(tmp_path / "store")
    path = run.store / key_of(run, what)
    whole = path.read_bytes()
    flip(path)
    assert run_model(run.model, str(run.store), Heard()).failure is not None
    path.unlink()
    heard = Heard()
    outcome = run_model(run.model, str(run.store), heard)
    assert outcome.failures == {}
    made = {"model.safetensors": "fetch", "archive": f"{BRANCH}/archive"}[what]
    assert [node for node, state in heard.states if state == "done"] == [made, "report"]
    assert heard.before
    assert path.read_bytes() == whole


@pytest.mark.parametrize("damage", [lambda path: path.write_text("{"), lambda path: path.write_text(""), flip])
def test_a_damaged_receipt_repeats_its_step(vit_run: Ingested, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    run = vit_run.copied_to(tmp_path / "store")
    damage(run.store / "runs" / run.outcome.run / "fetch.json")
    (receipt,) = (run.store / "receipts/fetch").glob("*.json")
    damage(receipt)
    heard = Heard()
    outcome = run_model(run.model, str(run.store), heard)
    assert outcome.failures == {}
    assert [node for node, state in heard.states if state == "done"] == ["fetch", "report"]
    assert outcome.receipts["fetch"].outputs == run.outcome.receipts["fetch"].outputs
    assert run_model(run.model, str(run.store), Heard()).nothing_to_do


def test_every_flipped_bit_of_a_receipt_is_noticed(vit_run: Ingested) -> None:
    (path,) = (vit_run.store / "receipts/fetch").glob("*.json")
    data = path.read_bytes()
    assert parse_receipt(data) == vit_run.outcome.receipts["fetch"]
    for at in range(len(data) - 1):  # the last byte is the newline
        damaged = bytearray(data)
        damaged[at] ^= 1
        assert parse_receipt(bytes(damaged)) is None


def test_the_command_reports_damage(vit_run: Ingested, tmp_path: Path) -> None:
    run = vit_run.copied_to(tmp_path / "store")
    (tmp_path / "model.yaml").write_text(run.text)
    path = run.store / key_of(run, "archive")
    flip(path)
    done = slipway("run", "-f", "model.yaml", "--store", run.store, cwd=tmp_path)
    assert done.returncode == ExitCode.INTEGRITY
    assert f"error in {BRANCH}/archive: DigestMismatch" in done.stderr
    assert str(path) in done.stderr
    assert "not reached" in done.stdout
    assert "Traceback" not in done.stderr
    done = slipway("run", "-f", "model.yaml", "--store", run.store, "--json", cwd=tmp_path)
    assert done.returncode == ExitCode.INTEGRITY
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["failures"][f"{BRANCH}/archive"]["reason"] == "DigestMismatch"
    assert not result["nothingToDo"]
