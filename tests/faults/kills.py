"""A run of the whole chain that is killed at a random moment, in some way, and the run after it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.demo.forge import Forge
from pipelines.demo.repository import publish
from steps.core.errors import ExitCode
from tests.faults.stores import half_written, unfinished
from tests.leftovers import processes
from tests.pipelines.conftest import command, manifest
from tests.tiny_models import classifier_folder

__all__ = ["chain", "classifier_folder"]  # fixtures

SERVICE = "text-classification"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
GONE_SECONDS = 60.0  # by then a step whose run is gone has ended, or was killed (``steps.core.process``)
BASE = int(os.environ.get("FAULT_SEED", "0"))  # another number tries other moments


@dataclass
class Chain:
    """A Model of a forge, run again and again; ``seconds`` is how long a run takes that has everything to do."""

    folder: Path
    expected: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @classmethod
    def begun(cls, folder: Path, forge: Forge) -> Chain:
        """Run once, undisturbed, to know what comes out and how long it takes."""
        folder.mkdir(exist_ok=True)
        (folder / "model.yaml").write_text(manifest("killed", forge.url("classifier"), SERVICE))
        chain = cls(folder)
        started = time.monotonic()
        done = chain.start("whole").communicate(timeout=280)
        chain.seconds = time.monotonic() - started
        chain.expected = digests(done[0])
        return chain

    def start(self, store: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command("run", "-f", "model.yaml", "--store", store, "--json"),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def kill_one(self, number: int, base: Path, *, child: bool) -> None:
        """Kill a run that has everything to do, or one of its processes, and let the next one finish."""
        chance = random.Random(f"{BASE}-{number}-{child}")
        store, how = f"store-{number}-{child}", chance.choice(SIGNALS)
        moment = chance.uniform(0, 1.0) * self.seconds
        before = frozenset(psutil.pids())
        with self.start(store) as process:
            try:
                _, said = process.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                victim = process.pid
                if child and (family := psutil.Process(process.pid).children(recursive=True)):
                    victim = chance.choice(family).pid
                whom = "a child" if victim != process.pid else "it"
                story = f"FAULT_SEED={BASE}: run {number}: {how.name} to {whom} after {moment:.1f} s"
                print(story)
                try:
                    os.kill(victim, how)
                except ProcessLookupError:
                    print("the process had ended already")
                _, said = process.communicate(timeout=120)
            else:
                story = f"FAULT_SEED={BASE}: run {number} ended before {moment:.1f} s"
        print(f"it ended with {process.returncode}\n{said}")
        assert process.returncode != ExitCode.BUG
        assert "Traceback" not in said
        left = wait_until_gone(base, before)
        assert left == {}, story
        assert half_written(self.folder / store) == [], story
        if how is not signal.SIGKILL:
            assert unfinished(self.folder / store) == [], story
        with self.start(store) as process:
            output, said = process.communicate(timeout=280)
        assert process.returncode == ExitCode.DONE, said
        assert digests(output) == self.expected, story
        assert half_written(self.folder / store) == unfinished(self.folder / store) == []
        assert wait_until_gone(base, before) == {}


def digests(output: str) -> dict[str, Any]:
    """What a finished run made: revision, set digest, and the digest of each archive."""
    result = json.loads(output.splitlines()[-1])
    assert result["event"] == "result"
    assert result["failures"] == {}
    services = {task: made["archiveDigest"] for task, made in result["services"].items()}
    return {"revision": result["revision"], "setDigest": result["setDigest"], "services": services}


def wait_until_gone(base: Path, before: frozenset[int]) -> dict[int, str]:
    """Processes of the tests that go on after a while."""
    until = time.monotonic() + GONE_SECONDS
    while (found := processes(base, before)) and time.monotonic() < until:
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, classifier_folder: Path) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    publish(folder / "forge", "classifier", classifier_folder)
    with Forge(folder / "forge") as forge:
        yield Chain.begun(folder / "runs", forge)
