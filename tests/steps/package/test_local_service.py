"""A package as a real server process: what it reports to a cluster; no client can stop it, block it or fill its log."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3

from steps.core.documents import ModelFacts
from steps.package.local_service import serve
from steps.package.unpack import unpack_archive
from steps.serving.walls.landlock import landlock_abi
from steps.smoke import difference
from tests.steps.packages import Made

pytestmark = pytest.mark.slow  # a service is started

SECRET = "correct horse battery staple"
# Put behind the packaged code: a request for the text "wait" is answered when somebody opens the gate.
GATE = """
class Gated(Runner):
    def predict_all(self, requests):
        import time
        while any(request.text == "wait" for request in requests) and not (GATE / "open").exists():
            (GATE / "entered").touch()
            time.sleep(0.01)
        return super().predict_all(requests)

Runner, GATE = Gated, Path({folder!r})
"""


@dataclass
class Up:
    """The service that is up, its log, and the folder of its gate."""

    url: str
    pid: int
    log: Path
    gate: Path
    pool: urllib3.PoolManager

    def post(self, body: bytes, kind: str = "application/json") -> urllib3.BaseHTTPResponse:
        return self.pool.request("POST", f"{self.url}/predict", body=body, headers={"Content-Type": kind})

    def get(self, path: str) -> urllib3.BaseHTTPResponse:
        return self.pool.request("GET", self.url + path)


@pytest.fixture(scope="module")
def up(classifier: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    root = tmp_path_factory.mktemp("served")
    package, gate = root / "package", root / "home" / "bentoml" / "gate"  # a folder that a service may write to
    gate.mkdir(parents=True)
    unpack_archive(classifier.context.store.read(classifier.archive), package, sha256=classifier.digest, what="the archive")
    module = package / "src" / "serving" / "tasks" / "text_classification.py"
    module.chmod(0o644)
    module.write_text(module.read_text() + GATE.format(folder=str(gate)))
    with serve(package, root / "home") as served, urllib3.PoolManager(maxsize=64, retries=False, timeout=60) as pool:
        yield Up(served.url, served.process.pid, root / "home" / "service.log", gate, pool)


def test_it_answers_as_the_model_did(up: Up, classifier: Made) -> None:
    expected = classifier.context.read_document(classifier.facts, ModelFacts).expected[classifier.service]
    answer = up.post(json.dumps(expected.golden.fields).encode())
    assert answer.status == 200
    difference(expected.answer, answer.json())


@pytest.mark.fault("survived")
def test_no_other_port_is_open(up: Up) -> None:
    process = psutil.Process(up.pid)
    family = [process, *process.children(recursive=True)]
    listening = [each.laddr.port for one in family for each in one.net_connections("all") if each.status == psutil.CONN_LISTEN]
    assert listening == [int(up.url.rpartition(":")[2])]


def test_health_metrics_and_description_are_served(up: Up) -> None:
    up.post(b'{"text": "a ship"}')
    assert [up.get(path).status for path in ("/healthz", "/livez", "/readyz")] == [200, 200, 200]
    metrics = up.get("/metrics").data.decode()
    [line] = [
        line
        for line in metrics.splitlines()
        if line.startswith("bentoml_service_request_total{")
        and 'endpoint="/predict"' in line
        and 'http_response_code="200"' in line
    ]
    assert float(line.rpartition(" ")[2]) >= 1
    operation = up.get("/docs.json").json()["paths"]["/predict"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"]["properties"].keys() == {"text", "top_k"}
    assert up.get("/info").json()["task"] == "text-classification"
    abi = landlock_abi()
    assert up.get("/info").json()["walls"] == [*([f"Landlock (ABI {abi})"] if abi else []), "audit hook"]


def test_a_slow_request_blocks_no_other(up: Up) -> None:
    with ThreadPoolExecutor(40) as clients:
        slow = clients.submit(up.post, b'{"text": "wait"}')
        while not (up.gate / "entered").exists():
            assert not slow.done(), slow.result().data
            time.sleep(0.01)
        others = [clients.submit(up.post, json.dumps({"text": f"ship {number}"}).encode()) for number in range(32)]
        try:
            for path in ["/healthz", "/readyz", "/metrics", "/info"] * 5:
                assert up.get(path).status == 200
            assert up.post(b"{}").status == 400
            assert not any(client.done() for client in [slow, *others])
        finally:
            (up.gate / "open").touch()
        assert [client.result().status for client in [slow, *others]] == [200] * 33


KINDS = [
    "application/json",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/x-www-form-urlencoded",
    "text/plain",
    "application/octet-stream",
    "application/vnd.bentoml+pickle",
    "application/vnd.bentoml+multipart",
    "image/png",
    "nonsense",
]


@pytest.mark.parametrize("kind", KINDS)
def test_random_bytes_of_any_kind_are_refused(kind: str, up: Up) -> None:
    noise = random.Random(kind)
    for size in (0, 1, 100, 100_000):
        answer = up.post(noise.randbytes(size), kind)
        assert answer.status in (400, 415), answer.data
        assert answer.json()["error"]
    assert up.get("/healthz").status == 200


def test_clients_that_disconnect_disturb_no_other(up: Up) -> None:
    host, port = up.url.removeprefix("http://").split(":")
    for head in (
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{",
        b"POST /predict HTTP/1.1\r\n",
        b"\0\xff\r\n\r\n",
    ):
        with socket.create_connection((host, int(port))) as client:
            client.sendall(head)
    assert up.post(b'{"text": "a ship"}').status == 200


def bad_requests() -> list[tuple[bytes, str]]:
    bodies: list[Any] = [
        {"text": [SECRET]},
        {"text": "a", SECRET: 1},
        {"text": "a", "top_k": SECRET},
        [{"text": "a"}, {"text": {SECRET: SECRET}}],
        SECRET,
        {"text": SECRET * 10_000},
    ]
    form = f'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n{SECRET}\r\n--x--\r\n'.encode()
    return [
        *((json.dumps(body).encode(), "application/json") for body in bodies),
        (f'{{"text": "{SECRET}'.encode(), "application/json"),
        (form, "multipart/form-data; boundary=x"),
        (SECRET.encode(), "text/plain"),
        (SECRET.encode(), "application/vnd.bentoml+pickle"),
        (b"{}", f"text/{SECRET}"),
        (b"{}", f"multipart/form-data; boundary={SECRET}"),
        (b"{}", "text/\xff"),
    ]


def test_the_log_holds_nothing_that_clients_sent(up: Up) -> None:
    for body, kind in bad_requests():
        assert up.post(body, kind).status in (400, 415), body[:100]
    assert up.post(json.dumps({"text": SECRET}).encode()).status == 200
    log = up.log.read_text()
    assert "/predict" in log, "requests are logged at all"
    assert SECRET not in log
    assert "Traceback" not in log, log[log.index("Traceback") - 300 :][:3000]


def test_a_client_cannot_forge_log_lines(up: Up) -> None:
    for path in ("/%0AFORGED", "/%0D%0AFORGED", "/%1B[2JFORGED", "/%E2%80%A8FORGED", "/FORGED%25s%25", "/FORGED" * 2000):
        assert up.get(path).status == 404
    up.get("/healthz")  # a line is written behind its answer
    log = up.log.read_text()
    lines = [line for line in log.split("\n") if "FORGED" in line]
    assert len(lines) == 6
    assert all("(scheme=http,method=GET,path=/" in line and "status=404" in line for line in lines)
    assert all(character.isprintable() or character == "\n" for character in log)
    assert max(map(len, lines)) < 1000


def test_unknown_paths_are_not_counted(up: Up) -> None:
    for number in range(20):
        assert up.get(f"/{number}{'x' * 10_000}").status == 404
    assert b"xxx" not in up.get("/metrics").data
