"""``slipway logs --follow`` tells each line once, under its step's heading, whatever happens to the connection."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from crd.kubernetes_client import KubernetesClient, ObjectT
from crd.resource_kinds import ResourceKind
from pipelines.cluster.logs import NODE_ID, LogFollower
from pipelines.cluster.runs import ModelRun
from pipelines.cluster.watch import poll_run
from steps.core.errors import Reason, SlipwayError
from tests.conftest import FakeClock
from tests.pipelines.cluster.objects import READY, SERVICE, run, step, workflow

EXECUTOR = 'time="2026-11-23T20:00:01Z" level=info msg="sub-process exited" argo=true'
FETCHED = step("w.fetch", "Succeeded", ("Succeeded", ""))


@dataclass(frozen=True)
class Pods(KubernetesClient):
    """Pods, each with the lines that it has written so far; a log whose answer is lost is one that raises."""

    written: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def write(self, pod: str, second: int, *lines: str) -> None:
        """Each line a nanosecond before the one that stands above it: two writers need not come in order."""
        log = self.written.setdefault(pod, [])
        log += [(f"2026-11-23T20:00:{second:02}.{999 - len(log) - number:09}Z", line) for number, line in enumerate(lines)]

    def list_objects(self, kind: ResourceKind[ObjectT], *, labels: str = "", all_namespaces: bool = False) -> list[ObjectT]:
        pods = [{"metadata": {"name": pod, "annotations": {NODE_ID: pod}}} for pod in self.written]
        return cast(list[ObjectT], pods)

    def read_log_since(self, pod: str, since: str) -> list[tuple[str, str]]:
        if pod in self.lost:
            self.lost.remove(pod)
            raise SlipwayError(Reason.NETWORK_UNREACHABLE, "Nobody answers.")
        return [line for line in self.written[pod] if line[0][:19] >= since[:19]]


@pytest.fixture
def pods() -> Pods:
    return Pods("slipway", "", "", "", None)


def follow(pods: Pods, *looks: Callable[[], ModelRun], wanted: str = "") -> list[str]:
    """What is told of a run that is seen so, one look after the other."""
    said: list[str] = []
    rest = list(looks)
    poll_run(lambda: rest.pop(0)(), LogFollower(pods, wanted, said.append), FakeClock())
    assert not rest
    return said


def running(*nodes: Any) -> ModelRun:
    return run(None, workflow("Running", *nodes))


def fetching(phase: str = "Running") -> ModelRun:
    return running(*step("w.fetch", "Running", (phase, "")))


def test_each_line_comes_once(pods: Pods) -> None:
    def begins() -> ModelRun:
        pods.write("w.fetch(0)", 1, "one", "one")
        return fetching()

    def goes_on() -> ModelRun:
        pods.write("w.fetch(0)", 1, "two")
        pods.write("w.fetch(0)", 2, "", EXECUTOR, "three")
        return fetching()

    def goes_over() -> ModelRun:
        pods.write("w.fetch(0)", 2, "four")
        pods.write("w.load(0)", 3, "five")
        return running(*FETCHED, *step("w.load", "Running", ("Running", "")))

    def fails() -> ModelRun:
        return run(None, workflow("Failed", *FETCHED, *step("w.load", "Failed", ("Failed", "OOMKilled"))))

    def is_not_tried_again() -> ModelRun:  # which Argo has not said yet
        return running(*FETCHED, *step("w.load", "Running", ("Failed", "OOMKilled")))

    said = follow(pods, lambda: fetching("Pending"), begins, goes_on, fetching, goes_over, is_not_tried_again, fails)
    fetch = ["one", "one", "two", "", "three", "four"]
    assert said == ["── fetch ──", *fetch, "── fetch: done ──", "── load ──", "five", "── load: failed ──"]


def test_headings_tell_parallel_steps_apart(pods: Pods) -> None:
    services = (SERVICE, "ner")

    def smoke(phase: str) -> list[Any]:
        return [
            node
            for number, service in enumerate(services)
            for node in step(f"w.service({number}:{service}).smoke", phase, (phase, ""), service=service)
        ]

    def write(*lines: str) -> ModelRun:
        for number, (service, line) in enumerate(zip(services, lines, strict=True)):
            pods.write(f"w.service({number}:{service}).smoke(0)", 1, line)
        return running(*smoke("Running"))

    ended = run(None, workflow("Succeeded", *smoke("Succeeded")))
    said = follow(pods, lambda: write("a", "b"), lambda: write("c", "d"), lambda: ended)
    one, other = (f"── {service}/smoke" for service in services)
    assert said == [
        *(f"{one} ──", "a", f"{other} ──", "b", f"{one} ──", "c", f"{other} ──", "d"),
        *(f"{one}: done ──", f"{other}: done ──"),
    ]


def test_a_lost_connection_repeats_nothing(pods: Pods) -> None:
    def loses() -> ModelRun:
        pods.write("w.fetch(0)", 1, "two")
        pods.lost.append("w.fetch(0)")
        return fetching()

    def begins() -> ModelRun:
        pods.write("w.fetch(0)", 1, "one")
        return fetching()

    ended = run(None, workflow("Succeeded", *FETCHED))
    with redirect_stderr(io.StringIO()) as told:
        said = follow(pods, begins, loses, loses, fetching, lambda: ended)
    assert said == ["── fetch ──", "one", "two", "two", "── fetch: done ──"]
    assert told.getvalue() == "Nobody answers. Trying again …\n"


def test_each_try_stands_under_its_number(pods: Pods) -> None:
    def fails() -> ModelRun:
        pods.write("w.fetch(0)", 1, "one")
        return running(*step("w.fetch", "Running", ("Failed", "OOMKilled")))

    def tries_again() -> ModelRun:
        pods.write("w.fetch(1)", 2, "two")
        return run(None, workflow("Succeeded", *step("w.fetch", "Succeeded", ("Failed", "OOMKilled"), ("Succeeded", ""))))

    said = follow(pods, fails, tries_again)
    headings = ["── fetch, try 1 of 2: failed ──", "── fetch, try 2 ──", "two", "── fetch, try 2 of 2: done ──"]
    assert said == ["── fetch ──", "one", *headings]


def test_a_named_step_is_followed_alone(pods: Pods) -> None:
    pods.write("w.fetch(0)", 1, "one")
    pods.write("w.load(0)", 1, "two")
    ended = run(None, workflow("Succeeded", *FETCHED, *step("w.load", "Succeeded", ("Succeeded", ""))))
    assert follow(pods, lambda: ended, wanted="load") == ["── load ──", "two", "── load: done ──"]
    with pytest.raises(SlipwayError, match="no step lode"):
        follow(pods, lambda: ended, wanted="lode")


def test_deleted_pods_are_reported_with_their_record(pods: Pods) -> None:
    ended = run(None, workflow("Succeeded", *FETCHED))
    title, words, heading = follow(pods, fetching, fetching, lambda: ended)
    assert (title, heading) == ("── fetch ──", "── fetch: done ──")
    assert words.startswith("The pod was deleted.")
    assert words.count("fetch.json") == 1
    (words,) = follow(pods, lambda: run(READY, None))
    assert "does not exist" in words
