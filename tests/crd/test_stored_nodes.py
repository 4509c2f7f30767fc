"""Nodes that Argo packs are read as any others; those in its database, and damaged ones, are told in words."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tracemalloc
from pathlib import Path

import pytest

from crd.fitting import fit
from crd.kubernetes_objects import WorkflowObject
from crd.observe import status_of
from crd.status import ModelStatus
from crd.stored_nodes import DAMAGED, MAX_NODES, OFFLOADED, TOO_MANY, read_nodes
from crd.workflow_nodes import read_run
from pipelines.cluster.logs import read_logs
from pipelines.cluster.runs import ModelRun, Phase
from pipelines.cluster.watch import poll_run
from pipelines.display.console import open_console
from pipelines.display.lines import PlainView
from pipelines.display.tables import print_run
from steps.core.errors import Reason
from tests.conftest import FakeClock
from tests.crd.fake_api import FakeApi
from tests.crd.recorded_workflows import FOLDER, model, workflow
from tests.pipelines.cluster.objects import NOW

NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
TIME = "2026-11-23T23:00:00Z"


def pack(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data)).decode()


def packed(name: str) -> WorkflowObject:
    """A recorded Workflow as it would be if it were large."""
    found = workflow(name, of=model())
    found["status"]["compressedNodes"] = pack(json.dumps(found["status"].pop("nodes", {})).encode())
    return found


def offloaded(name: str) -> WorkflowObject:
    """A recorded Workflow as it would be where Argo has a database for nodes."""
    found = workflow(name, of=model())
    del found["status"]["nodes"]
    found["status"]["offloadNodeStatusVersion"] = "fnv:1234"
    return found


def seen(found: WorkflowObject) -> ModelStatus:
    return status_of(model(), found, TIME)


@pytest.mark.fault("accepted")
@pytest.mark.parametrize("name", NAMES)
def test_packed_nodes_are_read_as_any(name: str) -> None:
    assert read_run(packed(name)) == read_run(workflow(name, of=model()))
    assert seen(packed(name)) == seen(workflow(name, of=model()))
    assert read_nodes(packed(name))[0] == workflow(name, of=model())["status"].get("nodes", {})


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    "text",
    ["%", "AAAA", pack(b""), pack(b"[1]"), pack(b"{" * 100_000), pack(b"[" * 100_000), pack(b"{}")[:-8], "é"],
    ids=["no base64", "no gzip", "empty", "a list", "braces", "nested", "cut off", "no ASCII"],
)
def test_damaged_nodes_are_told(text: str) -> None:
    found = packed("succeeded")
    found["status"]["compressedNodes"] = text
    assert read_nodes(found) == ({}, DAMAGED)
    assert seen(found).last_failure


@pytest.mark.fault("refused")
def test_unpacked_nodes_have_a_limit() -> None:
    found = packed("succeeded")
    found["status"]["compressedNodes"] = pack(bytes(4 * MAX_NODES))
    tracemalloc.start()
    assert read_nodes(found) == ({}, TOO_MANY)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * MAX_NODES


@pytest.mark.parametrize(("name", "phase"), [("succeeded", "Succeeded"), ("revision-missing", "Failed")])
def test_an_ended_run_with_offloaded_nodes_stalls(name: str, phase: str) -> None:
    status = seen(offloaded(name))
    conditions = {each.type: each for each in status.conditions}
    assert conditions["Ready"].status == "False"
    assert conditions["Stalled"].reason == Reason.WORKFLOW_UNREADABLE
    assert conditions["Fetched"].status == "Unknown"
    assert status.finished_generation == 1
    assert status.last_failure
    assert (
        status.last_failure.message == f"The Workflow has ended as {phase}, and what its steps made is not known. {OFFLOADED}"
    )
    assert "nodeStatusOffLoad: false" in status.last_failure.hint
    assert "runs/" in status.last_failure.hint


def test_a_running_one_goes_on() -> None:
    status = seen(offloaded("running"))
    conditions = {each.type: each for each in status.conditions}
    assert conditions["Reconciling"].message == OFFLOADED
    assert status.finished_generation == 0
    assert status.last_failure is None


def test_commands_tell_of_offloaded_nodes(clock: FakeClock) -> None:
    found = offloaded("succeeded")
    ended = model(status=seen(found))
    run = ModelRun("m", found["metadata"]["name"], ended, found)
    assert run.phase is Phase.FAILED
    text, told = io.StringIO(), io.StringIO()
    print_run(run, open_console(text), NOW)
    assert OFFLOADED in text.getvalue()
    assert next(read_logs(FakeApi().client(), run)).startswith(OFFLOADED)
    poll_run(lambda: run, PlainView(told), clock)
    assert OFFLOADED in told.getvalue()
    alone = ModelRun("w", found["metadata"]["name"], None, found)
    assert alone.failure
    assert alone.failure[1].reason is Reason.WORKFLOW_UNREADABLE


def test_a_packed_run_is_shown_whole() -> None:
    text = io.StringIO()
    found = packed("succeeded")
    print_run(ModelRun("m", found["metadata"]["name"], model(status=seen(found)), found), open_console(text), NOW)
    assert "text-classification/smoke" in text.getvalue()
    assert found["status"]["compressedNodes"] not in text.getvalue()


@pytest.mark.fault("accepted")
def test_what_argo_has_packed_is_read() -> None:
    """A Workflow of twelve tasks, as Argo 3.7.15 left it with ``MAX_WORKFLOW_SIZE=3000``."""
    found = fit(json.loads(Path(__file__).with_name("packed_workflow.json").read_text()), WorkflowObject)
    nodes, unreadable = read_nodes(found)
    assert unreadable == ""
    assert sorted(node["type"] for node in nodes.values()) == ["StepGroup", "Steps", *["Suspend"] * 12]
    assert read_run(found).succeeded
