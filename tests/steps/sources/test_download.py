"""Servers that cut, throttle, ignore ranges, redirect or lie, and what a fetch makes of each."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pipelines.demo.forge import Forge, ForgeHandler, Reply
from pipelines.demo.repository import publish
from steps.core.contract import Context
from steps.core.digest import sha256_bytes
from steps.core.errors import Reason, SlipwayError
from steps.sources.download import exclusive
from tests.conftest import FakeClock, RecordedProgress
from tests.servers.forge_faults import (
    CutEveryObject,
    Fault,
    IgnoresRange,
    MissingObjects,
    Throttled429,
    Truncated,
    WrongBytes,
    batch_requests,
    object_requests,
)
from tests.steps.model_trees import model_tree
from tests.steps.sources.running import fetch, left_in, local, taken

pytestmark = pytest.mark.slow  # they start processes or servers, many times

MEGABYTE = 1 << 20


@pytest.fixture
def serving(tmp_path: Path, forge_root: Path) -> Callable[..., Any]:
    """A forge of some kind with the model ``bert``, its weights of ``size`` bytes."""

    @contextmanager
    def serving(handler: type[ForgeHandler], size: int = 1000) -> Iterator[Forge]:
        publish(forge_root, "bert", model_tree(tmp_path / "tree", size=size))
        with Forge(forge_root, handler=handler) as forge:
            yield forge

    return serving


@pytest.fixture
def weights(tmp_path: Path) -> Callable[[], bytes]:
    return lambda: (tmp_path / "tree" / "model.safetensors").read_bytes()


def sent(forge: Forge) -> int:
    return sum(exchange.sent for exchange in object_requests(forge))


def refused(context: Context, forge: Forge) -> SlipwayError:
    """The failure of a fetch, after which nothing is left in the store but what is unfinished."""
    with pytest.raises(SlipwayError) as caught:
        fetch(context, forge.url("bert"))
    assert not [name for name in left_in(local(context).root) if name.startswith(("locks/", "receipts/"))]
    return caught.value


def test_a_cut_connection_costs_almost_nothing(
    context: Context, serving: Callable[..., Any], weights: Callable[[], bytes]
) -> None:
    with serving(CutEveryObject.having(after=100_000, times=20), size=40 * MEGABYTE) as forge:
        outputs = fetch(context, forge.url("bert"))
        assert taken(context, outputs)["model.safetensors"] == weights()
        requests = object_requests(forge)
        assert sum(exchange.sent == 100_000 for exchange in requests) > 8
        assert len(weights()) <= sent(forge) <= 1.15 * len(weights())


def test_large_objects_come_in_parallel_ranges(
    context: Context, serving: Callable[..., Any], weights: Callable[[], bytes]
) -> None:
    together: list[int] = []
    meeting = threading.Barrier(8, action=lambda: together.append(8))

    class Counting(ForgeHandler):
        def lfs_object(self, name: str, oid: str) -> Reply:
            if not together:
                meeting.wait(30)  # nobody is answered before eight have asked
            return super().lfs_object(name, oid)

    with serving(Counting, size=3 * MEGABYTE) as forge:
        fetch(context, forge.url("bert"))
        assert together == [8]
        assert sent(forge) == len(weights())
        starts = sorted(int(str(exchange.range).removeprefix("bytes=").split("-")[0]) for exchange in object_requests(forge))
        assert starts == list(range(0, len(weights()), 256 << 10))


def test_without_ranges_one_stream_is_read(
    context: Context, serving: Callable[..., Any], weights: Callable[[], bytes], progress: RecordedProgress
) -> None:
    with serving(IgnoresRange, size=MEGABYTE) as forge:
        assert taken(context, fetch(context, forge.url("bert")))["model.safetensors"] == weights()
        assert any("ignores ranges" in note for note in progress.notes)


def test_a_cut_stream_resumes_without_ranges(
    context: Context, serving: Callable[..., Any], weights: Callable[[], bytes]
) -> None:
    with serving(IgnoresRange.having(after=300_000, times=6), size=MEGABYTE) as forge:
        assert taken(context, fetch(context, forge.url("bert")))["model.safetensors"] == weights()


def test_endless_cuts_end_as_unreachable(context: Context, serving: Callable[..., Any]) -> None:
    with serving(CutEveryObject.having(after=0, times=None)) as forge:
        failure = refused(context, forge)
        assert failure.reason is Reason.NETWORK_UNREACHABLE
        assert "model.safetensors" in failure.message
        assert 10 < len(object_requests(forge)) < 25


def test_a_truncated_download_resumes(context: Context, serving: Callable[..., Any], weights: Callable[[], bytes]) -> None:
    with serving(Truncated.having(after=100, times=3)) as forge:
        assert taken(context, fetch(context, forge.url("bert")))["model.safetensors"] == weights()
        assert sent(forge) == len(weights())


def test_retry_after_is_honoured_to_the_second(context: Context, serving: Callable[..., Any], clock: FakeClock) -> None:
    with serving(Throttled429.having(retry_after=7)) as forge:
        fetch(context, forge.url("bert"))
        assert [exchange.status for exchange in batch_requests(forge)] == [429, 200]
        assert [exchange.status for exchange in object_requests(forge)] == [429, 200]
    assert sum(clock.slept) == 14


def test_a_retry_after_of_hours_is_busy(context: Context, serving: Callable[..., Any], clock: FakeClock) -> None:
    with serving(Throttled429.having(retry_after=7200, times=None)) as forge:
        failure = refused(context, forge)
    assert (failure.reason, failure.reason.exit_code) == (Reason.SOURCE_BUSY, 75)
    assert "429" in failure.message
    assert failure.message.endswith(". The server asks to wait 2 h.")
    assert clock.slept == []


class Overloaded(Fault):
    """Answers 503 to everything, Git included."""

    times = 2

    def answer(self, body: bytes) -> Reply:
        if self.strikes():
            return Reply(HTTPStatus.SERVICE_UNAVAILABLE, {"Content-Length": "0"})
        return super().answer(body)


def test_an_overloaded_server_is_retried_with_backoff(context: Context, serving: Callable[..., Any], clock: FakeClock) -> None:
    with serving(Overloaded) as forge:
        fetch(context, forge.url("bert"))
        assert [exchange.status for exchange in object_requests(forge)] == [503, 503, 200]
    assert sum(clock.slept) > 3 * (0.4 + 0.8)  # refs, batch and object: two waits each


def test_an_overload_without_end_is_busy(context: Context, serving: Callable[..., Any]) -> None:
    with serving(Overloaded.having(times=None)) as forge:
        failure = refused(context, forge)
        assert failure.reason is Reason.SOURCE_BUSY
        assert "503" in failure.message


def test_wrong_bytes_are_fetched_twice_then_refused(
    context: Context, serving: Callable[..., Any], weights: Callable[[], bytes], progress: RecordedProgress
) -> None:
    with serving(WrongBytes.having(at=500)) as forge:
        failure = refused(context, forge)
        assert failure.reason is Reason.DIGEST_MISMATCH
        assert failure.message.startswith("model.safetensors, from 127.0.0.1:")
        assert sha256_bytes(weights()) in failure.message
        assert len(object_requests(forge)) == 2
    assert not [name for name in left_in(local(context).root) if "partial" in name]
    assert local(context).size(f"blobs/sha256/{sha256_bytes(weights())[:2]}/{sha256_bytes(weights())}") is None
    assert all(event.done <= event.total for event in progress.events)


def test_bytes_wrong_once_are_fetched_again(
    context: Context, serving: Callable[..., Any], weights: Callable[[], bytes], progress: RecordedProgress
) -> None:
    with serving(WrongBytes.having(times=1)) as forge:
        assert taken(context, fetch(context, forge.url("bert")))["model.safetensors"] == weights()
    assert any("wrong digest" in note for note in progress.notes)


def test_every_missing_object_is_named(context: Context, serving: Callable[..., Any]) -> None:
    with serving(MissingObjects) as forge:
        failure = refused(context, forge)
        assert failure.reason is Reason.LFS_OBJECT_MISSING
        assert "model.safetensors" in failure.message
        assert object_requests(forge) == []


class Endless(ForgeHandler):
    """Sends the object and never stops."""

    size = 0

    def lfs_object(self, name: str, oid: str) -> Reply:
        reply = super().lfs_object(name, oid)

        def body() -> Iterator[bytes]:
            yield from reply.body
            while True:
                yield bytes(1 << 16)

        headers = {key: value for key, value in reply.headers.items() if key != "Content-Length"}
        return Reply(reply.status, headers, body())


@pytest.mark.parametrize("handler", [Endless, type("EndlessWithoutRanges", (IgnoresRange, Endless), {})])
def test_an_endless_body_is_cut_at_its_size(
    context: Context, serving: Callable[..., Any], weights: Callable[[], bytes], handler: type[ForgeHandler]
) -> None:
    with serving(handler, size=MEGABYTE) as forge:
        assert taken(context, fetch(context, forge.url("bert")))["model.safetensors"] == weights()


class SignedForAWhile(ForgeHandler):
    """Addresses of objects are good for ``uses`` requests each; then 403 until they are asked for anew."""

    uses: ClassVar[int]
    used: ClassVar[dict[str, int]]

    @classmethod
    def granting(cls, uses: int) -> type[ForgeHandler]:
        return type(cls.__name__, (cls,), {"uses": uses, "used": {}})

    def lfs_answer(self, name: str, oid: str, size: int) -> dict[str, Any]:
        answer = super().lfs_answer(name, oid, size)
        token = f"signature={len(self.used)}"
        self.used[token] = 0
        answer["actions"]["download"]["href"] += f"?{token}"
        return answer

    def lfs_object(self, name: str, oid: str) -> Reply:
        token = self.path.partition("?")[2]
        self.used[token] += 1
        if self.used[token] > self.uses:
            return Reply(HTTPStatus.FORBIDDEN, {"Content-Length": "0"})
        return super().lfs_object(name, oid)


def test_an_expired_address_is_renewed_once(
    context: Context, serving: Callable[..., Any], weights: Callable[[], bytes]
) -> None:
    with serving(SignedForAWhile.granting(12), size=4 * MEGABYTE) as forge:  # 17 ranges
        assert taken(context, fetch(context, forge.url("bert")))["model.safetensors"] == weights()
        assert len(batch_requests(forge)) == 2
        assert sent(forge) == len(weights())


def test_a_refused_address_ends_the_download(context: Context, serving: Callable[..., Any]) -> None:
    with serving(SignedForAWhile.granting(0)) as forge:
        failure = refused(context, forge)
        assert failure.reason is Reason.ACCESS_DENIED
        assert len(batch_requests(forge)) == 2


class Expired(ForgeHandler):
    """Refuses each object with ``said``."""

    said: ClassVar[bytes]

    def lfs_object(self, name: str, oid: str) -> Reply:
        headers = {"Content-Length": str(len(self.said)), "Content-Type": "application/octet-stream"}
        return Reply(HTTPStatus.FORBIDDEN, headers, [self.said])


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
            "AccessDenied: Request has expired",
        ),
        (b'{"message": "Request has expired"}', "Request has expired"),
    ],
)
def test_an_object_stores_own_sentence_is_shown(context: Context, serving: Callable[..., Any], said: bytes, shown: str) -> None:
    with serving(type("Expired", (Expired,), {"said": said})) as forge:
        failure = refused(context, forge)
    assert failure.reason is Reason.ACCESS_DENIED
    assert failure.message.startswith("model.safetensors: ")
    assert f"answered 403 ({shown})" in failure.message


class Cdn(ForgeHandler):
    """Keeps the ``Authorization`` header of each request."""

    seen: ClassVar[list[str | None]]

    def lfs_object(self, name: str, oid: str) -> Reply:
        self.seen.append(self.headers.get("Authorization"))
        return super().lfs_object(name, oid)


class SendsOn(Cdn):
    """Hands out a credential with the address of an object, and redirects from there to ``target`` (Location, or a base)."""

    target: ClassVar[str]

    def lfs_answer(self, name: str, oid: str, size: int) -> dict[str, Any]:
        answer = super().lfs_answer(name, oid, size)
        answer["actions"]["download"]["header"] = {"Authorization": "Basic c2VjcmV0"}
        return answer

    def lfs_object(self, name: str, oid: str) -> Reply:
        self.seen.append(self.headers.get("Authorization"))
        if "moved" in self.path:
            return ForgeHandler.lfs_object(self, name, oid)
        return Reply(HTTPStatus.FOUND, {"Location": self.target.format(name=name, oid=oid), "Content-Length": "0"})


def test_a_redirect_to_another_origin_drops_the_credential(
    context: Context, serving: Callable[..., Any], weights: Callable[[], bytes], forge_root: Path
) -> None:
    cdn = type("Cdn", (Cdn,), {"seen": []})
    with Forge(forge_root, handler=cdn) as other:
        target = other.url("{name}").replace("localhost", "127.0.0.1") + "/lfs/objects/{oid}"
        handler = type("SendsOn", (SendsOn,), {"seen": [], "target": target})
        with serving(handler) as forge:
            assert taken(context, fetch(context, forge.url("bert")))["model.safetensors"] == weights()
    assert handler.seen == ["Basic c2VjcmV0"]  # type: ignore[attr-defined]
    assert cdn.seen == [None]  # type: ignore[attr-defined]


@pytest.mark.parametrize("target", ["/{name}.git/lfs/objects/{oid}?moved", "{oid}?moved", "../objects/{oid}?moved"])
def test_a_relative_redirect_keeps_the_credential(
    context: Context, serving: Callable[..., Any], weights: Callable[[], bytes], target: str
) -> None:
    handler = type("SendsOn", (SendsOn,), {"seen": [], "target": target})
    with serving(handler) as forge:
        assert taken(context, fetch(context, forge.url("bert")))["model.safetensors"] == weights()
    assert handler.seen == ["Basic c2VjcmV0"] * 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("http://192.0.2.1/{oid}", "plain http reaches only this machine"),
        ("ftp://127.0.0.1/{oid}", "ftp:// is not supported"),
        ("file:///etc/passwd", "file:// is not supported"),
        ("//user:pa55@127.0.0.1/{oid}", "a user name or a password"),
        ("http://[::1/", "not a plain address"),
        ("", "more than 5 redirects"),
    ],
)
def test_a_forbidden_redirect_is_not_followed(context: Context, serving: Callable[..., Any], target: str, says: str) -> None:
    handler = type("SendsOn", (SendsOn,), {"seen": [], "target": target})
    with serving(handler) as forge:
        failure = refused(context, forge)
    assert failure.reason is Reason.SOURCE_PROTOCOL
    assert says in failure.message
    assert "pa55" not in failure.message


class Moved(ForgeHandler):
    """Has renamed the repository ``old``: everything below it is redirected to ``base``, its Git LFS server too."""

    base: ClassVar[str] = ""

    def answer(self, body: bytes) -> Reply:
        if self.path.startswith("/old.git/"):
            target = self.base + self.path.replace("/old.git/", "/bert.git/", 1)
            return Reply(HTTPStatus.TEMPORARY_REDIRECT, {"Location": target, "Content-Length": "0"})
        return super().answer(body)


@pytest.mark.parametrize("pinned", [False, True], ids=["by branch", "by commit"])
def test_a_repository_that_was_renamed_is_followed(
    context: Context, serving: Callable[..., Any], weights: Callable[[], bytes], tmp_path: Path, pinned: bool
) -> None:
    with serving(Moved) as forge:
        commit = publish(forge.root, "bert", tmp_path / "tree")
        outputs = fetch(context, forge.url("old"), revision=commit if pinned else "main")
        assert taken(context, outputs)["model.safetensors"] == weights()


def test_git_follows_no_forbidden_redirect(context: Context, serving: Callable[..., Any]) -> None:
    with serving(type("Moved", (Moved,), {"base": "http://192.0.2.1"})) as forge:
        with pytest.raises(SlipwayError, match="plain http reaches only this machine") as caught:
            fetch(context, forge.url("old"))
        assert caught.value.reason is Reason.SOURCE_PROTOCOL


def test_a_redirect_to_a_page_is_refused(context: Context, serving: Callable[..., Any]) -> None:
    class Portal(ForgeHandler):
        def git_refs(self, name: str) -> Reply:
            return Reply(HTTPStatus.FOUND, {"Location": "/login", "Content-Length": "0"})

    with serving(Portal) as forge:
        failure = refused(context, forge)
        assert failure.reason is Reason.SOURCE_NOT_FOUND


def test_two_runs_at_once_fetch_an_object_once(
    context: Context, serving: Callable[..., Any], weights: Callable[[], bytes], clock: FakeClock
) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    class Slow(ForgeHandler):
        def lfs_object(self, name: str, oid: str) -> Reply:
            arrived.set()
            go_on.wait(30)
            return super().lfs_object(name, oid)

    waiting = RecordedProgress(then=lambda event: go_on.set() if "waiting" in event.text else None)
    second = Context(store=context.store, scratch=context.scratch, clock=clock, progress=waiting)
    results: list[Any] = []
    with serving(Slow, size=1000) as forge:
        first = threading.Thread(target=lambda: results.append(fetch(context, forge.url("bert"))))
        first.start()
        assert arrived.wait(30)
        results.append(fetch(second, forge.url("bert")))
        first.join()
        assert results[0] == results[1]
        assert len(object_requests(forge)) == 1
    assert list((context.scratch / "partial").iterdir()) == []


def test_a_waiting_process_gets_the_file_lock(tmp_path: Path) -> None:
    inside, waiting = threading.Event(), threading.Event()
    held: list[bool] = []

    def second() -> None:
        with exclusive(tmp_path / "object", waiting.set):
            held.append((tmp_path / "object.lock").exists())

    thread = threading.Thread(target=second)
    with exclusive(tmp_path / "object", inside.set):
        thread.start()
        assert waiting.wait(30)
    thread.join()
    assert held == [True]
    assert not inside.is_set()
    assert list(tmp_path.iterdir()) == []


def test_a_cut_batch_request_is_retried(context: Context, serving: Callable[..., Any]) -> None:
    class HangsUp(Fault):
        times = 2

        def lfs_batch(self, name: str, body: bytes) -> Reply:
            reply = super().lfs_batch(name, body)
            if not self.strikes():
                return reply

            def half() -> Iterator[bytes]:
                yield b"".join(reply.body)[:20]
                self.connection.shutdown(socket.SHUT_RDWR)
                raise ConnectionAbortedError

            return Reply(reply.status, reply.headers, half())

    with serving(HangsUp) as forge:
        fetch(context, forge.url("bert"))
        assert len(batch_requests(forge)) == 3
