"""The archive is BentoML's own format: ``bentoml import`` takes it, ``bentoml serve TAG`` answers, bad requests are refused."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
import urllib3
import yaml

from steps.core.documents import ModelFacts
from steps.core.process import start
from steps.package.local_service import free_port
from tests.steps.packages import Made

pytestmark = pytest.mark.slow  # a service is started


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("bentoml")
    own = {"BENTOML_HOME": str(home), "HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "NO_PROXY": "*"}
    return {"PATH": os.environ["PATH"], **own}


@pytest.fixture(scope="module")
def tag(encoder: Made, environment: dict[str, str]) -> str:
    command = [sys.executable, "-m", "bentoml"]
    subprocess.run([*command, "import", str(encoder.path)], env=environment, check=True, capture_output=True, timeout=120)
    listed = subprocess.run([*command, "list", "-o", "json"], env=environment, check=True, capture_output=True, text=True)
    (bento,) = json.loads(listed.stdout)
    found: str = bento["tag"]
    return found


@pytest.fixture(scope="module")
def url(tag: str, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    log = tmp_path_factory.mktemp("log") / "service.log"
    command = [sys.executable, "-m", "bentoml", "serve", tag, "--port", str(port)]
    with (
        log.open("wb") as output,
        start(command, environment=environment, folder=log.parent, stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        while process.poll() is None:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                if urllib3.request("GET", f"http://127.0.0.1:{port}/readyz", retries=False).status == 200:
                    break
            time.sleep(0.1)
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}"


def ask(url: str, body: bytes, **headers: str) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json", **headers}
    response = urllib3.request("POST", f"{url}/predict", body=body, headers=headers, retries=False, timeout=60)
    return response.status, json.loads(response.data)


def test_the_tag_is_the_one_rendered(tag: str, encoder: Made) -> None:
    rendered = json.loads((encoder.root / encoder.render).read_text())
    assert tag == rendered["bento"]
    bento = yaml.safe_load(rendered["files"]["bento.yaml"])
    assert f"{bento['name']}:{bento['version']}" == tag


def test_the_imported_bento_answers_as_the_model(url: str, encoder: Made) -> None:
    expected = encoder.context.read_document(encoder.facts, ModelFacts).expected[encoder.service]
    status, answer = ask(url, json.dumps(expected.golden.fields).encode())
    assert status == 200
    vectors = cast(list[list[float]], expected.answer["features"])
    assert len(answer["features"]) == len(vectors)
    for found, vector in zip(answer["features"], vectors, strict=True):
        assert found == pytest.approx(vector, abs=1e-4)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{}", "text"),
        (b'{"text": ""}', "text"),
        (b'{"text": 7}', "text"),
        (b'{"text": null}', "text"),
        (b'{"text": ["a", "b"]}', "text"),
        (b'{"text": "\\ud800"}', "Invalid JSON"),
        (json.dumps({"text": "x" * 100_001}).encode(), "text"),
        (b'{"text": "a", "pooling": "most"}', "pooling"),
        (b"not json", ""),
        (b"[1, 2]", ""),
        (b"", ""),
        (b"\xff\xfe", ""),
        (b"[" * 100_000, ""),
    ],
    ids=range(13),
)
def test_a_bad_request_is_refused_by_name(url: str, body: bytes, named: str) -> None:
    status, answer = ask(url, body)
    assert 400 <= status < 500, answer
    assert named in json.dumps(answer)
    assert "Traceback" not in json.dumps(answer)
    assert ask(url, b'{"text": "the harbour", "pooling": "mean"}')[0] == 200


def test_a_text_too_long_is_truncated(url: str) -> None:
    status, answer = ask(url, json.dumps({"text": "ship " * 10_000}).encode())
    assert status == 200
    assert len(answer["features"]) == 64


def test_the_service_describes_its_inputs(url: str) -> None:
    document = urllib3.request("GET", f"{url}/docs.json", retries=False).json()
    schema = json.dumps(document["paths"]["/predict"]["post"])
    assert "predict" in schema
    assert "pooling" in json.dumps(document)
