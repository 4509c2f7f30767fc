"""cloudbuild: from the archive in a bucket to an image in a registry, built by buildah, with each of Cloud Build's faults."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from steps.core.errors import Reason
from steps.images.description import DOCKERFILE
from tests.servers.cloud_build_server import Effect, Fault
from tests.servers.docker_build import BuildahRunner
from tests.servers.gcs_server import GcsServer
from tests.servers.oci_registry import MANIFEST, OciRegistry
from tests.servers.trust import Trust
from tests.steps.images.cloud_build_site import LABELS, STORE, Site, launch

ROOT = Path(__file__).parents[4]
FILES = {
    DOCKERFILE: b"ARG BASE_IMAGE=none\nFROM ${BASE_IMAGE}\nCOPY src /bento/src\nUSER 10001:10001\n",
    "src/service.py": b"served = True\n",
}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("buildah") is None, reason="buildah is not installed")]


@pytest.fixture
def registry() -> Iterator[OciRegistry]:
    with OciRegistry(pieces=True) as registry:
        yield registry


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A storage for buildah in the test's folder."""
    driver = "overlay" if os.geteuid() == 0 else "vfs"  # the first is quick, the second needs no rights
    lines = ["[storage]", f'driver = "{driver}"', f'graphroot = "{tmp_path}/graph"', f'runroot = "{tmp_path}/run"', ""]
    (tmp_path / "storage.conf").write_text("\n".join(lines))
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
    monkeypatch.setenv("BUILDAH_ISOLATION", "chroot")
    yield
    if driver == "overlay":  # its mounts outlive the program
        subprocess.run(["umount", "--recursive", f"{tmp_path}/graph/overlay"], check=False, capture_output=True)


@pytest.fixture
def real(
    trust: Trust, gcs: GcsServer, registry: OciRegistry, storage: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    for site in launch(trust, gcs, BuildahRunner((registry.host,)), tmp_path, monkeypatch):
        site.publish(FILES, image=f"{registry.host}/models/tiny:0123456789ab")
        yield site


def test_the_pushed_image_is_the_reported_one(real: Site, registry: OciRegistry) -> None:
    real.server.faults.append(Fault("CreateBuild", Effect.LOSE))
    assert real.fails().reason is Reason.BUILD_RUNNING
    real.server.work()
    done = real.run()
    manifests = registry.manifests["models/tiny"]
    kind, manifest = manifests["0123456789ab"]
    assert kind == MANIFEST
    assert manifests.keys() - {"0123456789ab"} <= {done.image_digest}
    assert registry.manifests["models/tiny"][done.image_digest][1] == manifest
    config = json.loads(registry.blobs["models/tiny"][json.loads(manifest)["config"]["digest"]])["config"]
    assert LABELS.items() <= config["Labels"].items()
    assert config["User"] == "10001:10001"
    assert len(real.server.builds) == 1


def test_a_failed_step_shows_buildahs_output(real: Site, registry: OciRegistry) -> None:
    real.publish({DOCKERFILE: b"FROM scratch\nCOPY missing /\n"}, image=f"{registry.host}/models/tiny:0123456789ab")
    real.fails()
    real.server.work()
    failure = real.fails()
    assert failure.reason is Reason.BUILD_FAILED
    assert "missing" in failure.message
    assert registry.manifests.get("models/tiny", {}) == {}


@pytest.mark.slow
def test_both_sides_run_as_processes(
    gcs: GcsServer, real: Site, registry: OciRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in a process of its own, with the certificate and the credentials that the server has made."""
    served = [
        sys.executable,
        "-m",
        "tests.servers.cloud_build_server",
        "--storage",
        gcs.url,
        "--trust",
        str(tmp_path / "trust"),
    ]
    served += ["--plain-http", registry.host, "--lose-create", "1"]
    with subprocess.Popen(served, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        endpoint = server.stdout.readline().split()[-1]
        monkeypatch.setenv("SLIPWAY_BUILD_ENDPOINT", endpoint)
        monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(tmp_path / "trust/certificate.pem"))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "trust/credentials.json"))
        command = [sys.executable, "-m", "steps.cloudbuild", "--store", STORE]
        for name, value in {**real.inputs.model_dump(), "wait": 30}.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        server.terminate()
    assert done.returncode == 0, done.stderr
    assert "response of Cloud Build was lost" in done.stderr
    digest = json.loads(done.stdout)["image_digest"]
    assert digest == registry.image("models/tiny:0123456789ab")[0]
