"""The fault suite's plugin: it finds what tests leave behind, counts the rest, and knows three kinds."""

from __future__ import annotations

import base64
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.leftovers import Canary
from tests.scorecard import KINDS

ROOT = Path(__file__).parents[1]
TESTS = """
import subprocess, sys, tempfile
from pathlib import Path
import pytest

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]

@pytest.fixture(scope="module")
def server():
    with subprocess.Popen(SLEEP) as process:
        yield
        process.kill()

@pytest.mark.fault("refused")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_numbers(number, server): assert number < 3

@pytest.mark.fault("accepted")
def test_memory(scorecard):
    work = "import time; x = bytearray(100 << 20); print(len(x)); time.sleep(0.3)"
    done = scorecard.run("fetch", [sys.executable, "-c", work])
    assert done.returncode == 0
    assert 100 << 20 < done.peak < 400 << 20

@pytest.mark.fault("survived")
def test_orphan(tmp_path):
    subprocess.run(["sh", "-c", '"$@" & ', "sh", *SLEEP], check=True, cwd=tmp_path, env={}, start_new_session=True)

@pytest.mark.fault("survived")
def test_file(): Path(tempfile.gettempdir(), "forgotten").write_text("")

@pytest.mark.fault("survived")
def test_secret(tmp_path, canary):
    canary.plant(tmp_path / "netrc", canary.secret)
    (tmp_path / "log").write_text(canary.secret)

@pytest.mark.hard
def test_hard(): pass

def test_plain(): Path(tempfile.gettempdir(), "mine").write_text("")
"""
CONFTEST = """
from tests.conftest import *
import tests.leftovers
tests.leftovers.GRACE_SECONDS = 1
"""


def inner(folder: Path, tests: str, *options: str) -> str:
    """Run a file of tests with the suite's own plugins."""
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  fault\n  hard\n")
    (folder / "conftest.py").write_text(
        "from tests.conftest import *\nimport tests.leftovers\ntests.leftovers.GRACE_SECONDS = 1\n"
    )
    (folder / "test_inner.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={folder / 'base'}", *options, str(folder)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), pytest.param(("-n", "2"), marks=pytest.mark.hard)], ids=["alone", "workers"])
def test_the_scorecard_counts_and_finds(tmp_path: Path, workers: tuple[str, ...]) -> None:
    page = tmp_path / "page.md"
    said = inner(tmp_path, TESTS, "-m", "fault or hard", f"--scorecard={page}", *workers)
    assert re.search(r"\b1 failed, 7 passed, .*3 errors", said), said
    lines = dict(re.split(r"  +", line, maxsplit=1) for line in said.splitlines() if re.match(r"[a-z ]+\w  +\w", line))
    assert lines["inputs refused"] == "2 of 3"
    assert lines["inputs accepted"] == "1 of 1"
    assert lines["faults survived"] == "0 of 3"
    assert lines["orphan processes"] == "1"
    assert lines["secrets leaked"] == "1, of 1 planted"
    assert lines["temporary files left"] == "1"
    assert 100 < int(lines["peak memory of fetch"].removesuffix(" MiB")) < 400
    assert "orphan: " in said
    assert "left file: forgotten" in said
    assert "| inputs refused | 2 of 3 |" in page.read_text()


@pytest.mark.slow
def test_a_marker_of_another_kind_is_refused(tmp_path: Path) -> None:
    said = inner(tmp_path, "import pytest\n@pytest.mark.fault('lost')\ndef test_it(): pass\n")
    assert "test_inner.py::test_it: the marker fault wants one of refused, accepted, survived" in said


@pytest.mark.parametrize("skip", range(3))
def test_a_secret_is_found_in_base64(skip: int) -> None:
    canary = Canary()
    assert canary.found_in(base64.b64encode(bytes(skip) + canary.secret.encode() + b"@host/path"))
    assert not canary.found_in(base64.b64encode(Canary().secret.encode()))


def test_each_kind_is_described() -> None:
    assert set(KINDS) == {"refused", "accepted", "survived"}


@pytest.mark.slow
def test_make_gives_arguments_that_pytest_takes() -> None:
    printed = subprocess.run(["make", "--just-print", "test-hard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    _, _, arguments = printed.replace("\\\n", " ").partition(" -m pytest ")
    command = [sys.executable, "-m", "pytest", *shlex.split(arguments), "--markers"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "@pytest.mark.hard" in done.stdout


def test_the_page_is_of_all_folders() -> None:
    page = (ROOT / "docs" / "fault-suite.md").read_text()
    rows = set(re.findall(r"^\| (.+?) \|", page, re.MULTILINE))
    marked = [file for file in (ROOT / "tests").glob("*/**/test_*.py") if "pytest.mark.fault(" in file.read_text()]
    folders = {str(file.parent.relative_to(ROOT / "tests")) for file in marked} - {"cluster"}  # they run in `make e2e`
    assert rows >= {f"`{folder}`" for folder in folders}
    assert rows >= {*KINDS.values(), "orphan processes", "secrets leaked", "temporary files left", "peak memory of fetch"}
