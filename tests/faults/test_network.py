"""A network that fails once, anywhere: at any byte of what a forge answers, at any request to a registry or a store of objects.

The step gets over it, or ends with a reason that is true; nothing is published in part; and the next one makes what it always
makes.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pipelines.demo.forge import Forge, ForgeHandler
from pipelines.demo.repository import publish
from steps.core.contract import Context
from steps.core.errors import Reason, SlipwayError
from steps.store.local import LocalStore
from steps.store.supported import open_store
from tests.conftest import FakeClock
from tests.faults.stores import half_written, unfinished
from tests.faults.wire import Effect, OverWire, Wire
from tests.servers import faulty_server, oci_registry
from tests.servers.faulty_server import FaultyServer
from tests.steps.images.conftest import kept_layers, oci_build, offline_pip, registry, wheel_folder
from tests.steps.images.oci_build import OciBuild
from tests.steps.model_trees import model_tree
from tests.steps.sources.running import fetch, lock_of
from tests.steps.store.conftest import aws, gcs, s3

__all__ = ["aws", "gcs", "kept_layers", "oci_build", "offline_pip", "registry", "s3", "wheel_folder"]  # fixtures
pytestmark = [pytest.mark.slow, pytest.mark.fault("survived")]

T = TypeVar("T")
SLOTS = 20
# What a failure of the network may be called. Bytes that were changed on the way look like a server that does not keep to its
# protocol, or that does not have what was asked for.
LOST = {Reason.NETWORK_UNREACHABLE, Reason.SOURCE_BUSY, Reason.STORE_BUSY, Reason.BUILDER_BUSY}
CHANGED = LOST | {
    Reason.SOURCE_PROTOCOL,
    Reason.DIGEST_MISMATCH,
    Reason.SOURCE_NOT_FOUND,
    Reason.REVISION_NOT_FOUND,
    Reason.LFS_UNAVAILABLE,
    Reason.LFS_OBJECT_MISSING,
    Reason.ACCESS_DENIED,
    Reason.IMAGE_UNAVAILABLE,
    Reason.BUILD_FAILED,
    Reason.STORE_UNREADABLE,
}


@dataclass
class Line:
    """A repository on a forge whose answers go over a wire."""

    root: Path
    sizes: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def forge(self, wire: Wire) -> Iterator[Forge]:
        handler = type("Handler", (OverWire, ForgeHandler), {"wire": wire})
        with Forge(self.root, handler=handler) as forge:
            try:
                yield forge
            finally:
                wire.over.set()

    def fetch(self, wire: Wire, store: Path) -> dict[str, str]:
        """The digest of each file that comes, by its path."""
        kept = LocalStore(store)
        context = Context(store=kept, scratch=kept.scratch, clock=FakeClock())
        with self.forge(wire) as forge:
            return {file.path: file.sha256 for file in lock_of(context, fetch(context, forge.url("bert"))).files}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    folder = tmp_path_factory.mktemp("line")
    publish(folder / "forge", "bert", model_tree(folder / "tree", size=200_000))
    return Line(folder / "forge")


@pytest.fixture(scope="module")
def whole(line: Line, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], int]:
    """What comes over a good line, and how many bytes that takes."""
    wire = Wire()
    return line.fetch(wire, tmp_path_factory.mktemp("whole") / "store"), wire.sent


def attempt(work: Callable[[], T]) -> tuple[T | None, SlipwayError | None]:
    """What ``work`` returns, or why it failed. Anything else that it raises is a bug."""
    try:
        return work(), None
    except SlipwayError as error:
        return None, error


def fetch_over(line: Line, whole: tuple[dict[str, str], int], store: Path, effect: Effect, slot: int) -> None:
    expected, size = whole
    wire = Wire(slot * (size - 1) // (SLOTS - 1), effect)
    found, failure = attempt(lambda: line.fetch(wire, store))
    if failure:
        assert failure.reason in (CHANGED if effect in (Effect.GARBAGE, Effect.EXTRA) else LOST), f"byte {wire.at}: {failure}"
        assert not (store / "locks").exists()
    else:
        assert found == expected
    assert half_written(store) == unfinished(store) == []
    assert line.fetch(Wire(), store) == expected


@pytest.mark.parametrize(("effect", "slot"), [(Effect.CUT, 4), (Effect.RESET, 9), (Effect.GARBAGE, 12)])
def test_a_fetch_gets_over_a_failing_line(
    line: Line, whole: tuple[dict[str, str], int], tmp_path: Path, effect: Effect, slot: int
) -> None:
    fetch_over(line, whole, tmp_path / "store", effect, slot)


@pytest.mark.hard
class TestFetch:
    """Each effect at bytes from the first to the last of all answers."""

    @pytest.mark.parametrize("slot", range(SLOTS))
    @pytest.mark.parametrize("effect", [each for each in Effect if each is not Effect.STALL])
    def test_over_a_failing_line(
        self, line: Line, whole: tuple[dict[str, str], int], tmp_path: Path, effect: Effect, slot: int
    ) -> None:
        fetch_over(line, whole, tmp_path / "store", effect, slot)

    @pytest.mark.parametrize("slot", range(0, SLOTS, 3))
    def test_over_a_line_that_stalls(
        self, line: Line, whole: tuple[dict[str, str], int], tmp_path: Path, slot: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SLIPWAY_LEAST_RATE_SECONDS", "2")
        fetch_over(line, whole, tmp_path / "store", Effect.STALL, slot)


@pytest.mark.hard
class TestPush:
    """Each request of a build that pushes to a registry, with each effect."""

    REQUESTS = 40

    @pytest.mark.parametrize(
        ("number", "effect", "status"),
        [
            (number, effect, status)
            for number, (effect, status) in itertools.product(
                range(0, REQUESTS, 2),
                [(oci_registry.Effect.ANSWER, 500), (oci_registry.Effect.DROP, 0), (oci_registry.Effect.CORRUPT, 0)],
            )
        ],
    )
    def test_with_a_failing_registry(self, oci_build: OciBuild, number: int, effect: oci_registry.Effect, status: int) -> None:
        build = oci_build
        number += effect is oci_registry.Effect.DROP
        build.registry.faults.append(oci_registry.Fault("", "", effect, status or 503, skip=number))
        first, failure = attempt(lambda: build.build().image_digest)
        assert failure is None or failure.reason in CHANGED, f"request {number}: {failure}"
        build.registry.faults.clear()
        shutil.rmtree(build.root / "receipts", ignore_errors=True)
        outputs = build.build()
        assert first in (None, outputs.image_digest)
        assert build.registry.image(build.name(outputs))[0] == outputs.image_digest
        assert half_written(build.root) == unfinished(build.root) == []


def put(uri: str, folder: Path, tree: Path, store: Any) -> dict[str, str]:
    """Fetch a folder into a store; the digest of each file, by its path."""
    context = Context(store=store, scratch=folder / "scratch", clock=FakeClock())
    return {file.path: file.sha256 for file in lock_of(context, fetch(context, str(tree), source_kind="upload")).files}


@pytest.mark.hard
class TestStores:
    """Each request of a fetch into a store of objects, with each effect."""

    @pytest.mark.parametrize("number", range(30))
    @pytest.mark.parametrize("kind", ["gcs", "s3"])
    @pytest.mark.parametrize("effect", [faulty_server.Effect.ANSWER, faulty_server.Effect.DROP, faulty_server.Effect.LOSE])
    def test_with_a_failing_server(
        self, request: pytest.FixtureRequest, tmp_path: Path, kind: str, effect: faulty_server.Effect, number: int
    ) -> None:
        server: FaultyServer = request.getfixturevalue(kind)
        uri = f"{'gs' if kind == 'gcs' else 's3'}://models/some/prefix"
        tree = model_tree(tmp_path / "tree", size=50_000)
        server.faults.append(faulty_server.Fault("", "", effect, skip=number))
        first, failure = attempt(lambda: put(uri, tmp_path, tree, open_store(uri)))
        assert failure is None or failure.reason in LOST, f"request {number}: {failure}"
        server.faults.clear()
        again = put(uri, tmp_path, tree, open_store(uri))
        assert first in (None, again)
        assert len(again) == 5
