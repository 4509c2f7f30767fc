"""cloudbuild: a failed build is reported once, with the end of its log; the next run starts another."""

from __future__ import annotations

import pytest

from steps.core.errors import ExitCode, Reason
from steps.images.cloud_build.log import MAX_LINE, MAX_LINES
from tests.servers.cloud_build_server import Effect, Fault, Outcome, Status
from tests.servers.faulty_server import Fault as StorageFault
from tests.steps.images.cloud_build_site import IMAGE, Site

pytestmark = pytest.mark.slow  # they start processes or servers, many times


def failed(site: Site, status: int, detail: str = "", lines: tuple[str, ...] = ()) -> None:
    """Start a build and let it end like this."""
    site.server.outcomes.append(Outcome(status, detail, lines))
    site.fails()
    site.server.work()


@pytest.mark.parametrize(
    ("status", "hint"), [(Status.FAILURE, "log"), (Status.TIMEOUT, "build_timeout"), (Status.CANCELLED, "cancelled")]
)
def test_a_failure_is_reported_once_with_log(site: Site, status: int, hint: str) -> None:
    failed(site, status, "it would not", tuple(f"line {number}" for number in range(100)))
    failure = site.fails()
    (build,) = site.server.builds.values()
    assert failure.reason is Reason.BUILD_FAILED
    assert failure.reason.exit_code is ExitCode.MODEL
    assert f"Build {build.id} of {IMAGE} ended with {Status(status).name}: it would not" in failure.message
    assert "line 99" in failure.message
    assert "line 80" not in failure.message
    assert len(failure.message.splitlines()) == 1 + MAX_LINES
    assert hint in failure.hint
    assert build.log_url in failure.hint
    assert site.fails().reason is Reason.BUILD_RUNNING
    site.server.work()
    assert site.run().image_digest == site.runner.pushed[IMAGE]
    assert len(site.server.builds) == 2


@pytest.mark.parametrize("status", [Status.INTERNAL_ERROR, Status.EXPIRED])
def test_a_failure_of_the_service_is_transient(site: Site, status: int) -> None:
    failed(site, status)
    failure = site.fails()
    assert failure.reason is Reason.BUILDER_BUSY
    assert failure.reason.exit_code is ExitCode.TRANSIENT
    assert Status(status).name in failure.message
    site.fails()
    site.server.work()
    assert site.run().image_digest == site.runner.pushed[IMAGE]
    assert len(site.server.builds) == 2


def test_each_watcher_reports_the_failure(site: Site) -> None:
    site.server.outcomes.append(Outcome(Status.FAILURE, "it would not"))

    def other() -> None:
        site.clock.then = lambda: None
        site.server.work()
        assert site.fails().reason is Reason.BUILD_FAILED

    site.clock.then = other
    failure = site.fails(wait=600)
    assert failure.reason is Reason.BUILD_FAILED
    assert "it would not" in failure.message
    assert len(site.server.builds) == 1


def test_a_failed_duplicate_is_not_reported(site: Site) -> None:
    site.server.faults.append(Fault("CreateBuild", Effect.TWICE))
    site.server.list_delay = 30
    site.server.outcomes = [Outcome(Status.FAILURE, "the first one")]
    site.fails()
    site.server.work()
    site.clock.sleep(30)
    assert site.run().image_digest == site.runner.pushed[IMAGE]


def test_log_lines_are_cleaned_and_short(site: Site) -> None:
    failed(site, Status.FAILURE, "no \x1b[2J", ("\x1b]0;pwned\x07", "x" * 10_000, "caf\u00e9 \u202e"))
    message = site.fails().message
    assert "\x1b" not in message
    assert "\u202e" not in message
    assert "caf\u00e9" in message
    assert max(len(line) for line in message.splitlines()[1:]) == MAX_LINE


def test_only_the_end_of_logs_is_read(site: Site) -> None:
    failed(site, Status.FAILURE, "no", tuple("y" * 1000 for _ in range(1000)))
    before = len(site.gcs.requests)
    assert "ERROR: no" in site.fails().message
    read = [path for _, path, _ in site.gcs.requests[before:] if "log-" in path]
    assert len(read) == 2  # where it ends, and the end


def test_a_missing_log_hides_no_failure(site: Site) -> None:
    failed(site, Status.FAILURE, "it would not")
    site.gcs.buckets["logs"].clear()
    failure = site.fails()
    assert failure.reason is Reason.BUILD_FAILED
    assert "it would not" in failure.message
    assert "There is no log at gs://logs/of/builds/log-" in failure.message


def test_a_denied_log_hides_no_failure(site: Site) -> None:
    failed(site, Status.FAILURE, "it would not")
    site.gcs.faults.append(StorageFault("GET", "/b/logs/", status=403, times=9))
    failure = site.fails()
    assert failure.reason is Reason.BUILD_FAILED
    assert "it would not" in failure.message
    assert "cannot be read" in failure.message


def test_without_a_log_bucket_the_page_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIPWAY_BUILD_LOGS")
    failed(site, Status.FAILURE, "it would not")
    failure = site.fails()
    assert "no log in a bucket" in failure.message
    assert "https://console.cloud.google.com/" in failure.hint


def test_a_missing_source_fails_the_build(site: Site) -> None:
    site.fails()
    del site.gcs.buckets["models"][f"some/prefix/{site.inputs.archive}"]
    site.server.work()
    (build,) = site.server.builds.values()
    assert build.status == Status.FAILURE
    assert site.fails().reason is Reason.STORE_UNREADABLE  # there is no archive to build from
