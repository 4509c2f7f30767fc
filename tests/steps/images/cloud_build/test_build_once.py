"""cloudbuild: an archive gets exactly one image, whatever is lost, late, duplicated or stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from steps.cloudbuild import CloudBuildOutputs
from steps.core.errors import ExitCode, Reason, SlipwayError, Terminated
from steps.core.receipts import Receipt
from steps.images.cloud_build.build_once import CREATIONS, cancel_builds
from steps.images.cloud_build.unfinished import cancel_unfinished
from tests.servers.cloud_build_server import Effect, Fault, Status
from tests.steps.images.cloud_build_site import IMAGE, STORE, Site

pytestmark = pytest.mark.slow  # they start processes or servers, many times


def ends_well(site: Site, *, created: int, cancelled: int = 0) -> CloudBuildOutputs:
    """Look until the build is done: one image is referenced, and it is the one that the oldest build has pushed."""
    while site.server.active:
        site.clock.sleep(20)
        site.server.work()
    done = site.run()
    assert len(site.server.builds) == created
    assert len(site.server.of(Status.CANCELLED)) == cancelled
    assert site.server.active == []
    (kept,) = site.server.of(Status.SUCCESS)
    assert done.build == kept.id
    assert list(site.runner.pushed.items()) == [(IMAGE, done.image_digest)]
    assert len(site.runner.built) == 1
    assert site.run() == done
    return done


@pytest.mark.parametrize("code", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "CANCELLED", "ABORTED"])
def test_a_lost_response_makes_no_second_build(site: Site, code: str) -> None:
    site.server.faults.append(Fault("CreateBuild", Effect.LOSE, code=code))
    assert site.fails().reason is Reason.BUILD_RUNNING
    assert any("response of Cloud Build was lost" in note for note in site.notes)
    ends_well(site, created=1)
    assert site.server.calls.count("CreateBuild") == 1


def test_a_lost_response_is_searched_for(site: Site) -> None:
    site.server.faults.append(Fault("CreateBuild", Effect.LOSE))
    site.server.list_delay = 25
    assert site.fails().reason is Reason.BUILD_RUNNING
    assert site.clock.slept == pytest.approx([2.0, 4.0, 8.0, 16.0], rel=0.2)  # the jitter of RetryPolicy
    ends_well(site, created=1)


def test_a_call_that_never_arrived_is_repeated(site: Site) -> None:
    site.server.faults.append(Fault("CreateBuild", Effect.ANSWER))
    assert site.fails().reason is Reason.BUILD_RUNNING
    assert site.clock.slept == pytest.approx([2.0, 4.0, 8.0, 16.0, 30.0], rel=0.2)
    ends_well(site, created=1)
    assert site.server.calls.count("CreateBuild") == 2


def test_a_late_list_cancels_the_second_build(site: Site) -> None:
    site.server.faults.append(Fault("CreateBuild", Effect.LOSE))
    site.server.list_delay = 100
    assert site.fails().reason is Reason.BUILD_RUNNING
    assert len(site.server.active) == 2
    first, _ = site.server.builds
    site.clock.sleep(100)
    assert first in site.fails().message
    done = ends_well(site, created=2, cancelled=1)
    assert done.build == first


def test_a_duplicated_call_leaves_one_build(site: Site) -> None:
    site.server.faults.append(Fault("CreateBuild", Effect.TWICE))
    site.fails()
    assert len(site.server.active) == 1
    ends_well(site, created=2, cancelled=1)


def test_a_late_duplicate_is_cancelled(site: Site) -> None:
    site.server.faults.append(Fault("CreateBuild", Effect.TWICE))
    site.server.list_delay = 30
    first = site.fails().message
    assert len(site.server.active) == 2
    site.clock.sleep(30)
    assert site.fails().message.split()[1] == first.split()[1]
    assert len(site.server.active) == 1
    ends_well(site, created=2, cancelled=1)


def test_a_build_is_found_without_its_record(site: Site) -> None:
    site.fails()
    site.server.work()
    first, archived = site.run(), site.inputs
    for number in range(4):  # the list comes in pages of two
        site.change_plan(base_image=f"other{number}")
        site.fails()
    site.inputs = archived
    stored = site.gcs.buckets["models"]
    for name in [name for name in stored if "/cloudbuild/" in name or "/receipts/" in name]:
        del stored[name]
    assert site.run() == first
    assert len(site.server.builds) == 5


def test_an_exhausted_quota_starts_no_search(site: Site) -> None:
    site.server.faults.append(Fault("CreateBuild", code="RESOURCE_EXHAUSTED", message="Quota exceeded.", times=2))
    for _ in range(2):
        failure = site.fails()
        assert failure.reason is Reason.BUILDER_BUSY
        assert failure.reason.exit_code is ExitCode.TRANSIENT
        assert "Quota exceeded." in failure.message
    assert site.clock.slept == []
    site.fails()
    ends_well(site, created=1)


def test_losing_every_response_is_transient(site: Site) -> None:
    site.server.faults.append(Fault("CreateBuild", times=CREATIONS))
    failure = site.fails()
    assert failure.reason is Reason.BUILDER_BUSY
    assert str(CREATIONS) in failure.message
    site.fails()
    ends_well(site, created=1)


def test_an_unreachable_service_is_retried(site: Site) -> None:
    site.server.faults.append(Fault("ListBuilds", times=3))
    assert site.fails().reason is Reason.BUILD_RUNNING
    assert site.clock.slept == pytest.approx([0.5, 1.0, 2.0], rel=0.2)
    site.server.faults.append(Fault("ListBuilds", times=40))
    failure = site.fails()
    assert failure.reason is Reason.BUILDER_BUSY
    assert "out of reach" in failure.message
    assert site.clock.monotonic() > 120
    site.server.faults.clear()
    ends_well(site, created=1)


def command(site: Site, **changed: object) -> list[str]:
    """The step as a process."""
    found = [sys.executable, "-m", "steps.cloudbuild", "--store", STORE]
    for name, value in {**site.inputs.model_dump(), **changed}.items():
        found += [f"--{name.replace('_', '-')}", str(value)]
    return found


@pytest.mark.parametrize(("method", "created"), [("ListBuilds", 0), ("CreateBuild", 1), ("GetBuild", 1)])
def test_a_killed_step_takes_its_build_over(site: Site, method: str, created: int) -> None:
    """Killed when a call is done and not answered yet. The list is late: only the store knows of the request."""
    site.server.list_delay = 45
    with subprocess.Popen(command(site), stderr=subprocess.PIPE) as process:

        def kill(name: str) -> None:
            if name == method:
                process.kill()

        site.server.done = kill
        process.communicate()
        site.server.done = lambda name: None
    assert process.returncode == -signal.SIGKILL
    assert len(site.server.builds) == created
    assert site.fails().reason is Reason.BUILD_RUNNING
    ends_well(site, created=1)


@pytest.mark.parametrize(
    ("sent", "code", "left"),
    [(signal.SIGINT, ExitCode.INTERRUPTED, Status.CANCELLED), (signal.SIGTERM, ExitCode.TERMINATED, Status.QUEUED)],
)
def test_a_signal_during_a_call_is_obeyed(site: Site, sent: signal.Signals, code: ExitCode, left: int) -> None:
    with subprocess.Popen(command(site, wait=600), stderr=subprocess.PIPE) as process:

        def send(method: str) -> None:
            if method == "GetBuild":
                site.server.done = lambda method: None
                process.send_signal(sent)

        site.server.list_delay = 45  # the build is looked up by its id
        site.server.done = send
        process.communicate()
    assert process.returncode == code
    assert [build.status for build in site.server.builds.values()] == [left]


def test_two_steps_at_once_leave_one_build(site: Site) -> None:
    with ThreadPoolExecutor(2) as pool:
        failures = list(pool.map(lambda _: site.fails().reason, range(2)))
    assert failures == [Reason.BUILD_RUNNING] * 2
    site.fails()
    assert len(site.server.active) == 1
    created = len(site.server.builds)
    ends_well(site, created=created, cancelled=created - 1)


def stopped(site: Site, by: BaseException) -> None:
    def stop() -> None:
        raise by

    site.clock.then = stop
    with pytest.raises(SlipwayError) as caught:
        site.run(wait=600)
    site.clock.then = lambda: None
    assert caught.value.reason.exit_code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED)


def test_ctrl_c_cancels_the_build(site: Site) -> None:
    stopped(site, KeyboardInterrupt())
    (build,) = site.server.builds.values()
    assert build.status == Status.CANCELLED
    assert f"Build {build.id} is cancelled." in site.notes
    assert site.fails().reason is Reason.BUILD_RUNNING
    ends_well(site, created=2, cancelled=1)


def test_ctrl_c_reports_an_uncancelled_build(site: Site) -> None:
    def stop() -> None:
        site.server.faults.append(Fault("ListBuilds", code="PERMISSION_DENIED", times=9))
        raise KeyboardInterrupt

    site.clock.then = stop
    with pytest.raises(SlipwayError) as caught:
        site.run(wait=600)
    assert caught.value.reason is Reason.INTERRUPTED
    assert any("may go on" in note for note in site.notes)
    site.clock.then = lambda: None
    site.server.faults.clear()
    ends_well(site, created=1)


def test_a_moved_pod_leaves_its_build_running(site: Site) -> None:
    stopped(site, Terminated())
    assert len(site.server.active) == 1
    ends_well(site, created=1)


def test_stopping_a_run_cancels_its_builds(site: Site) -> None:
    site.fails()
    (build,) = site.server.builds.values()
    assert cancel_builds(site.inputs.archive_digest, site.context()) == [build.id]
    assert build.status == Status.CANCELLED
    assert cancel_builds(site.inputs.archive_digest, site.context()) == []
    assert site.fails().reason is Reason.BUILD_RUNNING
    ends_well(site, created=2, cancelled=1)


def test_an_ended_run_cancels_unfinished_builds(site: Site) -> None:
    site.fails()
    (build,) = site.server.builds.values()
    spent: dict[str, Any] = {"service": "text-classification", "started": "", "seconds": 1.0, "cpu_seconds": 1.0}
    inputs = {"archive_digest": site.inputs.archive_digest}
    planned = Receipt(step="build", inputs=inputs, outputs={"awaits": "cloudbuild"}, **spent)
    of_another_builder = Receipt(step="build", inputs=inputs, outputs={"awaits": ""}, **spent)
    cancel_unfinished([planned, Receipt(step="cloudbuild", inputs=inputs, **spent)], site.context())
    cancel_unfinished([of_another_builder], site.context())
    assert site.server.active == [build]
    cancel_unfinished([planned], site.context())
    assert site.server.active == []
    assert site.notes[-1] == f"Build {build.id} is cancelled: the run has ended without it."


def test_an_unlisted_build_is_cancelled_too(site: Site) -> None:
    site.server.list_delay = 45
    site.fails()
    (build,) = site.server.builds.values()
    assert cancel_builds(site.inputs.archive_digest, site.context()) == [build.id]
    assert site.server.active == []


def test_a_build_with_lost_response_is_cancelled(site: Site) -> None:
    site.server.list_delay = 10
    site.server.faults.append(Fault("CreateBuild", Effect.LOSE))
    stopped(site, Terminated())
    (build,) = site.server.builds.values()
    assert cancel_builds(site.inputs.archive_digest, site.context()) == [build.id]
    assert site.server.active == []


def test_cancelling_leaves_other_archives_alone(site: Site) -> None:
    site.fails()
    assert cancel_builds("0" * 64, site.context()) == []
    assert len(site.server.active) == 1


def test_an_ended_build_stays_as_it_is(site: Site) -> None:
    site.fails()
    site.server.done = lambda method: site.server.work() if method == "ListBuilds" else None
    cancel_builds(site.inputs.archive_digest, site.context())
    site.server.done = lambda method: None
    ends_well(site, created=1)
