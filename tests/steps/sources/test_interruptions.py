"""A run that is killed, stopped or out of disk, and the next one: it goes on behind the last byte that was written."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pipelines.demo.forge import Forge, ForgeHandler, Reply
from pipelines.demo.repository import publish
from steps.core.contract import Context
from steps.core.digest import sha256_bytes
from steps.core.errors import ExitCode, Reason, SlipwayError
from steps.store.local import LocalStore
from tests.conftest import FakeClock, RecordedProgress
from tests.servers.forge_faults import batch_requests, object_requests
from tests.steps.model_trees import model_tree
from tests.steps.sources.running import command, fetch, left_in, run_process, taken

pytestmark = [pytest.mark.slow, pytest.mark.fault("survived")]

MEGABYTE = 1 << 20


class HoldsTheRest(ForgeHandler):
    """Answers ranges that begin at ``after`` or later only when ``go_on`` is set."""

    after = 0
    go_on: threading.Event

    def lfs_object(self, name: str, oid: str) -> Reply:
        if int(self.headers["Range"].removeprefix("bytes=").split("-")[0]) >= self.after:
            self.go_on.wait(60)
        return super().lfs_object(name, oid)


@contextmanager
def holding(root: Path, tree: Path, size: int, after: int) -> Iterator[tuple[Forge, threading.Event]]:
    publish(root, "bert", model_tree(tree, size=size))
    go_on = threading.Event()
    with Forge(root, handler=type("Holding", (HoldsTheRest,), {"after": after, "go_on": go_on})) as forge:
        try:
            yield forge, go_on
        finally:
            go_on.set()


def wait_for_bytes(path: Path, count: int) -> None:
    while not path.exists() or path.stat().st_size < count:
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("stop", "code"),
    [(signal.SIGKILL, -9), (signal.SIGTERM, ExitCode.TERMINATED), (signal.SIGINT, ExitCode.INTERRUPTED)],
    ids=["killed", "terminated", "Ctrl-C"],
)
def test_the_next_run_resumes_after_the_last_byte(
    tmp_path: Path, context: Context, forge_root: Path, progress: RecordedProgress, stop: signal.Signals, code: int
) -> None:
    with holding(forge_root, tmp_path / "tree", 4 * MEGABYTE, after=2 * MEGABYTE) as (forge, go_on):
        weights = (tmp_path / "tree" / "model.safetensors").read_bytes()
        partial = context.scratch / "partial" / sha256_bytes(weights)
        with subprocess.Popen(
            command(forge.url("bert"), tmp_path / "store"), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            wait_for_bytes(partial, 2 * MEGABYTE)
            process.send_signal(stop)
            go_on.set()
            _, stderr = process.communicate(timeout=60)
        assert process.returncode == code
        assert "Traceback" not in stderr
        if code > 0:
            assert "continues where it stopped" in stderr
        begun = partial.stat().st_size
        assert partial.read_bytes() == weights[:begun]

        forge.exchanges.clear()
        outputs = fetch(context, forge.url("bert"))
        assert taken(context, outputs)["model.safetensors"] == weights
        again = object_requests(forge)
        assert min(int(str(exchange.range).removeprefix("bytes=").split("-")[0]) for exchange in again) == begun
        assert sum(exchange.sent for exchange in again) == len(weights) - begun
        assert f"model.safetensors: resuming after byte {begun}." in progress.notes
    assert not partial.exists()


def test_a_killed_run_costs_under_15_percent(tmp_path: Path, context: Context, forge_root: Path) -> None:
    with holding(forge_root, tmp_path / "tree", 40 * MEGABYTE, after=30 * MEGABYTE) as (forge, go_on):
        weights = (tmp_path / "tree" / "model.safetensors").read_bytes()
        with subprocess.Popen(
            command(forge.url("bert"), tmp_path / "store"), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        ) as process:
            wait_for_bytes(context.scratch / "partial" / sha256_bytes(weights), 10 * MEGABYTE)
            process.kill()
        go_on.set()
        outputs = fetch(context, forge.url("bert"))
        assert taken(context, outputs)["model.safetensors"] == weights
        assert sum(exchange.sent for exchange in object_requests(forge)) <= 1.15 * len(weights)


def test_a_wrong_unfinished_file_is_restarted(context: Context, forge: Forge, tmp_path: Path) -> None:
    tree = model_tree(tmp_path / "tree")
    publish(forge.root, "bert", tree)
    weights = (tree / "model.safetensors").read_bytes()
    partial = context.scratch / "partial"
    for rubbish in (b"rubbish", bytes(len(weights)), bytes(5 * len(weights))):
        partial.mkdir(parents=True, exist_ok=True)
        (partial / sha256_bytes(weights)).write_bytes(rubbish)
        outputs = fetch(context, forge.url("bert"))
        assert taken(context, outputs)["model.safetensors"] == weights
        assert list(partial.iterdir()) == []
        for name in left_in(tmp_path / "store"):
            (tmp_path / "store" / name).unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]).returncode == 0
    if not mounted:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_small_disk_is_refused_before_download(small_disk: Path, tmp_path: Path, forge: Forge) -> None:
    publish(forge.root, "bert", model_tree(tmp_path / "tree", size=5 * MEGABYTE))
    done = run_process(forge.url("bert"), small_disk / "store")
    assert done.returncode == ExitCode.RESOURCES
    assert done.stderr.splitlines()[-2].startswith("error: DiskFull: 5.2 MB are needed in ")
    assert "--store" in done.stderr.splitlines()[-1]
    assert batch_requests(forge) == []


def test_a_full_disk_leaves_nothing_half_published(
    small_disk: Path, tmp_path: Path, clock: FakeClock, forge_root: Path
) -> None:
    ballast = small_disk / "ballast"

    class FillsTheDisk(ForgeHandler):
        def lfs_object(self, name: str, oid: str) -> Reply:
            with suppress(OSError), ballast.open("wb") as file:
                file.write(bytes(5 * MEGABYTE))
            return super().lfs_object(name, oid)

    publish(forge_root, "bert", model_tree(tmp_path / "tree", size=2 * MEGABYTE))
    weights = (tmp_path / "tree" / "model.safetensors").read_bytes()
    store = LocalStore(small_disk / "store")
    context = Context(store=store, scratch=store.scratch, clock=clock)
    with Forge(forge_root, handler=FillsTheDisk) as forge:
        with pytest.raises(SlipwayError, match=r"model\.safetensors") as caught:
            fetch(context, forge.url("bert"))
        assert caught.value.reason is Reason.DISK_FULL
        assert published(store.root, weights) == []
    ballast.unlink()
    with Forge(forge_root) as forge:
        assert taken(context, fetch(context, forge.url("bert")))["model.safetensors"] == weights


def test_a_file_size_limit_is_a_full_disk(tmp_path: Path, context: Context, forge: Forge) -> None:
    publish(forge.root, "bert", model_tree(tmp_path / "tree", size=3 * MEGABYTE))
    weights = (tmp_path / "tree" / "model.safetensors").read_bytes()
    limited = ["sh", "-c", 'ulimit -f 2048; exec "$@"', "sh", *command(forge.url("bert"), tmp_path / "store")]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=60)
    assert done.returncode == ExitCode.RESOURCES
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-2].startswith("error: DiskFull: Cannot write model.safetensors (")
    assert published(tmp_path / "store", weights) == []

    begun = (context.scratch / "partial" / sha256_bytes(weights)).stat().st_size
    assert 0 < begun < len(weights)
    forge.exchanges.clear()
    assert taken(context, fetch(context, forge.url("bert")))["model.safetensors"] == weights
    assert sum(exchange.sent for exchange in object_requests(forge)) == len(weights) - begun


def published(store: Path, weights: bytes) -> list[str]:
    """What a failed fetch must not have left: the lock, its receipt, and the weights under their digest."""
    return [
        name
        for name in left_in(store)
        if name.startswith(("locks/", "receipts/")) or (name.startswith("blobs/") and name.endswith(sha256_bytes(weights)))
    ]


class SendsABit(ForgeHandler):
    """Sends the first ``bit`` bytes of each range, and the rest only when ``go_on`` is set."""

    bit = 100_000
    go_on: threading.Event

    def lfs_object(self, name: str, oid: str) -> Reply:
        reply = super().lfs_object(name, oid)
        return Reply(reply.status, reply.headers, self.slowly(b"".join(reply.body)))

    def slowly(self, body: bytes) -> Iterator[bytes]:
        yield body[: self.bit]
        self.go_on.wait(60)
        yield body[self.bit :]


def test_each_stop_keeps_what_has_arrived(tmp_path: Path, context: Context, forge_root: Path) -> None:
    """Ctrl-C twice, while all connections are within their ranges: each run begins behind what the one before had."""
    publish(forge_root, "bert", model_tree(tmp_path / "tree", size=16 * MEGABYTE))
    weights = (tmp_path / "tree" / "model.safetensors").read_bytes()
    partial = context.scratch / "partial" / sha256_bytes(weights)
    begun = 0
    for _ in range(2):
        go_on = threading.Event()
        with Forge(forge_root, handler=type("Slow", (SendsABit,), {"go_on": go_on})) as forge:
            process = subprocess.Popen(command(forge.url("bert"), tmp_path / "store"), stderr=subprocess.PIPE, text=True)
            while sum(exchange.sent >= SendsABit.bit for exchange in object_requests(forge)) < 8:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=60)
            go_on.set()
            assert process.returncode == ExitCode.INTERRUPTED
            first = min(int((each.range or "").removeprefix("bytes=").split("-")[0]) for each in object_requests(forge))
        assert first == begun
        assert begun == 0 or f"resuming after byte {begun}" in error
        size = partial.stat().st_size
        assert size > begun
        assert partial.read_bytes() == weights[:size]
        begun = size
    with Forge(forge_root) as forge:
        assert taken(context, fetch(context, forge.url("bert")))["model.safetensors"] == weights
