"""From a Model to an image that runs: assembled in the build step's own pod, or made by Cloud Build, and pulled by the cluster.

Google's place is taken by ``tests.servers.cloud_build_server`` on this machine, which really builds with buildah. Packages
come from a folder of wheels that this machine serves, so that neither way needs a package index.
"""

from __future__ import annotations

import functools
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3
from kubernetes.client import ApiClient

from pipelines.demo.forge import Forge
from pipelines.demo.repository import publish
from steps.core.documents import GoldenRequest
from steps.images.assembly.pip_layers import platforms
from steps.images.description import ENTRYPOINT, HOME, PORT, PYTHON_VERSION
from steps.package.local_service import send_golden_request
from steps.package.pins import REQUIREMENTS
from steps.store.supported import open_store
from tests.cluster.place import Place, condition, host_for_pods, installed, wait
from tests.tiny_models import vit_folder

__all__ = ["vit_folder"]  # a fixture
REGISTRY, BASE = os.environ.get("SLIPWAY_E2E_REGISTRY", ""), os.environ.get("SLIPWAY_E2E_BASE_IMAGE", "")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not REGISTRY or not BASE, reason="SLIPWAY_E2E_REGISTRY and SLIPWAY_E2E_BASE_IMAGE name no registry"),
    pytest.mark.skipif(not shutil.which("buildah"), reason="there is no buildah"),
]
ROOT = Path(__file__).parents[2]
TASK = "image-classification"
CREDENTIALS = "/etc/slipway/credentials"


class Quiet(SimpleHTTPRequestHandler):
    """A folder over HTTP, its list included, which is what ``pip --find-links`` reads."""

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@pytest.fixture(scope="module")
def host(kube: ApiClient) -> str:
    return host_for_pods(kube.configuration.host)


@pytest.fixture(scope="module")
def wheels(host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a folder with all wheels of the service."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    command += [f"--python-version={PYTHON_VERSION}", *(f"--platform={each}" for each in platforms("amd64"))]
    subprocess.run([*command, "-r", str(REQUIREMENTS / "image.txt")], check=True, timeout=600)
    server = ThreadingHTTPServer((host, 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://{host}:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def cloud_build(host: str, wheels: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """HOST:PORT of the server in Cloud Build's place, and the folder with its certificate and a key that it takes."""
    folder = tmp_path_factory.mktemp("cloud-build")
    pip_conf = folder / "pip.conf"
    pip_conf.write_text(f"[global]\nno-index = true\nfind-links = {wheels}\ntrusted-host = {host}\n")
    command = [sys.executable, "-m", "tests.servers.cloud_build_server", "--host", host, "--trust", str(folder)]
    command += ["--storage", os.environ["STORAGE_EMULATOR_HOST"], "--plain-http", REGISTRY]
    for flag in ("--isolation=chroot", "--network=host", f"--volume={pip_conf}:/etc/pip.conf:ro"):
        command.append(f"--buildah-flag={flag}")
    with (
        (folder / "server.log").open("w") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True) as server,
    ):
        try:
            assert server.stdout is not None
            said = server.stdout.readline()
            assert said.startswith("serving at "), (folder / "server.log").read_text()
            yield said.split()[-1], folder
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def place(kube: ApiClient, host: str, wheels: str, cloud_build: tuple[str, Path]) -> Iterator[Place]:
    endpoint, folder = cloud_build
    settings = {
        "SLIPWAY_BUILDER": "oci",
        "SLIPWAY_REGISTRY": f"{REGISTRY}/slipway-e2e-{secrets.token_hex(3)}",
        "SLIPWAY_PLAIN_HTTP": REGISTRY,
        "SLIPWAY_BASE_IMAGE": BASE,
        "SLIPWAY_PROJECT": "launch",
        "SLIPWAY_BUILD_ENDPOINT": endpoint,
        "SLIPWAY_BUILD_WAIT": "10",
        "GOOGLE_APPLICATION_CREDENTIALS": f"{CREDENTIALS}/credentials.json",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": f"{CREDENTIALS}/certificate.pem",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": wheels,
        "PIP_TRUSTED_HOST": host,
    }
    with installed(kube.configuration.host, settings) as place:
        files = (f"--from-file={folder / name}" for name in ("credentials.json", "certificate.pem"))
        place.kubectl("create", "secret", "generic", "slipway-credentials", *files)
        yield place


@pytest.fixture(scope="module")
def source(place: Place, tmp_path_factory: pytest.TempPathFactory, vit_folder: Path) -> Iterator[str]:
    root = tmp_path_factory.mktemp("forge")
    publish(root, "tiny-vit", vit_folder)
    with Forge(root, host=place.host) as forge:
        yield forge.url("tiny-vit")


def manifest(name: str, source: str, builder: str) -> str:
    chosen = f"  builder: {builder}\n" if builder else ""
    return f"""\
apiVersion: slipway.dev/v1alpha1
kind: Model
metadata:
  name: {name}
spec:
  services: [{TASK}]
  sourceKind: git_lfs
  source: {source}
{chosen}"""


@pytest.fixture(scope="module")
def applied(place: Place, source: str) -> Mapping[str, str]:
    """A Model for each builder, by the builder; one without any gets what was installed. They are made side by side."""
    names = {"": "as-installed", "cloudbuild": "cloudbuild"}
    place.apply("---\n".join(manifest(name, source, builder) for builder, name in names.items()))
    return names


def pod(name: str, image: str) -> str:
    """The service as a careful person would run it: no root, no token, nothing to write to but /tmp."""
    spec = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "service",
                "image": image,
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                },
                "readinessProbe": {"httpGet": {"path": "/readyz", "port": 3000}, "periodSeconds": 1},
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


@contextmanager
def reached(place: Place, name: str) -> Iterator[str]:
    """The address of a pod's service on this machine."""
    command = ["kubectl", "--namespace", place.namespace, "port-forward", f"pod/{name}", ":3000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:
        try:
            assert forward.stdout is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())
            assert found, "kubectl names the port"
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            forward.terminate()


@pytest.mark.parametrize("builder", ["", "cloudbuild"])
def test_a_model_becomes_a_running_image(
    place: Place, applied: Mapping[str, str], builder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = applied[builder]
    wait(f"Model {name} is Ready", place.is_(name, "Ready"), 900)
    found = place.model(name)
    assert condition(found, "Built")["status"] == "True"
    [service] = found["status"]["services"]
    image = service["image"].rpartition(":")[0]
    assert image == f"{place.settings['SLIPWAY_REGISTRY']}/{name}-{TASK}"
    # Pulled by its digest, so what runs is what the status says.
    place.apply(pod(name, f"{image}@{service['imageDigest']}"))
    place.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=300s")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", place.settings.get("STORAGE_EMULATOR_HOST", ""))
    with reached(place, name) as url:
        info = urllib3.request("GET", f"{url}/info", retries=False).json()
        assert info["setDigest"] == found["status"]["setDigest"]
        golden = json.loads(place.kubectl("exec", name, "--", "python3", "-c", SAY_GOLDEN))
        picture = tmp_path / "src/golden/picture.png"
        picture.parent.mkdir(parents=True)
        picture.write_bytes(bytes.fromhex(golden.pop("picture")))
        answer, _ = send_golden_request(url, GoldenRequest.model_validate(golden), tmp_path)
    assert answer["labels"]
    place.kubectl("delete", "pod", name, "--grace-period=0", "--force")


SAY_GOLDEN = """
import json
from pathlib import Path
golden = Path("/bento/src/golden")
print(json.dumps(json.loads((golden / "request.json").read_text()) | {"picture": (golden / "picture.png").read_bytes().hex()}))
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="running an image here takes root and unshare")
def test_an_image_answers_without_network(place: Place) -> None:
    [service] = place.model("cloudbuild")["status"]["services"]
    pulled = ["buildah", "from", "--tls-verify=false", f"{service['image'].rpartition(':')[0]}@{service['imageDigest']}"]
    container = subprocess.run(pulled, check=True, capture_output=True, text=True).stdout.strip()
    try:
        command = [
            "unshare",
            "--net",
            "sh",
            "-c",
            'ip link set lo up && exec "$@"',
            "sh",
            "buildah",
            "run",
            "--isolation=chroot",
        ]
        script = (Path(__file__).parent / "ask_alone.py").read_text()
        command += [container, "--", ENTRYPOINT[0], "-c", script, place.host, str(PORT), HOME, *ENTRYPOINT]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    finally:
        subprocess.run(["buildah", "rm", container], check=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["labels"]


def test_an_archive_has_one_build_and_one_image(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cloud Build was asked once, and the store remembers for what."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", place.settings.get("STORAGE_EMULATOR_HOST", ""))
    [service] = place.model("cloudbuild")["status"]["services"]
    digest = service["archiveDigest"].removeprefix("sha256:")
    store = open_store(place.settings["SLIPWAY_STORE"])
    [asked] = list(store.list(f"cloudbuild/{digest}/"))
    assert json.loads(b"".join(store.read(asked)))["build"]
    tags = urllib3.request("GET", f"http://{REGISTRY}/v2/{service['image'].split('/', 1)[1].rpartition(':')[0]}/tags/list")
    assert tags.json()["tags"] == [service["image"].rpartition(":")[2]]
