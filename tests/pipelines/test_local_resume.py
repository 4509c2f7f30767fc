"""Ctrl-C and SIGTERM in three steps of one run: it ends at once and cleanly, and the next run continues.

The run is the real command in a terminal of its own, and Ctrl-C is typed there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

import psutil
import pytest

from pipelines.demo.forge import Exchange, Forge, Reply
from pipelines.demo.repository import publish
from steps.core.errors import ExitCode
from steps.sources.download import PARTS
from tests.pipelines.conftest import command, manifest, slipway
from tests.servers.forge_faults import Fault, object_requests
from tests.tiny_models import labelled, once, save_text_model

pytestmark = [pytest.mark.slow, pytest.mark.fault("survived")]

QUICK = 4 * PARTS[0]  # bytes of an object that arrive at once; the rest drips


class Dripping(Fault):
    """Sends what lies behind ``QUICK`` byte by byte, as long as ``slow`` is set."""

    slow: ClassVar[threading.Event] = threading.Event()

    def lfs_object(self, name: str, oid: str) -> Reply:
        reply = super().lfs_object(name, oid)
        start = int(reply.headers.get("Content-Range", "bytes 0-").split()[1].split("-")[0])
        return replace(reply, body=self._drip(b"".join(reply.body))) if self.slow.is_set() and start >= QUICK else reply

    def _drip(self, body: bytes) -> Iterator[bytes]:
        for at in range(len(body)):
            yield body[at : at + 1]
            time.sleep(0.02)


class Terminal:
    """A command in a terminal of its own, as a person has it in front of them."""

    def __init__(self, argv: list[str], cwd: Path) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, b"\x28\x00\x78\x00\x00\x00\x00\x00")  # 40 lines of 120 characters

        environment = dict(os.environ) | {"TERM": "xterm"}
        environment.pop("COLUMNS", None)  # pytest-xdist tells its workers one, which rich would believe before the terminal

        def own_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=own_terminal,
        )
        os.close(slave)
        self._master = master
        self._bytes = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def text(self) -> str:
        return self._bytes.decode(errors="replace")

    def press_ctrl_c(self) -> None:
        os.write(self._master, b"\x03")

    def wait_for(self, happened: Callable[[], object]) -> None:
        while not happened():
            assert self.process.poll() is None, self.text
            time.sleep(0.02)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:  # the test failed
            self.process.kill()
            self.process.wait()
        self._reader.join()
        os.close(self._master)

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: the last process let go of the terminal
            while chunk := os.read(self._master, 1 << 16):
                self._bytes += chunk


@dataclass
class Story:
    """One store, and what became of each run in it."""

    folder: Path
    forge: Forge
    size: int
    codes: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    left: list[list[str]] = field(default_factory=list)
    alive: list[list[str]] = field(default_factory=list)
    exchanges: list[list[Exchange]] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def run(self, until: Callable[[Terminal], object], stop: Callable[[Terminal], None]) -> None:
        """Start the run, stop it when something has happened, and write down how it ended."""
        before = len(self.forge.exchanges)
        with Terminal(command("run", "-f", "model.yaml", "--store", "store"), self.folder) as terminal:
            terminal.wait_for(lambda: until(terminal))
            descendants = terminal.descendants()
            stop(terminal)
            self.codes.append(terminal.process.wait())
        self.texts.append(terminal.text)
        self.left.append(sorted(path.name for path in (self.store / "tmp").iterdir()))
        self.alive.append([line for process in descendants if (line := " ".join(arguments(process)))])
        self.exchanges.append(self.forge.exchanges[before:])


def arrived(store: Path) -> int:
    """Bytes of unfinished objects."""
    return sum(path.stat().st_size for path in (store / "tmp/partial").glob("*"))


def arguments(process: psutil.Process) -> list[str]:
    """None of a process that is gone, be it reaped or not."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def ctrl_c(terminal: Terminal) -> None:
    terminal.press_ctrl_c()


def sigterm(terminal: Terminal) -> None:
    terminal.process.send_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("stopped")
    model = once(
        tmp_path_factory,
        "bulky",
        lambda folder: save_text_model("BertForSequenceClassification", folder, vocab_size=20_000, **labelled()),
    )
    publish(folder / "forge", "bulky", model)
    with Forge(folder / "forge", handler=Dripping) as forge:
        (folder / "model.yaml").write_text(manifest("tiny-bulky", forge.url("bulky"), "text-classification"))
        yield Story(folder, forge, (model / "model.safetensors").stat().st_size)
        Dripping.slow.clear()


@pytest.fixture(scope="module")
def stopped_in_fetch(story: Story) -> Story:
    Dripping.slow.set()
    story.run(lambda _: arrived(story.store) >= QUICK, ctrl_c)
    return story


@pytest.fixture(scope="module")
def stopped_in_load(stopped_in_fetch: Story) -> Story:
    Dripping.slow.clear()
    stopped_in_fetch.run(lambda terminal: "Importing torch" in terminal.text, ctrl_c)
    return stopped_in_fetch


@pytest.fixture(scope="module")
def stopped_in_smoke(stopped_in_load: Story) -> Story:
    def serving(terminal: Terminal) -> bool:
        started = [argument for process in terminal.descendants() for argument in arguments(process)]
        return any(argument.endswith("serving/server.py") for argument in started)

    stopped_in_load.run(serving, sigterm)
    return stopped_in_load


def test_ctrl_c_in_fetch_keeps_what_arrived(stopped_in_fetch: Story) -> None:
    assert stopped_in_fetch.codes[0] == ExitCode.INTERRUPTED
    assert "Interrupted: Stopped by Ctrl-C." in stopped_in_fetch.texts[0]
    assert "Run the same command again" in stopped_in_fetch.texts[0]
    assert stopped_in_fetch.left[0] == ["partial"]
    assert stopped_in_fetch.alive[0] == []


def test_the_next_run_fetches_the_rest(stopped_in_load: Story) -> None:
    assert "Going on where the last run stopped, in fetch (Interrupted). Done so far: nothing." in stopped_in_load.texts[1]
    objects = [exchange for exchange in stopped_in_load.exchanges[1] if "/lfs/objects/" in exchange.path and exchange.range]
    starts = [int(exchange.range.removeprefix("bytes=").split("-")[0]) for exchange in objects if exchange.range]
    assert min(starts) >= QUICK
    assert sum(exchange.sent for exchange in objects) == stopped_in_load.size - min(starts)


def test_ctrl_c_in_load_ends_its_process(stopped_in_load: Story) -> None:
    assert stopped_in_load.codes[1] == ExitCode.INTERRUPTED
    assert "Interrupted: Stopped by Ctrl-C." in stopped_in_load.texts[1]
    assert stopped_in_load.alive[1] == []
    assert stopped_in_load.left[1] == ["partial"]


def test_sigterm_in_smoke_ends_the_service(stopped_in_smoke: Story) -> None:
    assert "Going on where the last run stopped, in load (" in stopped_in_smoke.texts[2]
    assert "Done so far: fetch." in stopped_in_smoke.texts[2]
    assert stopped_in_smoke.codes[2] == ExitCode.TERMINATED
    assert "Terminated: Stopped by SIGTERM." in stopped_in_smoke.texts[2]
    assert stopped_in_smoke.alive[2] == []
    assert stopped_in_smoke.left[2] == ["partial"]


def test_a_stop_leaves_a_clean_terminal(stopped_in_smoke: Story) -> None:
    for text in stopped_in_smoke.texts:
        assert "Traceback" not in text
        assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l") >= 0  # DECTCEM: shown after it was hidden last


def test_the_last_run_does_the_rest(stopped_in_smoke: Story) -> None:
    arguments = ("run", "-f", "model.yaml", "--store", "store", "--json")
    objects = len(object_requests(stopped_in_smoke.forge))
    done = slipway(*arguments, cwd=stopped_in_smoke.folder)
    assert done.returncode == ExitCode.DONE, done.stderr
    begin, *events, result = [json.loads(line) for line in done.stdout.splitlines()]
    assert begin["event"] == "begin"
    assert begin["message"].startswith("Going on where the last run stopped, in text-classification/smoke (")
    states = {event["node"]: event["state"] for event in events if event["event"] == "node"}
    assert {node for node, state in states.items() if state == "done"} == {"text-classification/smoke", "report"}
    assert {state for node, state in states.items()} == {"done", "skipped"}
    assert (result["event"], result["nothingToDo"], result["failures"]) == ("result", False, {})
    again = slipway(*arguments, cwd=stopped_in_smoke.folder)
    assert again.returncode == ExitCode.DONE
    begin, *events, second = [json.loads(line) for line in again.stdout.splitlines()]
    assert begin["message"] == ""
    assert {event["state"] for event in events if event["event"] == "node"} == {"running", "skipped"}
    assert (second["event"], second["nothingToDo"]) == ("result", True)
    assert {**second, "nothingToDo": False} == result
    assert len(object_requests(stopped_in_smoke.forge)) == objects
    plain = slipway(*arguments[:-1], cwd=stopped_in_smoke.folder)
    assert "Nothing to do: every step was done before, and every digest is still right." in plain.stdout


def test_ctrl_c_reaches_a_background_run(story: Story, tmp_path: Path) -> None:
    """A shell without job control starts ``slipway run … &`` with SIGINT ignored."""
    Dripping.slow.set()
    script = f"{' '.join(command('run', '-f', str(story.folder / 'model.yaml'), '--store', 'store'))} & wait"
    process = subprocess.Popen(
        ["sh", "-c", script], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while arrived(tmp_path / "store") < QUICK:
        assert process.poll() is None
        time.sleep(0.02)
    (run,) = psutil.Process(process.pid).children()
    run.send_signal(signal.SIGINT)
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    process.wait()
    Dripping.slow.clear()
    assert "Interrupted: Stopped by Ctrl-C." in said
    assert "Traceback" not in said
