"""A service that ends before it is ready, or while it answers: the reason and the end of its log, never a bug of Slipway."""

from __future__ import annotations

from pathlib import Path

import pytest

from steps.core.documents import GoldenRequest
from steps.core.errors import ExitCode, Reason, SlipwayError
from steps.package.local_service import send_golden_request, serve

pytestmark = pytest.mark.fault("survived")

# A service in place of the packaged one: ready at once, and {end} is what it does with a request.
SERVER = """
import os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"ready")

    def do_POST(self):
        print("the last words", flush=True)
        {end}

{begin}
HTTPServer(("127.0.0.1", int(sys.argv[-1])), Handler).serve_forever()
"""


def fail(folder: Path, *, begin: str = "", end: str = "") -> SlipwayError:
    package = folder / "package"
    server = package / "src/serving/server.py"
    server.parent.mkdir(parents=True)
    server.write_text(SERVER.format(begin=begin, end=end))
    golden = GoldenRequest(fields={"text": "a"}, files={})
    with pytest.raises(SlipwayError) as caught, serve(package, folder / "home") as served:
        send_golden_request(served.url, golden, package)
    assert caught.value.reason.exit_code is not ExitCode.BUG
    return caught.value


@pytest.mark.parametrize(
    ("end", "reason", "said"),
    [
        ("os._exit(3)", Reason.BOOT_FAILED, "with exit code 3 while it answered"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", Reason.BOOT_FAILED, "by the signal SIGSEGV while it answered"),
        ("os.kill(os.getpid(), signal.SIGKILL)", Reason.OUT_OF_MEMORY, "was killed while it answered"),
        ("self.wfile.write(b'nonsense')", Reason.SMOKE_MISMATCH, "did not answer"),
        ("self.connection.close()", Reason.SMOKE_MISMATCH, "did not answer"),
    ],
    ids=["exit", "crash", "killed", "nonsense", "closed"],
)
def test_its_end_while_it_answers(tmp_path: Path, end: str, reason: Reason, said: str) -> None:
    error = fail(tmp_path, end=end)
    assert error.reason is reason
    assert said in error.message
    assert "the last words" in error.message


@pytest.mark.parametrize(
    ("begin", "reason"),
    [
        ("print('the first words'); sys.exit(3)", Reason.BOOT_FAILED),
        ("print('the first words', flush=True); os.kill(os.getpid(), signal.SIGKILL)", Reason.OUT_OF_MEMORY),
    ],
)
def test_its_end_before_it_is_ready(tmp_path: Path, begin: str, reason: Reason) -> None:
    error = fail(tmp_path, begin=begin)
    assert error.reason is reason
    assert "the first words" in error.message
