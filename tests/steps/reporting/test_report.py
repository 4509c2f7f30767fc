"""The report: one safe page about any run, written once for each state of it."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.command.main import main, parse_inputs
from steps.core.contract import Context
from steps.core.digest import sha256_bytes
from steps.core.documents import PlannedLayer
from steps.core.errors import Reason, SlipwayError
from steps.core.receipts import Failure, execute, read_records, write_record
from steps.report import STEP, ReportInputs
from steps.reporting.answers import parts
from steps.reporting.openapi import request_schema, response_schema
from steps.reporting.timeline import timeline
from steps.store.local import LocalStore
from tests.steps.reporting.report_fixture import (
    COMMIT,
    RUN,
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

TEXT, TOKENS, IMAGE = "text-classification", "token-classification", "image-classification"
KEY = f"runs/{RUN}/report.html"
# Every attribute of HTML and SVG that makes a browser load, go or do something.
REFERENCES = {"src", "srcset", "href", "xlink:href", "action", "formaction", "data", "poster", "background", "ping", "manifest"}


class Page(HTMLParser):
    """A parsed report: its tags, its attributes, and its text in one line."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._texts: list[str] = []
        self._in_style = False
        self.style = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"
        self._part(tag)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False
        self._part(tag)

    def _part(self, tag: str) -> None:
        """What elements hold is apart for a reader; only ``wbr`` stands within a word."""
        if tag != "wbr":
            self._texts.append(" ")

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.style += data
        else:
            self._texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self._texts).split())

    def attributes(self) -> Iterator[tuple[str, str, str]]:
        for tag, attributes in self.tags:
            for name, value in attributes.items():
                yield tag, name, value or ""

    def verdict(self) -> tuple[str, str]:
        """The verdict's tone and the page's title."""
        tone = next(attributes["class"] for tag, attributes in self.tags if attributes.get("aria-label") == "Verdict")
        title = re.search(r"<title>(.*?)</title>", self.html)
        assert tone is not None
        assert title is not None
        return tone.removeprefix("verdict "), title[1].partition(": ")[2]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(store=LocalStore(tmp_path / "store"), scratch=tmp_path / "scratch")


def report(context: Context, status: str = "") -> Page:
    execute(STEP, ReportInputs(report_run=RUN, status=status), context, run=RUN)
    return page(context)


def page(context: Context) -> Page:
    return Page(b"".join(context.store.read(KEY)).decode())


def path(context: Context, key: str) -> Path:
    assert isinstance(context.store, LocalStore)
    return context.store.path(key)


def failure(reason: Reason, message: str = "It broke.") -> Failure:
    return Failure.from_error(SlipwayError(reason, message))


def test_a_finished_run_shows_its_model_its_services_and_every_digest(context: Context) -> None:
    SampleRun(context, [TEXT, TOKENS]).all()
    found = report(context)
    assert found.verdict() == ("good", f"Serves {TEXT} and {TOKENS}")
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
        "269 MB fetched, 804 MB left behind",
        f"sha256:{sha256_bytes(TEXT.encode())}",
        "registry.example.org/models/harbour-text-classification:3f2a9c01d4e5b677",
        "planned and not built",
        "docker build -f context/env/docker/Dockerfile -t harbour context",
        "bentoml serve harbour-text-classification:3f2a9c01d4e5b677",
        "2026-11-20 14:03:11 UTC",
    ):
        assert text in found.text
    for file in lock().files:
        assert file.path in found.text
        assert file.sha256 in found.text


def test_the_api_is_told_from_the_services_own_openapi_document(context: Context) -> None:
    SampleRun(context, [TEXT]).all()
    found = report(context)
    assert "text text, 1 to 100,000 characters required the text" in found.text
    assert "labels list of objects required the best classes, best first" in found.text
    assert "labels[].label text required the class's name, from the model's id2label" in found.text
    body = re.search(r"-d '(.*?)'", found.text)
    assert body is not None
    assert json.loads(body[1]) == {"text": SENTENCE, "top_k": 5}


def test_the_golden_picture_is_inside_the_page(context: Context) -> None:
    SampleRun(context, [IMAGE]).all()
    found = report(context)
    pictures = [value for tag, name, value in found.attributes() if (tag, name) == ("img", "src")]
    assert pictures == [f"data:image/png;base64,{base64.b64encode(png()).decode()}"]
    assert "-F image=@src/golden/picture.png" in found.text


def test_a_file_that_is_no_bitmap_is_not_shown_as_a_picture(context: Context) -> None:
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


def test_hostile_texts_stay_texts_wherever_they_come_from(context: Context) -> None:
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


def test_a_failure_is_told_with_its_reason_and_hint_and_what_works_all_the_same(context: Context) -> None:
    run = SampleRun(context, [TEXT, TOKENS]).all()
    run.fail("smoke", failure(Reason.SMOKE_MISMATCH, "0.5012 where 0.9312 was expected."), TEXT)
    found = report(context, status="Failed")
    assert found.verdict() == ("bad", f"Failed at smoke of {TEXT}")
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


def test_what_an_earlier_attempt_left_behind_a_failed_step_does_not_count(context: Context) -> None:
    run = SampleRun(context, [TEXT]).all()
    run.fail("load", failure(Reason.LOAD_FAILED))
    found = report(context)
    assert found.verdict() == ("bad", "Failed at load")
    assert f"{TEXT} works" not in found.text
    assert "POSITIVE" not in found.text


def test_a_run_that_failed_at_its_first_step_says_where_the_model_should_come_from(context: Context) -> None:
    run = SampleRun(context, [TEXT])
    run.fail("fetch", failure(Reason.NETWORK_UNREACHABLE, "git.example.org does not answer."))
    found = report(context)
    assert found.verdict() == ("bad", "Failed at fetch")
    assert "https://git.example.org/models/harbour-small git_lfs" in found.text
    assert "NetworkUnreachable trying again may help git.example.org does not answer." in found.text
    assert "not available" not in found.text


def test_a_stopped_run_is_stopped_rather_than_failed(context: Context) -> None:
    run = SampleRun(context, [TEXT])
    run.fetch()
    run.fail("load", failure(Reason.TERMINATED, "Stopped by SIGTERM."))
    assert report(context).verdict() == ("open", "Stopped in load")


def test_a_run_in_the_middle_says_what_is_not_done(context: Context) -> None:
    run = SampleRun(context, [TEXT, "ner"])
    run.fetch()
    run.load(facts([TEXT]))
    run.render(TEXT)
    found = report(context)
    assert found.verdict() == ("open", "Not finished")
    assert f"Not done: archive, build and smoke of {TEXT}; render, archive, build and smoke of {TOKENS}." in found.text


def test_a_workflow_that_died_without_a_word_has_failed(context: Context) -> None:
    SampleRun(context, [TEXT]).fetch()
    found = report(context, status="Error")
    assert found.verdict() == ("bad", "Ended before it was done")
    assert "No step wrote down a failure" in found.text


def test_a_workflow_without_any_record_is_reported_when_the_engine_says_how_it_ended(context: Context) -> None:
    assert report(context, status="Failed").verdict() == ("bad", "Ended before it was done")


def test_a_run_that_nobody_knows_is_an_error(context: Context) -> None:
    with pytest.raises(SlipwayError, match="no record of a run 'harbour-1'") as caught:
        report(context)
    assert caught.value.reason is Reason.INVALID_INPUT


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/etc", "a\n", "-x"])
def test_a_run_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(SlipwayError, match="--report-run"):
        parse_inputs(ReportInputs, {"report_run": name})


def delete(file: Path) -> None:
    file.unlink()


def change(file: Path) -> None:
    file.chmod(0o644)
    file.write_bytes(file.read_bytes() + b" ")


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
def test_a_document_that_is_gone_or_damaged_is_named_and_the_rest_is_told(
    context: Context, kind: str, said: str, damage: Callable[[Path], None]
) -> None:
    SampleRun(context, [TEXT]).all()
    (key,) = context.store.list(f"{kind}/")
    damage(path(context, key))
    found = report(context)
    assert found.verdict() == ("good", f"Serves {TEXT}")
    assert "1 document of this run is not available" in found.text
    assert key in found.text
    assert said in found.text
    assert "2026-11-20 14:03:11 UTC" in found.text


def test_a_document_of_another_version_is_named_and_the_rest_is_told(context: Context) -> None:
    run = SampleRun(context, [TEXT]).all()
    run.step("smoke", TEXT, outputs={"smoke": context.publish_document("smokes", lock())})
    assert "is not a SmokeResult of this version" in report(context).text


def test_a_run_of_which_only_the_records_are_left_is_reported(context: Context) -> None:
    SampleRun(context, [TEXT, IMAGE]).all()
    for kind in ("locks", "facts", "renders", "plans", "smokes"):
        shutil.rmtree(path(context, kind))
    found = report(context)
    assert "8 documents of this run are not available" in found.text
    assert "Not available: package, build plan, smoke test." in found.text


class BusyStore(LocalStore):
    """A store that is overloaded when it comes to documents."""

    def read(self, key: str) -> Iterator[bytes]:
        if not key.startswith("runs/"):
            raise SlipwayError(Reason.STORE_BUSY, f"{key}: try later")
        return super().read(key)


def test_a_store_out_of_reach_is_a_reason_to_try_again_and_not_a_report_with_holes(context: Context) -> None:
    SampleRun(context, [TEXT]).all()
    busy = Context(store=BusyStore(path(context, "runs").parent), scratch=context.scratch)
    with pytest.raises(SlipwayError) as caught:
        report(busy)
    assert caught.value.reason is Reason.STORE_BUSY
    assert context.store.size(KEY) is None


def test_an_unchanged_run_is_reported_once(context: Context) -> None:
    SampleRun(context, [TEXT]).all()
    inputs = ReportInputs(report_run=RUN)
    first = execute(STEP, inputs, context, run=RUN)
    second = execute(STEP, inputs, context, run=RUN)
    assert not first.skipped
    assert second.skipped
    assert second.outputs == first.outputs
    assert first.receipt.objects == {KEY: sha256_bytes(page(context).html.encode())}


def test_a_run_that_goes_back_and_forth_always_has_the_report_of_its_state(context: Context) -> None:
    run = SampleRun(context, [TEXT]).all()
    (good,) = [receipt for receipt in read_records(context, RUN) if receipt.step == "smoke"]
    bad = good.model_copy(update={"outputs": {}, "failure": failure(Reason.BOOT_FAILED)})
    for _ in range(3):
        for receipt, tone in ((good, "good"), (bad, "bad")):
            write_record(context, run.run, receipt)
            assert report(context).verdict()[0] == tone
            assert execute(STEP, ReportInputs(report_run=RUN), context).skipped


def test_a_page_that_was_changed_in_the_store_is_not_taken_for_the_report(context: Context) -> None:
    SampleRun(context, [TEXT]).all()
    report(context)
    change(path(context, KEY))
    with pytest.raises(SlipwayError) as caught:
        report(context)
    assert caught.value.reason is Reason.DIGEST_MISMATCH


def test_a_page_that_is_gone_is_written_again(context: Context) -> None:
    SampleRun(context, [TEXT]).all()
    before = report(context).html
    path(context, KEY).unlink()
    assert report(context).html == before


def test_the_step_runs_as_a_program(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    SampleRun(context, [TEXT]).all()
    with pytest.raises(SystemExit) as ended:
        main(STEP, ["--report-run", RUN, "--store", context.store.uri, "--status", "Succeeded"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out) == {"report": KEY}
    assert "The workflow ended as “Succeeded”." in page(context).text


def test_idle_time_between_sittings_is_cut_out_of_the_timeline(context: Context) -> None:
    run = SampleRun(context, [TEXT])
    run.fetch()
    run.pause(3 * 3600)
    run.load()
    run.pause(5)
    run.render(TEXT)
    found = timeline(read_records(context, RUN))
    fetch, load, render = found.rows
    assert found.cut == "3 h"
    assert fetch.left == 0
    assert fetch.width + 3 < load.left < fetch.width + 5
    assert load.left + load.width < render.left
    assert render.left + render.width == pytest.approx(100, abs=0.01)
    assert fetch.left + fetch.width < found.cuts[0] < load.left
    assert [tick.text for tick in found.ticks if not tick.text.startswith("+")] == ["14:03:11", "17:03:20"]


def test_entities_are_marked_in_their_text_and_those_without_a_place_are_only_listed() -> None:
    def entity(word: str, start: int | None, end: int | None) -> dict[str, object]:
        return {"entity": "X", "score": 0.5, "word": word, "start": start, "end": end}

    answer = {"entities": [entity("cd", 2, 4), entity("bc", 1, 3), entity("?", None, None), entity("far", 5, 99)]}
    (part,) = parts(answer, {"text": "abcdef"})
    assert [(piece.text, piece.entity) for piece in part.pieces] == [("a", ""), ("bc", "X"), ("def", "")]
    assert len(part.scores) == 4


def test_vectors_are_told_by_their_shape_and_their_first_numbers() -> None:
    (part,) = parts({"features": [[0.5, -1.0, 0.25] * 100] * 13}, {})
    assert part.note == "13 × 300 numbers; the first 96 are drawn"
    assert part.text == "[0.5, -1, 0.25, 0.5, -1, 0.25, …]"
    assert [(mark.top, mark.height) for mark in part.marks[:2]] == [(0.0, 33.333), (33.333, 66.667)]


def test_an_answer_of_a_form_that_nobody_foresaw_is_shown_as_json() -> None:
    (part,) = parts({"boxes": [{"x": 1, "y": 2}]}, {})
    assert (part.kind, json.loads(part.text)) == ("json", [{"x": 1, "y": 2}])


KEYS = st.sampled_from(
    ["label", "score", "entity", "word", "start", "end", "properties", "type", "items", "$ref", "enum", "anyOf", "required"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(answer=st.dictionaries(st.text(max_size=8), JSON, max_size=4), text=JSON)
def test_no_answer_of_a_service_breaks_the_report(answer: dict[str, object], text: object) -> None:
    assert len(parts(answer, {"text": text})) == len(answer)


@given(schema=JSON, parameters=JSON)
def test_no_openapi_document_breaks_the_report(schema: object, parameters: object) -> None:
    document = {
        "components": {"schemas": {"A": schema, "Loop": {"$ref": "#/components/schemas/Loop"}}},
        "paths": {
            "/predict": {
                "post": {
                    "requestBody": {"content": {"application/json": {"schema": schema}}},
                    "responses": {"200": parameters},
                }
            }
        },
    }
    request, response = request_schema(document), response_schema(document)
    assert request is None or request.rows
    assert response is None or response.rows


def test_a_schema_that_contains_itself_has_an_end() -> None:
    tree = {"properties": {"left": {"$ref": "#/components/schemas/Tree"}, "right": {"$ref": "#/components/schemas/Tree"}}}
    document = {
        "components": {"schemas": {"Tree": tree}},
        "paths": {"/predict": {"post": {"requestBody": {"content": {"application/json": {"schema": tree}}}}}},
    }
    found = request_schema(document)
    assert found is not None
    assert len(found.rows) == 60
