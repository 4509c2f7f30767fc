"""A packaged service as a running process on this machine, and the questions it is asked.

The service gets an environment built from nothing: no proxies, no tokens, no hub. It runs in a process group of its own, so
that stopping it stops its workers.
"""

from __future__ import annotations

import contextlib
import json
import mimetypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import urllib3

from steps.core.documents import GoldenRequest
from steps.core.errors import Reason, SlipwayError

BOOT_SECONDS = 300.0  # a service that is not ready by then never will be
STOP_SECONDS = 10.0
AS_JSON = {"Accept": "application/json"}  # an answer that could be a file as well
ANSWER = urllib3.Timeout(connect=5, read=300)


@dataclass
class Served:
    """A service that is up. ``boot_seconds`` passed between its start and its first readiness."""

    url: str
    process: subprocess.Popen[bytes]
    boot_seconds: float

    def rss_bytes(self) -> int:
        """Resident memory of the service's processes together (pages that they share count for each)."""
        parent = psutil.Process(self.process.pid)
        total = 0
        for process in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total

    def get_json(self, path: str) -> Any:
        response = urllib3.request("GET", self.url + path, timeout=ANSWER, retries=False)
        return response.json()


@contextlib.contextmanager
def serve(package: Path, home: Path, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[Served]:
    """Start the unpacked package and wait until it is ready; stop it afterwards. ``home`` takes its log and caches.

    Raises ``BootFailed`` with the end of the service's log.
    """
    port = port or free_port()
    home.mkdir(parents=True, exist_ok=True)
    log = home / "service.log"
    begin = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bentoml", "serve", str(package), "--host", host, "--port", str(port)],
            cwd=home,
            env=_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
        _wait(process, url, log, begin)
        yield Served(url, process, time.monotonic() - begin)
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and its group, by SIGTERM, after ten seconds by SIGKILL, and wait until all of them are gone."""
    for number, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # workers that outlived their parent
    # A killed worker lives until the kernel has taken its memory back: only then is its port free, and its folder.
    end = time.monotonic() + STOP_SECONDS
    while _members(process.pid) and time.monotonic() < end:
        time.sleep(0.01)


def _members(group: int) -> list[int]:
    """The living processes of a process group. One that nobody has reaped is not among them: it holds nothing any more."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def ask(url: str, golden: GoldenRequest, package: Path) -> tuple[dict[str, Any], float]:
    """Send a golden request to ``POST /predict``; returns the answer and the seconds it took.

    Files lie under ``package/src``. Raises ``SmokeMismatch`` when the service refuses its own golden request.
    """
    begin = time.monotonic()
    if golden.files:
        fields: dict[str, Any] = {name: form_value(value) for name, value in golden.fields.items()}
        for name, path in golden.files.items():
            kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
            fields[name] = (Path(path).name, (package / "src" / path).read_bytes(), kind)
        body: dict[str, Any] = {"fields": fields}
    else:
        body = {"json": golden.fields}
    response = urllib3.request("POST", f"{url}/predict", headers=AS_JSON, timeout=ANSWER, retries=False, **body)
    seconds = time.monotonic() - begin
    try:
        answer = json.loads(response.data)
    except ValueError:
        answer = None
    if response.status != 200 or not isinstance(answer, dict):
        said = response.data[:500].decode(errors="replace")
        raise SlipwayError(Reason.SMOKE_MISMATCH, f"The service answered its golden request with {response.status}: {said}")
    return answer, seconds


def form_value(value: Any) -> str:
    """A field's value as it stands in a form: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def free_port() -> int:
    """A port of this machine that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], url: str, log: Path, begin: float) -> None:
    dead: set[int] = set()
    while time.monotonic() - begin < BOOT_SECONDS:
        if process.poll() is not None:
            raise SlipwayError(
                Reason.BOOT_FAILED, f"The service ended with exit code {process.returncode} before it was ready:\n{_tail(log)}"
            )
        if _worker_ended(process, dead):  # BentoML would start it again and again
            raise SlipwayError(Reason.BOOT_FAILED, f"The service's worker ended before it was ready:\n{_tail(log)}")
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            if urllib3.request("GET", f"{url}/readyz", timeout=2, retries=False).status == 200:
                return
        time.sleep(0.1)
    raise SlipwayError(Reason.BOOT_FAILED, f"The service was not ready after {BOOT_SECONDS:.0f} s:\n{_tail(log)}")


def _worker_ended(process: subprocess.Popen[bytes], dead: set[int]) -> bool:
    """Whether a child of the service has been dead since the last look, whose findings are in ``dead``.

    BentoML looks after its workers every ten seconds only; any other child is dead for no longer than a moment.
    """
    found: set[int] = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.status() == psutil.STATUS_ZOMBIE:
                    found.add(child.pid)
    ended = bool(found & dead)
    dead.clear()
    dead.update(found)
    return ended


def _tail(log: Path, lines: int = 12) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _environment(home: Path) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "BENTOML_HOME": str(home / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(home / "huggingface"),
        "NO_PROXY": "*",
    }
