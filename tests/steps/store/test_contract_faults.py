"""What the stores behind a network promise whatever happens to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.store.gcs_upload import PART
from steps.store.ranged import WINDOW
from steps.store.supported import open_store
from tests.servers.faulty_server import Effect
from tests.steps.store.conftest import Remote
from tests.steps.store.contents import KEY, content, in_chunks, some_bytes

pytestmark = pytest.mark.slow
BIG = 2 * PART + 54321
WAYS = [Effect.ANSWER, Effect.DROP, Effect.LOSE]


@pytest.mark.parametrize("effect", WAYS, ids=lambda effect: effect.name)
@pytest.mark.parametrize("request_", ["look", "begin", "part", "publish_one", "publish_many"])
def test_put_survives_a_failure_of_each_request(remote: Remote, request_: str, effect: Effect) -> None:
    data = some_bytes(1000 if request_ == "publish_one" else BIG)
    fault = remote.fails(getattr(remote, request_), effect)
    assert remote.store.put(KEY, in_chunks(data)) is True
    assert fault.times == 0
    assert remote.stored(KEY) == data


@pytest.mark.parametrize("effect", WAYS, ids=lambda effect: effect.name)
def test_a_request_that_is_tried_again_is_told(remote: Remote, effect: Effect) -> None:
    notes: list[str] = []
    store = open_store(remote.uri)
    store.note_retries(notes.append)
    remote.fails(remote.look, effect)
    assert store.size(KEY) is None
    assert re.fullmatch(rf"{re.escape(store.uri)}: .+[^.]\. Trying again in 0\.[456] s\.", notes[0], re.DOTALL), notes
    assert len(notes) == 1


@pytest.mark.parametrize("size", [1000, BIG])
def test_put_without_answers_knows_who_published(remote: Remote, size: int) -> None:
    data = some_bytes(size)
    rival = open_store(remote.uri)

    def stream() -> Iterator[bytes]:
        yield data[:1000]
        assert rival.put(KEY, in_chunks(data)) is True
        remote.fails(remote.publish_one if size == 1000 else remote.publish_many, Effect.LOSE)
        yield data[1000:]

    assert remote.store.put(KEY, stream()) is False
    assert remote.stored(KEY) == data
    assert remote.server.faults[-1].times == 0


@pytest.mark.parametrize("size", [1000, BIG])
def test_writers_of_different_bytes_conflict(remote: Remote, size: int) -> None:
    ours, theirs = some_bytes(size), some_bytes(size)[:-1] + b"\0"

    def stream() -> Iterator[bytes]:
        yield ours[:500]
        open_store(remote.uri).put(KEY, in_chunks(theirs))
        yield ours[500:]

    with pytest.raises(SlipwayError) as caught:
        remote.store.put(KEY, stream())
    assert caught.value.reason is Reason.PUBLISH_CONFLICT
    assert remote.stored(KEY) == theirs
    assert remote.unfinished() == []


@pytest.mark.parametrize("request_", ["look", "begin", "part", "publish_one", "download"])
def test_a_long_retry_after_ends_the_tries(remote: Remote, request_: str) -> None:
    if request_ == "download":
        remote.store.put(KEY, [b"data"])
    busy = remote.fails(getattr(remote, request_), status=503, code="SlowDown", headers={"Retry-After": "7200"}, times=99)
    with pytest.raises(SlipwayError) as caught:
        content(remote.store) if request_ == "download" else remote.store.put(
            KEY, in_chunks(some_bytes(1000 if request_ == "publish_one" else PART + 1))
        )
    assert caught.value.reason is Reason.STORE_BUSY
    assert busy.times >= 97  # the two parts that are on their way at once
    assert remote.unfinished() == []


@pytest.mark.parametrize("effect", WAYS, ids=lambda effect: effect.name)
@pytest.mark.parametrize("size", [1000, BIG])
def test_a_read_goes_on_after_a_failure(remote: Remote, effect: Effect, size: int) -> None:
    remote.store.put(KEY, in_chunks(data := some_bytes(size)))
    fault = remote.fails(remote.download, effect)
    assert content(remote.store) == data
    assert fault.times == 0


@pytest.mark.parametrize("size", [1000, BIG])
def test_a_damaged_download_is_noticed(remote: Remote, size: int, tmp_path: Path) -> None:
    remote.store.put(KEY, in_chunks(some_bytes(size)))
    for use in (lambda: content(remote.store), lambda: remote.store.copy_to(KEY, tmp_path / "copy")):
        remote.fails(remote.download, Effect.CORRUPT)
        with pytest.raises(SlipwayError) as caught:
            use()
        assert caught.value.reason is Reason.DIGEST_MISMATCH
        assert remote.store.locate(KEY) in caught.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("request_", ["part", "publish_one"])
def test_a_damaged_upload_is_not_published(remote: Remote, request_: str) -> None:
    remote.fails(getattr(remote, request_), Effect.CORRUPT)
    with pytest.raises(SlipwayError) as caught:
        remote.store.put(KEY, in_chunks(some_bytes(BIG if request_ == "part" else 1000)))
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert remote.stored(KEY) is None
    assert remote.unfinished() == []


def test_parts_of_two_versions_are_not_mixed(remote: Remote) -> None:
    remote.store.put(KEY, in_chunks(some_bytes(8 * PART)))
    parts = remote.store.read(KEY)
    next(parts)
    remote.store.write(KEY, b"other")
    with pytest.raises(SlipwayError) as caught:
        list(parts)
    assert caught.value.reason is Reason.STORE_UNREADABLE


def test_few_parts_are_read_ahead(remote: Remote) -> None:
    remote.store.put(KEY, in_chunks(some_bytes(8 * PART)))
    remote.server.requests.clear()
    parts = remote.store.read(KEY)
    next(parts)
    parts.close()  # type: ignore[attr-defined]
    method, path = remote.download
    asked = [each for each in remote.server.requests if each[0] == method and re.search(path, each[1])]
    assert len(asked) <= WINDOW + 1
