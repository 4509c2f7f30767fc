"""``slipway doctor`` on a laptop: each destination is checked, a failure comes with a fix, and nothing is left behind."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pipelines.configuration import check_here
from pipelines.doctor.destinations import destinations, settings_findings
from pipelines.doctor.finding import MACHINE, Finding, check, within
from steps.core.settings import Settings, variable
from steps.store.gcs import PERMISSIONS
from tests.servers.cloud_build_server import Fault
from tests.servers.faulty_server import Answer
from tests.servers.faulty_server import Fault as HttpFault
from tests.servers.gcs_server import GcsServer
from tests.servers.oci_registry import Fault as RegistryFault
from tests.servers.oci_registry import OciRegistry
from tests.servers.s3_server import S3Server
from tests.servers.trust import Trust
from tests.steps.images.cloud_build_site import PROJECT, Site

PASSWORD = "hunter2-hunter2"


class PermittingGcs(GcsServer):
    """Google's own server tells permissions, which the other stand-in does not."""

    permissions: tuple[str, ...] = PERMISSIONS

    def _answer(self, method: str, path: str, *rest: Any) -> Answer:
        url = urlsplit(path)
        if url.path == "/storage/v1/b/models/iam/testPermissions":
            asked = parse_qs(url.query)["permissions"]
            return Answer(200, json.dumps({"permissions": [each for each in asked if each in self.permissions]}).encode())
        return super()._answer(method, path, *rest)


@pytest.fixture
def permitting() -> Iterator[PermittingGcs]:
    with PermittingGcs("models") as server:
        yield server


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, without anybody's settings and credentials."""
    ours = ("SLIPWAY_", "GOOGLE_", "AWS_", "STORAGE_")
    for name in [name for name in os.environ if name.startswith(ours) or name == "REGISTRY_AUTH_FILE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def google(trust: Trust, permitting: PermittingGcs, monkeypatch: pytest.MonkeyPatch) -> PermittingGcs:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", permitting.url)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(trust.credentials))
    return permitting


def the(what: str, found: list[Finding]) -> Finding:
    [finding] = [each for each in found if each.what.startswith(what)]
    return finding


def asked(**settings: Any) -> list[Finding]:
    return list(destinations(Settings(**settings)))


# Settings


def test_each_setting_is_shown_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slipway.toml").write_text('registry = "r.example/a"\nregion = "one"\nstore = "gs://b"\n')
    monkeypatch.setenv("SLIPWAY_REGION", "two")
    monkeypatch.setenv("SLIPWAY_PLAIN_HTTP", "a:1,b:2")
    settings, wrong = check_here({**os.environ, "SLIPWAY_STORE": "s3://b"})
    found = list(settings_findings(settings, wrong, by_flag=True))
    assert {each.what: each.detail for each in found} == {
        "setting store": "s3://b (--store)",
        "setting registry": f"r.example/a ({tmp_path / 'slipway.toml'})",
        "setting region": "two (SLIPWAY_REGION)",
        "setting plain_http": "a:1, b:2 (SLIPWAY_PLAIN_HTTP)",
    }
    assert all(each.good for each in found)


def test_one_wrong_setting_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slipway.toml").write_text("registri = 'x'\n")
    monkeypatch.setenv("SLIPWAY_BUILD_TIMEOUT", "1")
    monkeypatch.setenv("SLIPWAY_BUILD_POOL", "mine")
    monkeypatch.setenv("SLIPWAY_BUILDER", "cloudbuild")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    settings, wrong = check_here(os.environ)
    bad = [each for each in settings_findings(settings, wrong, by_flag=False) if not each.good]
    message = "\n".join(f"{each.what} {each.detail} {each.fix}" for each in bad)
    for text in (
        "Did you mean 'registry'?",
        "SLIPWAY_BUILD_TIMEOUT: ",
        'Write `registry = "HOST/PATH"` into slipway.toml, or set SLIPWAY_REGISTRY.',
        "The store is .slipway, and the builder cloudbuild takes its source from gs:// alone.",
        "The setting build_pool is 'mine'",
        f"SSL_CERT_FILE names {tmp_path / 'missing.pem'} for certificate authorities",
    ):
        assert text in message
    assert len(bad) == 6


# Stores


def test_a_google_bucket_lists_its_permissions(google: PermittingGcs) -> None:
    found = asked(store="gs://models/some/prefix")
    assert the("store", found).good
    assert the("Google", found).detail == f"service account slipway@{PROJECT}.iam.gserviceaccount.com, project {PROJECT}"
    assert not google.buckets["models"]
    assert not google.sessions


def test_a_missing_permission_names_the_command(google: PermittingGcs) -> None:
    google.permissions = tuple(each for each in PERMISSIONS if not each.endswith((".delete", ".create")))
    finding = the("store", asked(store="gs://models"))
    assert (finding.good, finding.required) == (False, True)
    assert finding.detail == "you may not create, delete objects"
    assert finding.fix == (
        "gcloud storage buckets add-iam-policy-binding gs://models --role=roles/storage.objectUser "
        f"--member=serviceAccount:slipway@{PROJECT}.iam.gserviceaccount.com"
    )


def test_a_server_without_permissions_is_described(gcs: GcsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
    found = asked(store="gs://models")
    assert the("store", found).detail == "it answers, and does not say what may be done in it"
    nobody = the("Google", found)
    assert (nobody.good, nobody.required) == (False, False), "such a server needs none"
    assert nobody.fix == "gcloud auth application-default login"


@pytest.mark.usefixtures("google")
def test_a_missing_bucket_names_the_command() -> None:
    finding = the("store", asked(store="gs://nobodys"))
    assert not finding.good
    assert "gcloud storage buckets create gs://nobodys" in finding.fix


@pytest.mark.parametrize(("status", "message"), [(403, "is denied"), (503, "is out of reach")])
def test_a_denied_or_busy_bucket_is_reported(google: PermittingGcs, status: int, message: str) -> None:
    google.faults.append(HttpFault("GET", "/b/models", status=status, times=9))
    finding = the("store", asked(store="gs://models"))
    assert not finding.good
    assert message in finding.detail
    assert len(google.requests) == 1, "nobody tries again for two minutes"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with S3Server("models") as server:
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            monkeypatch.setenv(name, os.devnull)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        yield server


@pytest.mark.slow
def test_an_s3_upload_is_started_and_aborted(s3: S3Server) -> None:
    found = asked(store="s3://models/some/prefix")
    finding = the("store", found)
    assert finding.good, finding
    assert finding.detail.endswith("with credentials from env")
    requests = [method for method, *_ in s3.requests]
    assert requests[:3] == ["HEAD", "POST", "DELETE"]
    assert requests[3:] == ["PUT", "PUT", "DELETE"], "whether it writes only where there is nothing"
    assert not s3.uploads
    assert not s3.buckets["models"]
    assert not [each for each in found if each.what.startswith("Google")]


@pytest.mark.slow
def test_a_denied_s3_bucket_names_the_permission(s3: S3Server) -> None:
    s3.faults.append(HttpFault("POST", "uploads", status=403, code="AccessDenied"))
    finding = the("store", asked(store="s3://models"))
    assert not finding.good
    assert "s3:PutObject" in finding.fix
    missing = the("store", asked(store="s3://nobodys"))
    assert "aws s3 mb s3://nobodys" in missing.fix


def test_missing_s3_credentials_name_the_setting(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    finding = the("store", asked(store="s3://models"))
    assert "no credentials" in finding.detail
    assert "AWS_PROFILE" in finding.fix
    assert not s3.requests


# Registries


def logged_in(tmp_path: Path, registry: OciRegistry) -> None:
    registry.users["ada"] = PASSWORD
    (tmp_path / "docker").mkdir()
    auth = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
    (tmp_path / "docker/config.json").write_text(json.dumps({"auths": {registry.host: {"auth": auth}}}))


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_push_is_started_and_cancelled(auth: Any, tmp_path: Path) -> None:
    with OciRegistry(auth=auth) as registry:
        logged_in(tmp_path, registry)
        finding = the("registry", asked(builder="oci", registry=f"{registry.host}/team"))
        assert finding.good, finding
        assert finding.detail.startswith(f"it accepts a push, as ada, by {tmp_path / 'docker/config.json'}")
        assert registry.requests[-1][0] == "DELETE"
        assert not registry.uploads
        assert not registry.blobs


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_refused_credentials_say_how_to_log_in(auth: Any, tmp_path: Path) -> None:
    with OciRegistry(auth=auth) as registry:
        finding = the("registry", asked(builder="oci", registry=f"{registry.host}/team"))
        assert (finding.good, finding.required) == (False, True)
        assert "docker login" in finding.fix
        assert f"push to {registry.host}/team/slipway-doctor" in finding.fix
        logged_in(tmp_path, registry)
        registry.users["ada"] = "another"
        refused = the("registry", asked(builder="oci", registry=f"{registry.host}/team"))
        assert not refused.good
        assert PASSWORD not in str(refused)


def test_a_registry_need_not_cancel_uploads() -> None:
    with OciRegistry() as registry:
        registry.faults.append(RegistryFault("POST", "uploads", status=503))
        finding = the("registry", asked(builder="oci", registry=f"{registry.host}/team"))
        assert "answered 503" in finding.detail
        registry.faults.append(RegistryFault("DELETE", "uploads", status=405))
        assert the("registry", asked(builder="oci", registry=f"{registry.host}/team")).good
    gone = the("registry", asked(builder="oci", registry=f"{registry.host}/team"))
    assert "cannot be reached" in gone.detail
    assert not the("registry", asked(registry=f"{registry.host}/team")).required, "only a Model may ask for a push"


@pytest.mark.fault("accepted")
def test_an_uploads_relative_address_is_cancelled() -> None:
    with OciRegistry() as registry:
        registry.location = "session?_state={secret}"
        assert the("registry", asked(builder="oci", registry=f"{registry.host}/team")).good
        assert registry.requests[-1][0] == "DELETE"
        assert registry.requests[-1][1].startswith("/v2/team/slipway-doctor/blobs/uploads/session?")
        assert not registry.uploads


@pytest.mark.fault("refused")
def test_an_upload_without_an_address_is_named() -> None:
    with OciRegistry() as registry:
        registry.location = ""
        finding = the("registry", asked(builder="oci", registry=f"{registry.host}/team"))
        assert not finding.good
        assert f"{registry.host}/team/slipway-doctor" in finding.detail
        assert "names no address for the upload" in finding.detail


# Builders


def test_the_builder_oci_needs_pip_and_plan_nothing() -> None:
    assert "pip is here" in the("builder oci", asked(builder="oci")).detail
    assert the("builder plan", asked()).good


def test_the_builder_local_needs_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = the("builder local", asked(builder="local"))
    assert (finding.good, finding.required) == (False, True)
    assert "buildah" in finding.detail
    (tmp_path / "podman").write_text("#!/bin/sh\n")
    (tmp_path / "podman").chmod(0o755)
    assert the("builder local", asked(builder="local")).detail == "podman is here"


def build_settings(**more: Any) -> dict[str, Any]:
    endpoint, region = os.environ[variable("build_endpoint")], os.environ[variable("region")]
    return {"builder": "cloudbuild", "registry": "r.example/a", "build_endpoint": endpoint, "region": region, **more}


def test_cloud_build_is_requested_for_a_list(site: Site) -> None:
    found = asked(**build_settings())
    assert the("builder", found).detail.startswith(f"projects/{PROJECT}/locations/europe-west1 lets you list builds")
    assert site.server.calls == ["ListBuilds"]
    assert not site.server.builds
    assert the("registry", found).good
    assert "as its own account" in the("registry", found).detail


@pytest.mark.parametrize(
    ("fault", "detail", "fix"),
    [
        (Fault("ListBuilds", code="PERMISSION_DENIED"), "is denied", "roles/cloudbuild.builds.editor"),
        (
            Fault("ListBuilds", code="PERMISSION_DENIED", reason="SERVICE_DISABLED"),
            "was not found",
            "gcloud services enable cloudbuild.googleapis.com",
        ),
        (Fault("ListBuilds", code="UNAUTHENTICATED"), "does not take the credentials", "gcloud auth application-default login"),
        (Fault("ListBuilds", code="UNAVAILABLE", times=100), "is out of reach", ""),
    ],
)
def test_a_refusing_cloud_build_is_reported(site: Site, fault: Fault, detail: str, fix: str) -> None:
    site.server.faults.append(fault)
    finding = the("builder", asked(**build_settings()))
    assert (finding.good, finding.required) == (False, True)
    assert detail in finding.detail
    assert fix in finding.fix


@pytest.mark.usefixtures("site")
def test_an_unknown_machine_type_is_reported() -> None:
    assert "E2_HIGHCPU_8" in the("builder", asked(**build_settings(build_machine="huge"))).fix


# Limits


def test_what_gives_no_answer_is_left_alone() -> None:
    stopped = threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.01 seconds"):
        within(lambda: stopped.wait(60), 0.01)
    stopped.set()


def test_a_check_without_answer_is_a_finding() -> None:
    def ask() -> str:
        return within(lambda: str(threading.Event().wait(5)), 0.01)

    finding = check(MACHINE, "something", ask)
    assert (finding.good, finding.detail) == (False, "no answer within 0.01 seconds")
    assert "firewall" in finding.fix


@pytest.mark.slow
def test_the_command_finishes_whatever_it_finds(tmp_path: Path) -> None:
    """All broken at once, a secret in each place: every finding is there, and no secret."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "docker").mkdir()
    auth = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
    (tmp_path / "docker/config.json").write_text(json.dumps({"auths": {dead: {"auth": auth}}}))
    (tmp_path / "slipway.toml").write_text(f'store = "s3://bucket"\nregistry = "{dead}/team"\nbuilder = "magic"\n')
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "KUBECONFIG": "",
        "AWS_ENDPOINT_URL": f"http://{dead}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": PASSWORD,
        "SLIPWAY_REGISTRY": f"{dead}/team",
        "SLIPWAY_BUILDER": "oci",
        "SLIPWAY_STORE": "s3://bucket",
    }
    command = [sys.executable, "-m", "pipelines.cli", "doctor"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    for text in ("✗ store s3://bucket", "✓ builder oci", f"✗ registry {dead}/team", "✗ API server"):
        assert text in done.stdout, done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert auth not in done.stdout + done.stderr
    assert done.returncode == 16


@pytest.mark.parametrize(("no_proxy", "way"), [("", "by the proxy proxy.invalid:3128 (HTTPS_PROXY)"), ("*", "directly")])
def test_the_way_to_each_host_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_proxy: str, way: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:hush-hush@proxy.invalid:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    settings = Settings(store=str(tmp_path / "store"))
    found = {each.what: each.detail for each in destinations(settings)}
    assert found["way to a source"] == f"huggingface.co: {way}"
    assert "hush" not in str(found)


def test_named_authorities_are_told(monkeypatch: pytest.MonkeyPatch, trust: Trust) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trust.certificate))
    found = {each.what: each.detail for each in settings_findings(Settings(), [], by_flag=False)}
    assert "REQUESTS_CA_BUNDLE" in found["certificate authorities"]
