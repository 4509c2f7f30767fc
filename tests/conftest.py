"""What most tests stand on: a clean environment, a context whose clock does not wait, and a Git server on loopback."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.demo.forge import Forge
from steps.core.contract import Context
from steps.core.progress import Progress, ProgressEvent
from steps.store.local import LocalStore
from tests.servers.trust import Trust

pytest_plugins = ["tests.scorecard"]

# Of the tests' models a second thread finishes nothing sooner; threads that wait for each other take all cores for it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# `nohup` has the tests ignore the end of a terminal, and a script that runs them in the background Ctrl-C: so would every
# program that they start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# What a developer's machine may have set and no test may see: proxies, settings, credentials, caches, certificate authorities.
# A cluster is asked by the tests in tests/cluster alone, which are told where it is by SLIPWAY_E2E_* and KUBECONFIG.
FOREIGN = re.compile(
    r"(?i)(\w*_proxy|SLIPWAY_(?!E2E_)\w+|DOCKER_CONFIG|REGISTRY_AUTH_FILE|(HF|TRANSFORMERS|BENTOML|AWS|GOOGLE|CLOUDSDK|GIT|XDG)_\w+"
    r"|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NETRC)"
)
CLUSTER = re.compile(r"KUBECONFIG|STORAGE_EMULATOR_HOST")


CLOUD_PROJECT = "launch"  # of the Cloud Build server in tests


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that need a cluster, and those that take long, unless ``-m`` names their marker."""
    for marker in ("cluster", "hard"):
        left_out = [item for item in items if item.get_closest_marker(marker)]
        if left_out and marker not in config.option.markexpr:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if not item.get_closest_marker(marker)]


@pytest.fixture(scope="session")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trust]:
    """One certificate for all servers: gRPC reads its authorities once in a process."""
    made = Trust.make(tmp_path_factory.mktemp("trust"), CLOUD_PROJECT, "127.0.0.1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(made.certificate))
        yield made


@pytest.fixture(scope="session", autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[None]:
    """Run all tests with an empty home, in an empty folder, and without the variables of whoever started them."""
    for_cluster = "cluster" in pytestconfig.option.markexpr
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if FOREIGN.fullmatch(name) or (CLUSTER.fullmatch(name) and not for_cluster):
                patch.delenv(name)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))  # what is left there is seen
        patch.setattr(tempfile, "tempdir", None)
        patch.chdir(tmp_path_factory.mktemp("working-folder"))
        yield


class FakeClock:
    """Stands still unless somebody sleeps: then it jumps, at once. ``slept`` holds the naps, in seconds."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return datetime(2026, 11, 23, 20, 0, tzinfo=UTC) + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)


@dataclass
class RecordedProgress(Progress):
    """Keeps what it is told; ``then`` is called with each event and may raise, as Ctrl-C does."""

    events: list[ProgressEvent] = field(default_factory=list)
    then: Callable[[ProgressEvent], None] = lambda event: None

    def emit(self, event: ProgressEvent) -> None:
        self.events.append(event)
        self.then(event)

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.events if event.kind == "note"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def progress() -> RecordedProgress:
    return RecordedProgress()


@pytest.fixture
def context(tmp_path: Path, clock: FakeClock, progress: RecordedProgress) -> Context:
    """A step's context over the empty local store ``tmp_path/store``."""
    store = LocalStore(tmp_path / "store")
    return Context(store=store, scratch=store.scratch, clock=clock, progress=progress)


@pytest.fixture
def forge_root(tmp_path: Path) -> Path:
    """Where ``publish`` puts repositories and a forge finds them."""
    return tmp_path / "forge"


@pytest.fixture
def forge(forge_root: Path) -> Iterator[Forge]:
    with Forge(forge_root) as forge:
        yield forge
