"""cloudbuild: what Cloud Build is requested to build, and how its answer is checked."""

from __future__ import annotations

import sys

import grpc
import pytest
from google.cloud.devtools.cloudbuild_v1 import types

from steps.cloudbuild import STEP
from steps.core.contract import Context
from steps.core.documents import BuildPlan
from steps.core.errors import ExitCode, Reason, SlipwayError, missing_extra
from steps.core.receipts import execute
from steps.core.settings import Settings
from steps.images.cloud_build.request import ArchiveObject, CloudBuildRequest
from steps.images.description import DOCKERFILE
from tests.servers.cloud_build_server import SERVICE, Fault
from tests.servers.trust import Trust
from tests.steps.images.cloud_build_site import IMAGE, LABELS, Recorder, Site

pytestmark = pytest.mark.slow  # they start processes or servers, many times


def test_a_running_build_ends_the_step(site: Site) -> None:
    failure = site.fails()
    (build,) = site.server.builds.values()
    assert failure.reason is Reason.BUILD_RUNNING
    assert failure.reason.exit_code is ExitCode.TRANSIENT
    assert build.id in failure.message
    assert "QUEUED" in failure.message
    site.clock.sleep(600)
    assert "10 minutes" in site.fails().message
    site.server.work()
    done = site.run()
    assert done.image == IMAGE
    assert done.image_digest == site.runner.pushed[IMAGE]
    assert done.build == build.id
    assert len(site.server.builds) == 1
    plan = site.context().read_document(done.plan, BuildPlan)
    assert plan.image_digest == done.image_digest


def test_the_step_waits_as_requested(site: Site) -> None:
    naps = 0

    def later() -> None:
        nonlocal naps
        naps += 1
        if naps == 7:
            site.server.work()

    site.clock.then = later
    assert site.run(wait=60).image_digest == site.runner.pushed[IMAGE]
    assert site.clock.slept == [5.0] * 7
    assert site.server.calls.count("CreateBuild") == 1


def test_a_finished_build_is_not_requested_again(site: Site) -> None:
    site.fails()
    site.server.work()
    first = site.run()
    calls = len(site.server.calls)
    assert site.run() == first
    assert len(site.server.calls) == calls  # the receipt is enough
    assert site.run(wait=1) == first  # where there is none, the build is found
    assert len(site.server.builds) == 1


def test_the_build_has_archive_and_settings(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "BUILD_MACHINE": "E2_HIGHCPU_8",
        "BUILD_TIMEOUT": "1234",
        "BUILD_ACCOUNT": "builder@launch.iam.gserviceaccount.com",
    }.items():
        monkeypatch.setenv(f"SLIPWAY_{name}", value)
    site.fails()
    (build,) = site.server.builds.values()
    source = build.source.storage_source
    stored = site.gcs.buckets["models"][f"some/prefix/{site.inputs.archive}"]
    assert (source.bucket, source.object_) == ("models", f"some/prefix/{site.inputs.archive}")
    assert source.generation == stored.generation
    assert build.name.startswith("projects/launch/locations/europe-west1/builds/")
    assert f"slipway-archive-{site.inputs.archive_digest}" in build.tags
    assert "tiny" in build.tags
    assert build.images == [IMAGE]
    assert build.timeout.total_seconds() == 1234
    assert build.queue_ttl.total_seconds() == 3600
    assert build.service_account == "projects/launch/serviceAccounts/builder@launch.iam.gserviceaccount.com"
    assert build.logs_bucket == "gs://logs/of/builds"
    options = types.BuildOptions
    assert build.options.logging == options.LoggingMode.GCS_ONLY
    assert build.options.machine_type == options.MachineType.E2_HIGHCPU_8
    assert build.options.requested_verify_option == options.VerifyOption.VERIFIED
    assert build.options.substitution_option == options.SubstitutionOption.MUST_MATCH


def test_a_private_pool_sets_the_region(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_BUILD_POOL", "projects/launch/locations/us-east4/workerPools/large")
    site.fails()
    (build,) = site.server.builds.values()
    assert build.name.startswith("projects/launch/locations/us-east4/")
    assert build.options.pool.name == "projects/launch/locations/us-east4/workerPools/large"


def test_an_own_account_logs_to_cloud_logging(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_BUILD_LOGS", "")
    monkeypatch.setenv("SLIPWAY_BUILD_ACCOUNT", "builder@launch.iam.gserviceaccount.com")
    site.fails()
    (build,) = site.server.builds.values()
    assert build.options.logging == types.BuildOptions.LoggingMode.CLOUD_LOGGING_ONLY


def test_a_large_archive_gets_a_larger_disk() -> None:
    def disk(size: int, **settings: str) -> int:
        order = CloudBuildRequest("m", "0" * 64, IMAGE, "scratch", {}, ArchiveObject("b", "o", 1, size))
        return int(order.build(Settings(**settings), "p").options.disk_size_gb)

    assert disk(10**9) == 0
    assert disk(30 * 10**9) == 200
    assert disk(10**13) == 4000
    assert disk(30 * 10**9, build_pool="projects/p/locations/r/workerPools/w") == 0


def test_the_package_index_is_an_argument(site: Site, runner: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_BUILD_INDEX", "https://index.example/cpu")
    site.fails()
    site.server.work()
    site.run()
    (built,) = runner.built
    assert built.build_args == {"BASE_IMAGE": "scratch", "PIP_EXTRA_INDEX_URL": "https://index.example/cpu"}


def test_an_index_with_a_password_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_BUILD_INDEX", "https://me:hunter2@index.example/cpu")
    failure = site.fails()
    assert failure.reason is Reason.INVALID_INPUT
    assert "SLIPWAY_BUILD_INDEX" in failure.message
    assert "hunter2" not in f"{failure} {failure.hint}"


def test_no_dollar_in_labels_is_replaced(site: Site, runner: Recorder) -> None:
    site.fails()
    site.server.work()
    site.run()
    (built,) = runner.built
    assert built.labels == LABELS
    assert built.build_args == {"BASE_IMAGE": "scratch"}
    assert (built.file, built.tags, built.context) == (DOCKERFILE, (IMAGE,), ".")


def test_another_request_makes_another_build(site: Site) -> None:
    site.fails()
    first = site.inputs
    site.change_plan(base_image="other")
    site.fails()
    assert len(site.server.active) == 2
    site.server.work()
    second = site.run()
    site.inputs = first
    assert site.run().build != second.build


def test_a_replaced_archive_is_built_again(site: Site) -> None:
    site.fails()
    site.server.work()
    name = f"some/prefix/{site.inputs.archive}"
    site.gcs.store("models", name, site.gcs.buckets["models"][name].data)
    site.fails()
    assert len(site.server.builds) == 2


def test_a_source_with_another_digest_is_refused(site: Site) -> None:
    site.inputs = site.inputs.model_copy(update={"archive_digest": "0" * 64})
    site.fails()
    site.server.work()
    failure = site.fails()
    assert failure.reason is Reason.DIGEST_MISMATCH
    assert "0" * 64 in failure.message


@pytest.mark.parametrize("same", [True, False])
def test_a_source_without_digest_is_read_again(site: Site, same: bool) -> None:
    if not same:
        site.inputs = site.inputs.model_copy(update={"archive_digest": "0" * 64})
    site.fails()
    site.server.work()
    (build,) = site.server.builds.values()
    build.source_provenance.file_hashes = {}
    if same:
        assert site.run().build == build.id
    else:
        assert site.fails().reason is Reason.DIGEST_MISMATCH


@pytest.mark.parametrize("digest", ["", "sha256:0123", "latest"])
def test_a_success_without_a_digest_fails(site: Site, digest: str) -> None:
    site.fails()
    site.server.work()
    (build,) = site.server.builds.values()
    build.results = types.Results(images=[types.BuiltImage(name=IMAGE, digest=digest)])
    failure = site.fails()
    assert failure.reason is Reason.BUILD_FAILED
    assert "no digest" in failure.message


def test_an_unverified_success_fails(site: Site) -> None:
    site.fails()
    site.server.work()
    (build,) = site.server.builds.values()
    build.options.requested_verify_option = types.BuildOptions.VerifyOption.NOT_VERIFIED
    failure = site.fails()
    assert failure.reason is Reason.BUILD_FAILED
    assert "verify" in failure.message


def test_a_store_out_of_reach_is_refused(site: Site, context: Context) -> None:
    inputs = site.inputs
    plan = site.context().read_document(inputs.plan, BuildPlan)
    context.publish_document("plans", plan)
    with pytest.raises(SlipwayError) as caught:
        execute(STEP, inputs, context)
    assert caught.value.reason is Reason.UNSUPPORTED_STORE
    assert "gs://" in caught.value.hint
    assert site.server.calls == []


@pytest.mark.parametrize(
    ("code", "reason", "message", "hint"),
    [
        ("PERMISSION_DENIED", "", "denied", "roles/cloudbuild.builds.editor"),
        ("PERMISSION_DENIED", "SERVICE_DISABLED", "was not found", "gcloud services enable cloudbuild.googleapis.com"),
        ("NOT_FOUND", "", "was not found", "gcloud services enable cloudbuild.googleapis.com"),
        ("UNAUTHENTICATED", "", "credentials", "gcloud auth"),
    ],
)
@pytest.mark.parametrize("method", ["ListBuilds", "CreateBuild"])
def test_a_missing_permission_names_the_role(site: Site, code: str, reason: str, message: str, hint: str, method: str) -> None:
    site.server.faults.append(Fault(method, code=code, reason=reason, times=9))
    failure = site.fails()
    assert failure.reason is Reason.ACCESS_DENIED
    assert message in failure.message
    assert hint in failure.hint
    assert site.server.builds == {}


def test_a_refused_build_names_the_settings(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_BUILD_ACCOUNT", "projects/launch/nobody")
    failure = site.fails()
    assert failure.reason is Reason.INVALID_INPUT
    assert "invalid service account" in failure.message
    assert "build_account" in failure.hint


@pytest.mark.parametrize(("name", "value"), [("BUILD_MACHINE", "HUGE"), ("BUILD_POOL", "large")])
def test_a_wrong_setting_is_named(site: Site, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"SLIPWAY_{name}", value)
    failure = site.fails()
    assert failure.reason is Reason.INVALID_INPUT
    assert name.lower() in failure.message
    assert site.server.builds == {}


def test_no_secret_is_shown_or_sent(site: Site, trust: Trust) -> None:
    secret = trust.credentials.read_text().split("-----")[2][:40]
    site.server.faults.append(Fault("CreateBuild", code="UNAUTHENTICATED"))
    failure = site.fails()
    site.fails()
    (build,) = site.server.builds.values()
    for text in (failure.message, failure.hint, *site.notes, str(build)):
        assert secret not in text
        assert "eyJ" not in text  # how a JSON web token begins


def test_missing_credentials_are_reported(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    failure = site.fails()
    assert failure.reason is Reason.ACCESS_DENIED
    assert "gcloud auth application-default login" in failure.hint


def test_a_missing_package_says_how_to_install(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud.devtools", None)  # as Python notes that there is no such module
    failure = site.fails()
    assert failure.reason is Reason.MISSING_DEPENDENCY
    assert failure.hint == missing_extra("gcp").hint


def test_the_test_server_requires_a_token(site: Site, trust: Trust) -> None:
    credentials = grpc.ssl_channel_credentials(trust.certificate.read_bytes())
    with grpc.secure_channel(site.server.endpoint, credentials) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ListBuilds")
        for token in ("", "Bearer ", "Bearer a.b.c"):
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", metadata=[("authorization", token)] if token else [])
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert site.server.calls == []


def test_the_test_server_refuses_unknown_arguments(site: Site) -> None:
    site.fails()
    (build,) = site.server.builds.values()
    build.steps[0].args = ["build", "--squash", "-f", DOCKERFILE, "."]
    site.server.work()
    assert "unknown flag: --squash" in site.fails().message
