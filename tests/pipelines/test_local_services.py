"""Runs on this machine from a Git LFS repository to a smoke-tested service, and what a second run repeats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from crd.manifest import parse_manifest
from pipelines.demo.forge import Forge
from pipelines.demo.repository import publish, tip
from pipelines.local import Outcome, run_model
from steps.core.digest import sha256_file
from steps.core.documents import BuildPlan, SmokeResult
from steps.core.errors import Reason
from steps.core.lock import Lock
from steps.smoke import TOLERANCE, difference
from steps.tasks.text import SENTENCE
from tests.pipelines.conftest import Heard, Ingested, manifest
from tests.servers.forge_faults import object_requests

pytestmark = pytest.mark.slow

PICTURE = Path(__file__).parents[2] / "steps/tasks/golden/picture.png"


def text_classification(folder: str) -> Any:
    from transformers import pipeline

    return {"labels": pipeline("text-classification", model=folder)(SENTENCE, top_k=5)}


def token_classification(folder: str) -> Any:
    from transformers import pipeline

    found = pipeline("token-classification", model=folder, aggregation_strategy="simple")(SENTENCE)
    return {"entities": [{"entity": group.pop("entity_group"), **group, "score": float(group["score"])} for group in found]}


def feature_extraction(folder: str) -> Any:
    from transformers import pipeline

    return {"features": pipeline("feature-extraction", model=folder)(SENTENCE)[0]}


def image_classification(folder: str) -> Any:
    from transformers import pipeline

    return {"labels": pipeline("image-classification", model=folder)(str(PICTURE), top_k=5)}


@pytest.mark.parametrize(
    ("name", "service", "library"),
    [
        ("classifier", "text-classification", text_classification),
        ("classifier", "feature-extraction", feature_extraction),
        ("tagger", "token-classification", token_classification),
        ("vit", "image-classification", image_classification),
    ],
)
def test_the_service_answers_as_the_library(
    runs: Mapping[str, Ingested], name: str, service: str, library: Callable[[str], Any]
) -> None:
    run = runs[name]
    smoke = run.context.read_document(run.outcome.receipts[f"{service}/smoke"].outputs["smoke"], SmokeResult)
    assert difference(library(str(run.folder)), smoke.answer) <= TOLERANCE
    assert smoke.largest_difference <= TOLERANCE
    paths = smoke.openapi["paths"]
    assert isinstance(paths, dict)
    assert "/predict" in paths
    assert len(smoke.latency_seconds) == 6


@pytest.mark.parametrize("name", ["classifier", "tagger", "vit"])
def test_every_step_is_recorded(runs: Mapping[str, Ingested], name: str) -> None:
    run = runs[name]
    outcome = run.outcome
    assert outcome.failures == {}
    branches = [f"{service}/{step}" for service in run.model.spec.services for step in ("render", "archive", "build", "smoke")]
    assert outcome.nodes == ("fetch", "load", *branches)
    assert not outcome.nothing_to_do
    assert not outcome.skipped
    assert [node for node, state in run.heard.states if state == "done"] == [*outcome.nodes, "report"]
    for node in outcome.nodes:
        assert (run.store / "runs" / outcome.run / f"{node}.json").is_file()
    assert Path(outcome.report).read_text().startswith("<!")
    assert list((run.store / "tmp").glob("*-*-*")) == []


@pytest.mark.parametrize("name", ["classifier", "tagger", "vit"])
def test_one_commit_is_named_everywhere(runs: Mapping[str, Ingested], hub: Forge, name: str) -> None:
    run = runs[name]
    commit = tip(hub.root, name)
    assert run.outcome.receipts["fetch"].outputs["revision"] == commit
    assert run.outcome.receipts["fetch"].inputs["revision"] == commit
    lock = run.context.read_document(run.outcome.receipts["fetch"].outputs["lock"], Lock)
    assert lock.revision == commit
    for file in lock.files:
        assert sha256_file(run.folder / file.path) == file.sha256
    for service in run.model.spec.services:
        outputs = run.outcome.receipts[f"{service}/archive"].outputs
        assert sha256_file(run.store / outputs["archive"]) == outputs["archive_digest"]
        plan = run.context.read_document(run.outcome.receipts[f"{service}/build"].outputs["plan"], BuildPlan)
        assert f"org.opencontainers.image.revision={commit}" in plan.commands[0]


def again(run: Ingested, store: Path | None = None) -> tuple[Outcome, Heard]:
    heard = Heard()
    return run_model(run.model, str(store or run.store), heard), heard


@pytest.mark.parametrize("name", ["classifier", "vit"])
def test_an_equal_run_does_nothing(runs: Mapping[str, Ingested], hub: Forge, name: str) -> None:
    run = runs[name]
    files = {path: path.stat().st_mtime_ns for path in run.store.rglob("*") if path.is_file() and "runs" not in path.parts}
    fetched = len(object_requests(hub))
    outcome, heard = again(run)
    assert outcome.nothing_to_do
    assert outcome.skipped >= set(outcome.nodes)
    assert {state for _, state in heard.states} == {"running", "skipped"}
    assert len(object_requests(hub)) == fetched
    assert {
        path: path.stat().st_mtime_ns for path in run.store.rglob("*") if path.is_file() and "runs" not in path.parts
    } == files
    assert outcome.receipts == run.outcome.receipts


def test_a_moved_branch_repeats_what_changed(vit_run: Ingested, tmp_path: Path, model_folders: Mapping[str, Path]) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for path in model_folders["vit"].iterdir():
        (tree / path.name).write_bytes(path.read_bytes())
    with Forge(tmp_path / "forge") as forge:
        first = publish(tmp_path / "forge", "vit", tree)
        text = manifest("tiny-vit", forge.url("vit"), "image-classification", exclude="['*.json']")
        model = parse_manifest(text, "model.yaml")
        refused = run_model(model, str(tmp_path / "store"), Heard())
        assert refused.failure is not None
        assert refused.failure.reason is Reason.INVALID_CONFIG
        # The weights stay, the card changes: the same object is not asked for again.
        model = parse_manifest(manifest("tiny-vit", forge.url("vit"), "feature-extraction"), "model.yaml")
        heard = Heard()
        unfit = run_model(model, str(tmp_path / "store"), heard)
        assert unfit.failure is not None
        assert unfit.failure.reason is Reason.TASK_MISMATCH
        assert object_requests(forge) == []  # before any weights moved
        pinned = manifest("tiny-vit", forge.url("vit"), "image-classification", revision="main")
        model = parse_manifest(pinned, "model.yaml")
        fetched = [fetch_of(model, tmp_path / "store")]
        (tree / "README.md").write_text("# Another card\n")
        second = publish(tmp_path / "forge", "vit", tree)
        fetched.append(fetch_of(model, tmp_path / "store"))
        assert [receipt.outputs["revision"] for receipt in fetched] == [first, second]
        assert fetched[0].outputs["set_digest"] != fetched[1].outputs["set_digest"]
        assert len(object_requests(forge)) == 1
        assert fetch_of(model, tmp_path / "store") == fetched[1]


def fetch_of(model: Any, store: Path) -> Any:
    """The receipt of the fetch step for a model, done or found."""
    from pipelines.local import parameters
    from pipelines.step_table import STEPS
    from steps.core.contract import Context
    from steps.core.graph import FETCH, Param
    from steps.core.receipts import execute
    from steps.store.local import LocalStore

    values = parameters(model)
    given = {name: values[source.name] for name, source in FETCH.inputs.items() if isinstance(source, Param)}
    assert given.keys() == FETCH.inputs.keys()
    inputs = STEPS["fetch"].inputs.model_validate({name: value for name, value in given.items() if value is not None})
    return execute(STEPS["fetch"], inputs, Context(store=LocalStore(store), scratch=store / "tmp")).receipt
