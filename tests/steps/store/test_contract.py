"""What every store promises, checked on each of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from steps.core.digest import sha256_bytes, verified_chunks
from steps.core.errors import Reason, SlipwayError
from steps.core.store import Store
from steps.store.gcs_upload import PART
from steps.store.supported import open_store
from tests.steps.store.conftest import Place
from tests.steps.store.contents import KEY, content, in_chunks, some_bytes


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 54321])
def test_what_is_put_is_read_again(store: Store, size: int) -> None:
    data = some_bytes(size)
    assert store.size(KEY) is None
    assert store.put(KEY, in_chunks(data)) is True
    assert store.size(KEY) == size
    assert content(store) == data


def test_empty_chunks_in_a_stream_do_no_harm(store: Store) -> None:
    assert store.put(KEY, [b"", b"one", b"", b"two", b""])
    assert content(store) == b"onetwo"


def test_a_second_put_reads_no_stream(store: Store) -> None:
    def untouched() -> Iterator[bytes]:
        raise AssertionError("the stream was read")
        yield b""

    assert store.put(KEY, [b"first"])
    assert store.put(KEY, untouched()) is False
    assert content(store) == b"first"


@pytest.mark.slow
def test_one_of_several_writers_publishes(place: Place) -> None:
    writers = 4
    all_have_begun = threading.Barrier(writers)
    data = some_bytes(PART + 1000)

    def write(_: int) -> bool:
        def stream() -> Iterator[bytes]:
            yield data[:1000]
            all_have_begun.wait(timeout=60)
            yield data[1000:]

        return open_store(place.uri).put(KEY, stream())

    with ThreadPoolExecutor(writers) as pool:
        results = list(pool.map(write, range(writers)))
    assert sorted(results) == [False] * (writers - 1) + [True]
    assert content(place.store) == data
    assert place.unfinished() == []


@pytest.mark.parametrize("sent", [0, 10, PART + 1000])
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mine"),
        SlipwayError(Reason.SOURCE_BUSY, "theirs"),
        ConnectionResetError("the source hung up"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_in_the_stream_leaves_nothing(place: Place, error: BaseException, sent: int) -> None:
    def breaks() -> Iterator[bytes]:
        yield from in_chunks(some_bytes(sent))
        raise error

    with pytest.raises(type(error)) as caught:
        place.store.put(KEY, breaks())
    assert caught.value is error
    assert place.store.size(KEY) is None
    assert list(place.store.list("")) == []
    assert place.unfinished() == []


def test_nothing_is_visible_before_the_end(place: Place) -> None:
    seen: list[int | None] = []

    def stream() -> Iterator[bytes]:
        yield some_bytes(PART + 1)
        seen.append(open_store(place.uri).size(KEY))
        yield b"end"

    place.store.put(KEY, stream())
    assert seen == [None]
    assert place.store.size(KEY) == PART + 4


@pytest.mark.parametrize("promised", [b"other bytes", b"some", b"some bytes and more"])
def test_other_bytes_than_promised_stay_unpublished(place: Place, promised: bytes) -> None:
    stream = verified_chunks([b"some ", b"bytes"], sha256=sha256_bytes(promised), size=len(promised), what="a file")
    with pytest.raises(SlipwayError) as caught:
        place.store.put(KEY, stream)
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert place.store.size(KEY) is None
    assert place.unfinished() == []


def test_a_missing_object_is_unreadable_and_named(store: Store, tmp_path: Path) -> None:
    assert store.size(KEY) is None
    for use in (lambda: content(store), lambda: store.copy_to(KEY, tmp_path / "copy")):
        with pytest.raises(SlipwayError) as caught:
            use()
        assert caught.value.reason is Reason.STORE_UNREADABLE
        assert store.locate(KEY) in caught.value.message
    assert not (tmp_path / "copy").exists()


def test_a_beginning_of_keys_is_not_an_object(store: Store) -> None:
    store.put("runs/one/record", [b"x"])
    assert store.size("runs/one") is None
    assert store.size("runs/one/record/more") is None
    for key in ("runs/one", "runs/one/record/more"):
        with pytest.raises(SlipwayError) as caught:
            content(store, key)
        assert caught.value.reason is Reason.STORE_UNREADABLE


def test_write_creates_and_replaces(place: Place) -> None:
    for data in (b'{"state": "running"}', b'{"state": "done", "more": 1}', b""):
        place.store.write("runs/record.json", data)
        assert content(place.store, "runs/record.json") == data
    assert place.unfinished() == []


def test_list_gives_keys_by_prefix_sorted(store: Store) -> None:
    keys = ["runs/b", "runs/a/1", "runs/a/10", "runs/a/2", "runs/ab", "files/x", "runs-old/a"]
    for key in keys:
        store.put(key, [b"x"])
    assert list(store.list("")) == sorted(keys)
    assert list(store.list("runs/")) == ["runs/a/1", "runs/a/10", "runs/a/2", "runs/ab", "runs/b"]
    assert list(store.list("runs/a")) == ["runs/a/1", "runs/a/10", "runs/a/2", "runs/ab"]
    assert list(store.list("runs/a/1")) == ["runs/a/1", "runs/a/10"]
    assert list(store.list("nothing/here")) == []


def test_copy_to_makes_file_and_folder(store: Store, tmp_path: Path) -> None:
    data = some_bytes(PART + 7)
    store.put(KEY, in_chunks(data))
    target = tmp_path / "new" / "folder" / "model.safetensors"
    store.copy_to(KEY, target)
    assert target.read_bytes() == data
    assert [path.name for path in target.parent.iterdir()] == ["model.safetensors"]


def test_put_file_keeps_the_first_file(store: Store, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(data := some_bytes(3_000_001))
    second.write_bytes(b"second")
    assert store.put_file(KEY, first) is True
    assert store.put_file(KEY, second) is False
    assert content(store) == data


def test_put_file_names_a_missing_file(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SlipwayError) as caught:
        store.put_file(KEY, tmp_path / "absent")
    assert caught.value.reason is Reason.STORE_UNREADABLE
    assert "absent" in caught.value.message


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/./b", "a b", "ä", "a\n", "a?b"])
def test_a_bad_key_is_refused_everywhere(store: Store, tmp_path: Path, key: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for use in (
        lambda: store.size(key),
        lambda: content(store, key),
        lambda: store.put(key, [b"x"]),
        lambda: store.put_file(key, tmp_path / "file"),
        lambda: store.write(key, b"x"),
        lambda: store.copy_to(key, tmp_path / "copy"),
    ):
        with pytest.raises(SlipwayError) as caught:
            use()
        assert caught.value.reason is Reason.INTERNAL_ERROR
    assert list(store.list("")) == []


def test_the_address_opens_the_same_store(place: Place) -> None:
    place.store.put(KEY, [b"here"])
    assert place.store.uri == place.uri
    assert content(open_store(place.store.uri)) == b"here"
    assert place.store.locate(KEY).endswith(KEY)


def test_keys_of_all_legal_characters_are_kept_apart(store: Store) -> None:
    keys = ["a", "A", "a+b", "a=b", "a@b", "a-b_c.d", ".hidden", "-", "b/+/=", "..a", "a..", "sha256/" + "f" * 64]
    for key in keys:
        assert store.put(key, [key.encode()])
    assert [content(store, key) for key in keys] == [key.encode() for key in keys]
    assert list(store.list("a+")) == ["a+b"]


@pytest.mark.slow
def test_more_keys_than_a_page_are_listed(place: Place) -> None:
    keys = [f"runs/{number:04}" for number in Random(7).sample(range(1003), 1003)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: place.store.write(key, b"x"), keys))
    assert list(place.store.list("runs/")) == sorted(keys)


@pytest.mark.slow
def test_a_reader_that_stops_early_leaves_nothing_behind(store: Store) -> None:
    store.put(KEY, in_chunks(some_bytes(3 * PART)))
    reading = store.read(KEY)
    assert next(iter(reading))
    reading.close()  # type: ignore[attr-defined]
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("read_")]


def test_a_record_is_whole_while_replaced(place: Place) -> None:
    records = [bytes([65 + number]) * (1000 + number) for number in range(8)]
    place.store.write("runs/record", records[0])
    done = threading.Event()

    def replace() -> None:
        for _ in range(5):
            for record in records:
                place.store.write("runs/record", record)
        done.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(replace)
        seen = [content(place.store, "runs/record")]
        while not done.is_set() and not writing.done():
            seen.append(content(place.store, "runs/record"))
        writing.result()
    assert set(seen) <= set(records)
