"""A secret in an address goes nowhere: not to a terminal, a log, a store, a report or a process that others can see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from pipelines.demo.forge import Forge
from tests.leftovers import Canary
from tests.pipelines.conftest import command, manifest, slipway
from tests.pipelines.test_cli import invoke
from tests.scorecard import Scorecard

ENTRIES = [
    ["run", "-f", "{good}", "--store", "s3://user:{secret}@bucket/a"],
    ["run", "--json", "-f", "{good}", "--store", "gs://user:{secret}@bucket/a"],
    ["plan", "-f", "{good}", "--store", "s3://bucket/a?token={secret}"],
    ["run", "-f", "{bad}"],
    ["run", "--json", "-f", "{bad}"],
    ["plan", "--json", "-f", "{bad}"],
    ["submit", "-f", "{bad}"],
    ["run", "-f", "https://user:{secret}@h/model.yaml"],
    ["serve", "https://user:{secret}@h/archive.tar.gz"],
    ["serve", "{good}", "--port", "https://user:{secret}@h"],
    ["https://user:{secret}@h/a"],
    ["run", "--from=https://user:{secret}@h/a"],
    ["install", "--store", "s3://user:{secret}@bucket/a"],
    ["install", "--registry", "https://user:{secret}@h"],
    ["install", "--event-bus-url", "nats://user:{secret}@h:4222"],
    ["install", "--set", "https://user:{secret}@h"],
]


@pytest.fixture
def places(tmp_path: Path, canary: Canary) -> dict[str, str]:
    """What the arguments of a command are made of: a right manifest, one with the secret, and the secret."""
    (tmp_path / "model").mkdir()
    good = tmp_path / "good.yaml"
    good.write_text(manifest("tiny", str(tmp_path / "model"), "ner").replace("git_lfs", "upload"))
    bad = canary.plant(
        tmp_path / "bad.yaml",
        manifest("tiny", f"https://user:{canary.secret}@h/a", "ner").replace("git_lfs", "upload"),
    )
    return {"good": str(good), "bad": str(bad), "secret": canary.secret}


@pytest.mark.fault("refused")
@pytest.mark.parametrize("entry", ENTRIES, ids=" ".join)
def test_no_command_shows_it(entry: list[str], places: dict[str, str], canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", os.devnull)
    result = invoke(*(part.format(**places) for part in entry))
    assert result.exit_code in (2, 13, 16), result.output
    assert "hint" in result.output
    assert not canary.found_in(result.output)


@pytest.mark.fault("refused")
@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--source", "--revision", "--include", "--store", "--expected-set-digest", "--sauce"])
def test_no_step_shows_it(flag: str, tmp_path: Path, canary: Canary) -> None:
    arguments = {"--source-kind": "git_lfs", "--source": "https://127.0.0.1:9/a", "--store": str(tmp_path / "store")}
    arguments[flag] = f"https://user:{canary.secret}@h/a"
    line = [f"{name}={value}" for name, value in arguments.items()]
    done = subprocess.run(
        [sys.executable, "-m", "steps.fetch", *line, "--progress=json"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode in (2, 13), done.stderr
    assert not canary.found_in(done.stdout + done.stderr)
    assert json.loads(done.stderr.splitlines()[-1])["hint"]


@pytest.mark.fault("refused")
@pytest.mark.hard  # two minutes of trying again
def test_a_proxys_password_is_not_shown(tmp_path: Path, canary: Canary) -> None:
    """It is legitimate; git's own sentence about what it could not reach, and every other, is without it."""
    (tmp_path / "model.yaml").write_text(manifest("tiny", "https://example.invalid/a", "ner"))
    proxy = f"http://user:{canary.secret}@127.0.0.1:9"
    done = slipway("run", "-f", "model.yaml", "--store", "store", cwd=tmp_path, https_proxy=proxy, SLIPWAY_BUILDER="plan")
    assert done.returncode in (10, 75), done.stderr
    assert not canary.found_in(done.stdout + done.stderr)


class _Waits(BaseHTTPRequestHandler):
    def do_CONNECT(self) -> None:
        time.sleep(3)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def slow_proxy() -> Iterator[str]:
    """HOST:PORT of a proxy that does not answer for three seconds."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Waits) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.fault("survived")
@pytest.mark.hard
def test_no_process_has_it_in_its_arguments(tmp_path: Path, canary: Canary, slow_proxy: str) -> None:
    (tmp_path / "model.yaml").write_text(manifest("tiny", "https://example.invalid/a", "ner"))
    environment = {**os.environ, "https_proxy": f"http://user:{canary.secret}@{slow_proxy}", "SLIPWAY_STORE": "store"}
    run = subprocess.Popen(
        command("run", "-f", "model.yaml"), cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    seen: set[str] = set()
    until = time.monotonic() + 20
    while time.monotonic() < until and not any("ls-remote" in line for line in seen):
        for process in psutil.Process(run.pid).children(recursive=True):
            try:
                seen.add(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        time.sleep(0.01)
    run.terminate()
    run.wait(60)
    assert any("ls-remote" in line for line in seen), seen
    assert not canary.found_in(" ".join(seen))


@pytest.mark.fault("survived")
@pytest.mark.hard
def test_a_whole_run_writes_it_nowhere(tmp_path: Path, hub: Forge, canary: Canary, scorecard: Scorecard) -> None:
    """Proxies, package indexes and tokens in the environment, from fetch to the report."""
    (tmp_path / "model.yaml").write_text(manifest("tiny-vit", hub.url("vit"), "image-classification"))
    secret = canary.secret
    environment = {
        "https_proxy": f"http://user:{secret}@127.0.0.1:9",
        "PIP_INDEX_URL": f"https://user:{secret}@127.0.0.1:9/simple",
        "PIP_EXTRA_INDEX_URL": f"https://{secret}@127.0.0.1:9/simple",
        "HF_TOKEN": secret,
        "AWS_SECRET_ACCESS_KEY": secret,
        "SLIPWAY_BUILD_FLAGS": f"--build-arg=HTTPS_PROXY=http://user:{secret}@127.0.0.1:9",
    }
    argv = command("run", "-f", "model.yaml", "--store", "store", "--json")
    done = scorecard.run("run", argv, cwd=tmp_path, env=dict(os.environ) | environment, timeout=280)
    assert done.returncode == 0, done.stdout
    assert list(tmp_path.glob("store/runs/*/report.html"))
    assert not canary.found_in(done.stdout + done.stderr)
