"""A packaged service as a running process on this machine, and requests to it.

The service gets an environment built from nothing: no proxies, no tokens, no hub.
"""

from __future__ import annotations

import contextlib
import json
import mimetypes
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import urllib3
from pydantic import JsonValue

from steps.core.documents import GoldenRequest
from steps.core.environment import for_service
from steps.core.errors import Reason, SlipwayError
from steps.core.process import Program, start
from steps.core.text import display_text
from steps.package.listen import service_url

BOOT_SECONDS = 300.0  # after which a service that is not ready is given up
END_SECONDS = 3.0  # in which a service that broke a connection off has ended, if it has
TAIL_BYTES = 10_000
SERVER = "src/serving/server.py"
AS_JSON = {"Accept": "application/json"}  # also where the answer could be a file
ANSWER_TIMEOUT = urllib3.Timeout(connect=5, read=300)


@dataclass
class RunningService:
    """A service that is ready. ``boot_seconds`` passed between its start and its first readiness."""

    url: str
    process: Program
    boot_seconds: float
    log: Path

    def rss_bytes(self) -> int:
        """Resident memory of the service's processes together (pages that they share count for each)."""
        parent = psutil.Process(self.process.pid)
        total = 0
        for process in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total

    def get_object(self, path: str) -> dict[str, JsonValue]:
        """The JSON object that the service answers to ``GET path``. Raises ``SmokeMismatch`` for any other answer."""
        answer: JsonValue
        try:
            answer = urllib3.request("GET", self.url + path, timeout=ANSWER_TIMEOUT, retries=False).json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise SlipwayError(Reason.SMOKE_MISMATCH, f"The service answers {path} with something else than a JSON object.")
        return answer

    def wait(self) -> SlipwayError:
        """Wait until the service ends, and return why as an error."""
        self.process.wait()
        return self._ended("by itself")

    def _ended(self, when: str) -> SlipwayError:
        return ended_error(self.process.returncode, when, self.log)

    def unanswered(self, error: Exception) -> SlipwayError:
        """The error for a request that got no answer: that of a service that has ended where it has, else ``SmokeMismatch``."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)
            return self._ended("while it answered")
        text = f"The service did not answer ({display_text(str(error), 300)}):\n{tail(self.log)}"
        return SlipwayError(Reason.SMOKE_MISMATCH, text, hint=Reason.BOOT_FAILED.hint)


@contextlib.contextmanager
def serve(
    package: Path, home: Path, *, host: str = "127.0.0.1", port: int = 0, scratch: Path | None = None
) -> Iterator[RunningService]:
    """Start the unpacked package as its image does, and wait until it is ready; stop it afterwards.

    Args:
        package: folder of the unpacked archive.
        home: folder for the service's log and caches; it is made.
        host: address to listen on.
        port: port to listen on; 0: any that is free.
        scratch: folder that is removed after the service where this process is killed.

    Raises:
        SlipwayError: ``BootFailed`` with the end of the service's log, where it does not start or ends inside of the block;
            ``OutOfMemory`` where it was killed; ``SmokeMismatch`` where a request inside of the block gets no answer.
    """
    port = port or free_port()
    home.mkdir(parents=True, exist_ok=True)
    log = home / "service.log"
    begin = time.monotonic()
    command = [sys.executable, "-P", str(package / SERVER), "--host", host, "--port", str(port)]
    with (
        log.open("wb") as output,
        start(
            command, environment=for_service(home), folder=home, stdout=output, stderr=subprocess.STDOUT, scratch=scratch
        ) as process,
    ):
        url = service_url(host, port)
        _wait(process, url, log, begin)
        running = RunningService(url, process, time.monotonic() - begin, log)
        try:
            yield running
        except (urllib3.exceptions.HTTPError, psutil.NoSuchProcess) as error:
            raise running.unanswered(error) from None


def ended_error(code: int | None, when: str, log: Path) -> SlipwayError:
    """The error for a service that ended: ``OutOfMemory`` where it was killed, else ``BootFailed``; with the end of its log."""
    if code == -signal.SIGKILL:
        return SlipwayError(
            Reason.OUT_OF_MEMORY, f"The service was killed {when}, most likely for its memory. Its log ends:\n{tail(log)}"
        )
    how = f"by the signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"
    return SlipwayError(Reason.BOOT_FAILED, f"The service ended {how} {when}:\n{tail(log)}")


def send_golden_request(url: str, golden: GoldenRequest, package: Path) -> tuple[dict[str, JsonValue], float]:
    """Send a golden request to ``POST /predict``: as JSON, or as a form where it has files.

    Args:
        url: the service's address.
        golden: fields, and the paths of files below ``package/src``.
        package: folder of the unpacked archive.

    Returns:
        The answer, and the seconds it took.

    Raises:
        SlipwayError: ``SmokeMismatch`` where the service does not answer its own golden request with a JSON object.
    """
    begin = time.monotonic()
    address = f"{url}/predict"
    if golden.files:
        form: dict[str, str | tuple[str, bytes, str]] = {name: form_value(value) for name, value in golden.fields.items()}
        for name, path in golden.files.items():
            kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
            form[name] = (Path(path).name, (package / "src" / path).read_bytes(), kind)
        response = urllib3.request("POST", address, headers=AS_JSON, timeout=ANSWER_TIMEOUT, retries=False, fields=form)
    else:
        response = urllib3.request("POST", address, headers=AS_JSON, timeout=ANSWER_TIMEOUT, retries=False, json=golden.fields)
    seconds = time.monotonic() - begin
    try:
        answer: JsonValue = json.loads(response.data)
    except ValueError:
        answer = None
    if response.status != 200 or not isinstance(answer, dict):
        text = response.data[:500].decode(errors="replace")
        raise SlipwayError(Reason.SMOKE_MISMATCH, f"The service answered its golden request with {response.status}: {text}")
    return answer, seconds


def form_value(value: object) -> str:
    """A field's value in a form (multipart/form-data): a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def free_port() -> int:
    """A port of this machine that no process listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: Program, url: str, log: Path, begin: float) -> None:
    while time.monotonic() - begin < BOOT_SECONDS:
        if process.poll() is not None:
            raise ended_error(process.returncode, "before it was ready", log)
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            if urllib3.request("GET", f"{url}/readyz", timeout=2, retries=False).status == 200:
                return
        time.sleep(0.1)
    raise SlipwayError(Reason.BOOT_FAILED, f"The service was not ready after {BOOT_SECONDS:.0f} s:\n{tail(log)}")


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    return ""
