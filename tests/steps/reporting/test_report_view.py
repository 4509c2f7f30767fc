"""What the page says about a run in each state, and that it is safe whatever the run holds."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from steps.core.contract import Context
from steps.core.digest import sha256_bytes
from steps.core.documents import PlannedLayer
from steps.core.errors import Reason
from tests.steps.reporting.report_page import IMAGE, REFERENCES, TEXT, TOKENS, Page, change, failure, path, report
from tests.steps.reporting.sample_run import (
    COMMIT,
    SENTENCE,
    SampleRun,
    facts,
    lock,
    openapi,
    plan,
    png,
    rendered,
    smoke,
)


def test_a_finished_run_shows_model_services_digests(context: Context) -> None:
    SampleRun(context, [TEXT, TOKENS]).all()
    found = report(context)
    assert found.outcome() == ("good", f"Serves {TEXT} and {TOKENS}")
    for text in (
        "67 million",
        "DistilBertForSequenceClassification",
        "apache-2.0",
        "268 MB",
        f"sha256:{lock().set_digest}",
        COMMIT,
        SENTENCE,
        "POSITIVE 0.931",
        "Ada Lovelace · PER",
        "39 ms",
        "861 MB",
        "269 MB fetched, 804 MB left out",
        f"sha256:{sha256_bytes(TEXT.encode())}",
        "registry.example.org/models/harbour-text-classification:3f2a9c01d4e5b677",
        "planned, not built",
        "docker build -f context/env/docker/Dockerfile -t harbour context",
        "bentoml serve harbour-text-classification:3f2a9c01d4e5b677",
        "2026-11-20 14:03:11 UTC",
    ):
        assert text in found.text
    for file in lock().files:
        assert file.path in found.text
        assert file.sha256 in found.text


def test_the_api_tables_come_from_openapi(context: Context) -> None:
    SampleRun(context, [TEXT]).all()
    found = report(context)
    assert "text text, 1 to 100,000 characters required the text" in found.text
    assert "labels list of objects required the best classes, best first" in found.text
    assert "labels[].label text required the class's name, from the model's id2label" in found.text
    body = re.search(r"-d '(.*?)'", found.text)
    assert body is not None
    assert json.loads(body[1]) == {"text": SENTENCE, "top_k": 5}


def test_the_golden_image_is_inside_the_page(context: Context) -> None:
    SampleRun(context, [IMAGE]).all()
    found = report(context)
    pictures = [value for tag, name, value in found.attributes() if (tag, name) == ("img", "src")]
    assert pictures == [f"data:image/png;base64,{base64.b64encode(png()).decode()}"]
    assert "-F image=@src/golden/picture.png" in found.text


def test_svg_is_not_shown_as_an_image(context: Context) -> None:
    run = SampleRun(context, [IMAGE]).all()
    drawing = rendered(IMAGE).model_copy(
        update={"binaries": {"src/golden/picture.png": base64.b64encode(b"<svg onload='x()'/>").decode()}}
    )
    run.step("render", IMAGE, outputs={"render": context.publish_document("renders", drawing)})
    found = report(context)
    assert not [tag for tag, _ in found.tags if tag == "img"]
    assert "image: not available" in found.text


@pytest.mark.parametrize("services", [[TEXT, TOKENS], [IMAGE], ["feature-extraction"]])
def test_the_page_loads_nothing_and_runs_nothing(context: Context, services: list[str]) -> None:
    SampleRun(context, services).all()
    found = report(context)
    policy = [attributes.get("content") for tag, attributes in found.tags if "http-equiv" in attributes]
    assert policy == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; base-uri 'none'; form-action 'none'",
    ]
    assert_inert(found)


def assert_inert(found: Page) -> None:
    tags = {tag for tag, _ in found.tags}
    assert not tags & {"script", "iframe", "object", "embed", "form", "base", "foreignobject", "use", "image", "video"}
    for tag, name, value in found.attributes():
        assert not name.startswith("on"), (tag, name)
        if name in REFERENCES:
            assert value.startswith("data:"), (tag, name, value)
        if name == "style":
            assert re.fullmatch(r"((left|width|margin-top):[0-9.]+(%|px);?)+", value), (tag, value)
    assert "url(" not in found.style
    assert "@import" not in found.style


HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }} {% raw %} \u202egnihsif"
INERT = HOSTILE.replace("\u202e", "\ufffd")


def test_hostile_texts_stay_texts(context: Context) -> None:
    run = SampleRun(context, [TOKENS, TEXT])
    run.asked = {**run.asked, "source": HOSTILE, "exclude": [HOSTILE], "services": [TOKENS, TEXT, HOSTILE]}
    run.fetch()
    run.load(facts([TEXT, TOKENS], architecture=HOSTILE, licence=HOSTILE, model_type=HOSTILE, versions={HOSTILE: HOSTILE}))
    package = rendered(TEXT)
    package = package.model_copy(update={"files": {HOSTILE: HOSTILE}, "bento": HOSTILE})
    run.step("render", TEXT, inputs={"name": HOSTILE}, outputs={"render": context.publish_document("renders", package)})
    run.archive(TEXT)
    layer = PlannedLayer(instruction=HOSTILE, purpose=HOSTILE, bytes=7)
    run.build(TEXT, plan(TEXT, image=HOSTILE, image_digest=HOSTILE, commands=[HOSTILE], layers=[layer], context=HOSTILE))
    document = openapi(TEXT)
    document["components"]["schemas"]["Label"]["properties"][HOSTILE] = {"type": HOSTILE, "description": HOSTILE}
    answer = {"labels": [{"label": HOSTILE, "score": 0.5}], HOSTILE: {HOSTILE: HOSTILE}}
    run.smoke(TEXT, smoke(TEXT, answer=answer, openapi=document))
    entity = {"entity": HOSTILE, "score": 0.9, "word": HOSTILE, "start": 0, "end": 3}
    run.render(TOKENS)
    run.smoke(TOKENS, smoke(TOKENS, answer={"entities": [entity]}))
    run.fail("build", failure(Reason.BUILD_FAILED, HOSTILE), TOKENS)
    run.fail("render", failure(Reason.UNKNOWN_TASK, HOSTILE), "text-generation")
    found = report(context, status=HOSTILE)
    assert_inert(found)
    assert "<script" not in found.html
    assert "\u202e" not in found.html
    assert found.text.count(INERT[:39]) >= 15
    assert {tag for tag, _ in found.tags} & {"mark", "dd", "pre"}


def test_long_texts_are_cut(context: Context) -> None:
    run = SampleRun(context, [TEXT])
    run.asked = {**run.asked, "source": "https://example.org/" + "a" * 2000}
    run.fetch()
    run.load(facts([TEXT], architecture="B" * 100_000, licence="C" * 100_000))
    run.fail("render", failure(Reason.INTERNAL_ERROR, "D" * 1_000_000), TEXT)
    assert len(report(context).html) < 60_000


def test_a_failure_shows_reason_hint_and_working_services(context: Context) -> None:
    run = SampleRun(context, [TEXT, TOKENS]).all()
    run.fail("smoke", failure(Reason.SMOKE_MISMATCH, "0.5012 where 0.9312 was expected."), TEXT)
    found = report(context, status="Failed")
    assert found.outcome() == ("bad", f"Failed at smoke of {TEXT}")
    for text in (
        "SmokeMismatch",
        "0.5012 where 0.9312 was expected.",
        Reason.SMOKE_MISMATCH.hint,
        "trying again will not help",
        f"{TOKENS} works. The workflow ended as “Failed”.",
        f"smoke {TEXT} failed",
        "Answer of the model when it was loaded POSITIVE 0.931",
    ):
        assert text in found.text


def test_records_after_a_failed_step_are_outdated(context: Context) -> None:
    run = SampleRun(context, [TEXT]).all()
    run.fail("load", failure(Reason.LOAD_FAILED))
    found = report(context)
    assert found.outcome() == ("bad", "Failed at load")
    assert f"{TEXT} works" not in found.text
    assert "POSITIVE" not in found.text


def test_a_run_that_failed_first_names_the_source(context: Context) -> None:
    run = SampleRun(context, [TEXT])
    run.fail("fetch", failure(Reason.NETWORK_UNREACHABLE, "git.example.org does not answer."))
    found = report(context)
    assert found.outcome() == ("bad", "Failed at fetch")
    assert "https://git.example.org/models/harbour-small git_lfs" in found.text
    assert "NetworkUnreachable trying again may help git.example.org does not answer." in found.text
    assert "not available" not in found.text


def test_a_stopped_run_has_not_failed(context: Context) -> None:
    run = SampleRun(context, [TEXT])
    run.fetch()
    run.fail("load", failure(Reason.TERMINATED, "Stopped by SIGTERM."))
    assert report(context).outcome() == ("open", "Stopped in load")


def test_an_unfinished_run_lists_what_is_missing(context: Context) -> None:
    run = SampleRun(context, [TEXT, "ner"])
    run.fetch()
    run.load(facts([TEXT]))
    run.render(TEXT)
    found = report(context)
    assert found.outcome() == ("open", "Not finished")
    assert f"Not done: archive, build and smoke of {TEXT}; render, archive, build and smoke of {TOKENS}." in found.text


def test_a_workflow_killed_from_outside_has_failed(context: Context) -> None:
    SampleRun(context, [TEXT]).fetch()
    found = report(context, status="Error")
    assert found.outcome() == ("bad", "Ended before it was complete")
    assert "No step recorded a failure" in found.text


def test_a_workflow_without_records_is_reported(context: Context) -> None:
    assert report(context, status="Failed").outcome() == ("bad", "Ended before it was complete")


def delete(file: Path) -> None:
    file.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("damage", [delete, change])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("locks", "Weights not available"),
        ("facts", "Architecture not available"),
        ("renders", "Not available: package."),
        ("plans", "Not available: build plan."),
        ("smokes", "Not available: smoke test."),
    ],
)
def test_an_unreadable_document_is_named(context: Context, kind: str, said: str, damage: Callable[[Path], None]) -> None:
    SampleRun(context, [TEXT]).all()
    (key,) = context.store.list(f"{kind}/")
    damage(path(context, key))
    found = report(context)
    assert found.outcome() == ("good", f"Serves {TEXT}")
    assert "1 document of this run is not available" in found.text
    assert key in found.text
    assert said in found.text
    assert "2026-11-20 14:03:11 UTC" in found.text


def test_a_document_of_another_version_is_named(context: Context) -> None:
    run = SampleRun(context, [TEXT]).all()
    run.step("smoke", TEXT, outputs={"smoke": context.publish_document("smokes", lock())})
    assert "is not a SmokeResult of this version" in report(context).text


def test_a_run_is_reported_from_records_alone(context: Context) -> None:
    SampleRun(context, [TEXT, IMAGE]).all()
    for kind in ("locks", "facts", "renders", "plans", "smokes"):
        shutil.rmtree(path(context, kind))
    found = report(context)
    assert "8 documents of this run are not available" in found.text
    assert "Not available: package, build plan, smoke test." in found.text
