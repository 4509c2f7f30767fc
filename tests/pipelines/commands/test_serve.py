"""``slipway serve ARCHIVE`` prints how to call the service, which refuses bad requests; Ctrl-C ends all of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3

from steps.core.documents import ModelFacts
from steps.core.errors import ExitCode
from steps.smoke import TOLERANCE, difference
from tests.pipelines.conftest import Ingested, command, slipway
from tests.scorecard import Scorecard
from tests.steps.core.test_process import wait_until_gone

pytestmark = pytest.mark.slow

SERVICE = "image-classification"
PICTURE = Path(__file__).parents[3] / "steps/tasks/golden/picture.png"


def archive_of(run: Ingested) -> Path:
    path: str = run.outcome.receipts[f"{SERVICE}/archive"].outputs["archive"]
    return run.store / path


class Serving:
    """A running ``slipway serve`` and what it printed until it was up."""

    def __init__(self, process: subprocess.Popen[str], scratch: Path) -> None:
        self.process, self.scratch = process, scratch
        self.lines: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line)
            if "Ctrl-C ends it" in line:
                break

    @property
    def curl(self) -> str:
        return next(line.strip() for line in self.lines if line.startswith("curl "))

    @property
    def url(self) -> str:
        return self.curl.rpartition(" ")[2]

    def post(self, **fields: Any) -> tuple[int, Any]:
        response = urllib3.request("POST", self.url, fields=fields, retries=False, timeout=60)
        return response.status, json.loads(response.data)


@pytest.fixture(scope="module")
def serving(vit_run: Ingested, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    scratch = tmp_path_factory.mktemp("serve's scratch")  # has a space and a quote, which need quoting in a shell
    process = subprocess.Popen(
        command("serve", archive_of(vit_run), "--port", "0"),
        env=dict(os.environ) | {"TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield Serving(process, scratch)
        finally:
            process.terminate()


def test_name_and_digest_are_printed(serving: Serving, vit_run: Ingested) -> None:
    said = "".join(serving.lines)
    assert f"tiny-vit: {SERVICE} at http://127.0.0.1:" in said
    assert f"set digest sha256:{vit_run.outcome.receipts['fetch'].outputs['set_digest']}" in said


def test_the_printed_curl_line_works(serving: Serving, vit_run: Ingested) -> None:
    done = subprocess.run(["sh", "-c", serving.curl], check=True, capture_output=True, text=True)
    facts = vit_run.context.read_document(vit_run.outcome.receipts["load"].outputs["facts"], ModelFacts)
    assert difference(facts.expected[SERVICE].answer, json.loads(done.stdout)) <= TOLERANCE


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"image": ("x.png", b"this is not an image", "image/png")}, "image"),
        ({"image": ("x.png", b"", "image/png")}, "image"),
        ({"image": ("x.png", PICTURE.read_bytes()[:40], "image/png")}, "image"),
        ({"image": "http://127.0.0.1:1/picture.png"}, "image"),
        ({"image": "/etc/passwd"}, "image"),
        ({"top_k": "3"}, "image"),
        ({"image": ("x.png", PICTURE.read_bytes(), "image/png"), "top_k": "100000"}, "top_k"),
        ({"image": ("x.png", PICTURE.read_bytes(), "image/png"), "top_k": "0"}, "top_k"),
        ({"image": ("x.png", PICTURE.read_bytes(), "image/png"), "top_k": "many"}, "top_k"),
    ],
    ids=range(9),
)
def test_a_bad_request_is_refused(serving: Serving, fields: dict[str, Any], named: str) -> None:
    status, answer = serving.post(**fields)
    assert 400 <= status < 500, answer
    assert named in json.dumps(answer)
    assert "Traceback" not in json.dumps(answer)
    status, answer = serving.post(image=("x.png", PICTURE.read_bytes(), "image/png"), top_k="1")
    assert status == 200
    assert len(answer["labels"]) == 1


def test_json_instead_of_a_file_is_refused(serving: Serving) -> None:
    response = urllib3.request("POST", serving.url, json={"image": "x"}, retries=False)
    assert 400 <= response.status < 500
    assert "image" in response.json()["error"]


def test_ctrl_c_ends_the_service(serving: Serving) -> None:
    """The last test of this service."""
    descendants = psutil.Process(serving.process.pid).children(recursive=True)
    assert descendants
    serving.process.send_signal(signal.SIGINT)
    assert serving.process.stdout is not None
    said = serving.process.stdout.read()
    assert serving.process.wait() == ExitCode.DONE
    assert "Stopped." in said
    assert "Traceback" not in said
    assert [process for process in descendants if process.is_running()] == []
    assert list(serving.scratch.iterdir()) == []


@pytest.mark.hard
@pytest.mark.fault("survived")
@pytest.mark.parametrize(
    ("number", "last", "code"),
    [
        (signal.SIGKILL, "", -signal.SIGKILL),
        (signal.SIGHUP, "Stopped by SIGHUP.\n", ExitCode.TERMINATED),
        (signal.SIGTERM, "Stopped by SIGTERM.\n", ExitCode.TERMINATED),
    ],
)
def test_nothing_of_it_is_left(
    vit_run: Ingested, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, last: str, code: int
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with subprocess.Popen(
        command("serve", archive_of(vit_run), "--port", "0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        serving = Serving(process, tmp_path)
        assert serving.url
        descendants = psutil.Process(process.pid).children(recursive=True)
        assert descendants
        process.send_signal(number)
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait() == code
    assert said.endswith(last)
    assert "error:" not in said
    wait_until_gone(descendants)
    until = time.monotonic() + 30
    while list(tmp_path.iterdir()) and time.monotonic() < until:  # a command that was killed does not remove its folder itself
        time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_archive_is_refused(vit_run: Ingested, tmp_path: Path) -> None:
    data = bytearray(archive_of(vit_run).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "it.tar.gz").write_bytes(data)
    done = slipway("serve", "it.tar.gz", cwd=tmp_path, TMPDIR=str(tmp_path))
    assert done.returncode == ExitCode.INTEGRITY
    assert "DigestMismatch" in done.stderr
    assert "it.tar.gz" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["it.tar.gz"]


def test_another_archive_is_refused(vit_run: Ingested, tmp_path: Path) -> None:
    done = slipway("serve", archive_of(vit_run), "--sha256", f"sha256:{'0' * 64}", cwd=tmp_path)
    assert done.returncode == ExitCode.INTEGRITY
    assert "0" * 64 in done.stderr


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    done = slipway("serve", "nowhere.tar.gz", cwd=tmp_path)
    assert done.returncode == ExitCode.INPUT
    assert "nowhere.tar.gz" in done.stderr


@pytest.mark.slow
@pytest.mark.fault("refused")
def test_a_header_that_unpacks_to_much_is_refused(tmp_path: Path, scorecard: Scorecard) -> None:
    """Half a megabyte whose first header stands for half a gigabyte."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 500_000_000
    member = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    with (tmp_path / "a.tar.gz").open("wb") as file:
        file.write(member.compress(info.tobuf(tarfile.USTAR_FORMAT)))
        for _ in range(500):
            file.write(member.compress(bytes(1_000_000)))
        file.write(member.flush())
    done = scorecard.run("serve", command("serve", tmp_path / "a.tar.gz"))
    assert done.returncode == ExitCode.RESOURCES, done.stderr
    assert "error: TooLarge" in done.stderr
    assert done.peak < 128 << 20, done.stderr
