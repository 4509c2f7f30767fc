"""The n-th change of a store fails, or every one from there on: the step ends with the right reason or does its work all the
same, nothing is half-written, and the next run on a good disk makes what it always makes.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.demo.forge import Forge
from pipelines.demo.repository import publish
from steps.core.errors import ExitCode
from tests.faults.disk import FailingDisk, compiled
from tests.faults.stores import contents, half_written
from tests.steps.model_trees import model_tree
from tests.steps.packages import Made, make
from tests.tiny_models import classifier_folder

__all__ = ["classifier_folder"]  # a fixture

pytestmark = [pytest.mark.slow, pytest.mark.fault("survived")]

SLOTS = 16  # how many of a step's changes are tried, the first and the last among them
SERVICE = "text-classification"
# What a failing disk may be called; an I/O error may also befall the reading of what is there.
REASONS = {errno.ENOSPC: {"DiskFull"}, errno.EDQUOT: {"DiskFull"}, errno.EIO: {"StoreUnreadable", "SystemRefused"}}


@dataclass(frozen=True)
class Scene:
    """A step with its flags, and the store that it begins with."""

    step: str
    flags: Mapping[str, str]
    store: Path

    def run(self, store: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", f"steps.{self.step}", f"--store={store}"]
        command += [f"--{name}={value}" for name, value in self.flags.items()]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("upload")
    tree = model_tree(folder / "tree", size=300_000)
    return Scene("fetch", {"source-kind": "upload", "source": str(tree)}, folder / "store")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, classifier_folder: Path) -> Made:
    return make(tmp_path_factory.mktemp("package") / "store", classifier_folder, SERVICE)


@dataclass(frozen=True)
class Whole:
    """What a scene makes on a good disk: objects, outputs, and how many changes that takes."""

    objects: Mapping[str, str]
    outputs: object
    changes: int


@dataclass(frozen=True)
class Bench:
    """Runs scenes on failing disks and good ones. ``known`` has what each scene makes, by its step and flags."""

    library: Path
    folder: Path
    known: dict[str, Whole]

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def disk(self, at: int = 0, code: int = errno.ENOSPC, *, onwards: bool = False) -> FailingDisk:
        return FailingDisk(self.library, self.store, at, code, onwards)

    def whole(self, scene: Scene) -> Whole:
        key = f"{scene.step} {sorted(scene.flags.items())}"
        if key not in self.known:
            self.begin(scene)
            disk = self.disk()
            done = scene.run(self.store, disk.environment)
            assert done.returncode == ExitCode.DONE, done.stderr
            self.known[key] = Whole(made(self.store), json.loads(done.stdout), disk.changes)
        return self.known[key]

    def try_one(self, scene: Scene, slot: int, code: int, *, onwards: bool) -> None:
        """Fail one change of a scene, chosen by its slot, and see what is left and what comes of it."""
        whole = self.whole(scene)
        at = 1 + slot * (whole.changes - 1) // (SLOTS - 1)
        self.begin(scene)
        before = contents(self.store)
        done = scene.run(self.store, self.disk(at, code, onwards=onwards).environment)
        story = f"change {at} of {whole.changes}, {errno.errorcode[code]}\n{done.stderr}"
        assert "Traceback" not in done.stderr, story
        if done.returncode != ExitCode.DONE:
            reason = done.stderr.splitlines()[-2].removeprefix("error: ").partition(":")[0]
            assert reason in REASONS[code], story
            assert done.returncode in (ExitCode.RESOURCES, ExitCode.ENVIRONMENT), story
            assert done.stderr.splitlines()[-1].startswith(" hint: ")
        assert half_written(self.store) == [], story
        assert before.items() <= contents(self.store).items(), "what was there is as it was"
        assert made(self.store).items() <= whole.objects.items(), story
        again = scene.run(self.store, os.environ)
        assert again.returncode == ExitCode.DONE, story + again.stderr
        assert json.loads(again.stdout) == whole.outputs
        assert made(self.store) == whole.objects

    def begin(self, scene: Scene) -> None:
        shutil.rmtree(self.store, ignore_errors=True)
        if scene.store.exists():
            shutil.copytree(scene.store, self.store)


def made(store: Path) -> dict[str, str]:
    """The objects of a store without receipts, which hold times."""
    return {key: sha256 for key, sha256 in contents(store).items() if not key.startswith("receipts/")}


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    folder = tmp_path_factory.mktemp("forge")
    publish(folder / "forge", "bert", model_tree(folder / "tree", size=300_000))
    with Forge(folder / "forge") as forge:
        yield forge


@pytest.fixture(scope="module")
def bench(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One for all, so that every store is in the same place, which plans name."""
    return Bench(library, tmp_path_factory.mktemp("bench"), {})


@pytest.mark.parametrize("slot", [3, 13])
def test_a_disk_that_fills_up_while_files_come(bench: Bench, upload: Scene, slot: int) -> None:
    bench.try_one(upload, slot, errno.ENOSPC, onwards=True)


FAILURES = [
    *(pytest.param(errno.ENOSPC, True, slot, id=f"full from {slot}") for slot in range(SLOTS)),
    *(pytest.param(errno.ENOSPC, False, slot, id=f"full at {slot}") for slot in range(SLOTS)),
    *(pytest.param(errno.EIO, False, slot, id=f"I-O error at {slot}") for slot in range(SLOTS)),
    *(pytest.param(errno.EDQUOT, True, slot, id=f"quota from {slot}") for slot in range(0, SLOTS, 3)),
]


@pytest.mark.hard
@pytest.mark.parametrize(("code", "onwards", "slot"), FAILURES)
class TestEachChange:
    """Every kind of failure at changes from the first to the last."""

    def test_of_a_fetch_from_a_folder(self, bench: Bench, upload: Scene, code: int, onwards: bool, slot: int) -> None:
        bench.try_one(upload, slot, code, onwards=onwards)

    def test_of_a_fetch_from_a_forge(self, bench: Bench, forge: Forge, code: int, onwards: bool, slot: int) -> None:
        scene = Scene("fetch", {"source-kind": "git_lfs", "source": forge.url("bert")}, bench.folder / "none")
        bench.try_one(scene, slot, code, onwards=onwards)


@pytest.mark.hard
@pytest.mark.parametrize(("code", "onwards", "slot"), FAILURES)
class TestEachChangeOfPackages:
    """The same, of the steps that make packages."""

    def test_of_an_archive(self, bench: Bench, package: Made, code: int, onwards: bool, slot: int) -> None:
        flags = {"name": "other", "service": SERVICE, "lock": package.lock, "render": package.render}
        bench.try_one(Scene("archive", flags, package.root), slot, code, onwards=onwards)

    def test_of_a_build(self, bench: Bench, package: Made, code: int, onwards: bool, slot: int) -> None:
        flags = {
            "name": "tiny",
            "service": SERVICE,
            "archive": package.archive,
            "archive-digest": package.digest,
            "builder": "plan",
        }
        bench.try_one(Scene("build", flags, package.root), slot, code, onwards=onwards)
