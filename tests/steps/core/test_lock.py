"""The lock: its formula, what it refuses to be, and that not one changed byte gets past ``verify_folder``."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from steps.core.digest import canonical_json, sha256_bytes, verified_chunks
from steps.core.errors import Reason, SlipwayError
from steps.core.lock import Lock, LockedFile, blob_key, set_digest, verify_folder

FILES = {"config.json": b"{}", "model.safetensors": b"weights", "sub/vocab.txt": b"a\nb\n"}


def locked(path: str, content: bytes) -> LockedFile:
    return LockedFile(path=path, size=len(content), sha256=sha256_bytes(content))


def lock_over(files: dict[str, bytes]) -> Lock:
    entries = [locked(path, content) for path, content in files.items()]
    return Lock.from_files(entries, source_kind="git_lfs", source="https://example.invalid/x", revision="f" * 40)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "model", FILES)


def test_a_shell_computes_the_same_set_digest() -> None:
    lines = "".join(f"{hashlib.sha256(content).hexdigest()} {len(content)} {path}\n" for path, content in sorted(FILES.items()))
    assert lock_over(FILES).set_digest == hashlib.sha256(lines.encode()).hexdigest()


def test_only_the_order_of_files_is_ignored() -> None:
    digest = lock_over(FILES).set_digest
    assert lock_over(dict(reversed(FILES.items()))).set_digest == digest
    others = [
        {**FILES, "config.json": b"{ }"},
        {**FILES, "more.txt": b""},
        {path: content for path, content in FILES.items() if path != "config.json"},
        {path.replace("vocab", "words"): content for path, content in FILES.items()},
    ]
    assert len({digest, *(lock_over(files).set_digest for files in others)}) == 5


def test_a_lock_survives_its_own_text() -> None:
    lock = lock_over(FILES)
    assert Lock.model_validate_json(canonical_json(lock.model_dump(mode="json"))) == lock
    assert lock.size == sum(map(len, FILES.values()))
    assert [file.path for file in lock.weights] == ["model.safetensors"]
    assert lock.files[0].key == blob_key(sha256_bytes(b"{}")) == f"blobs/sha256/44/{sha256_bytes(b'{}')}"


def unsorted(lock: dict[str, Any]) -> None:
    lock["files"].reverse()
    lock["set_digest"] = set_digest(LockedFile(**file) for file in lock["files"])


def renamed(path: str) -> Callable[[dict[str, Any]], None]:
    def change(lock: dict[str, Any]) -> None:
        lock["files"] = [{**lock["files"][0], "path": path}]
        lock["set_digest"] = sha256_bytes(f"{lock['files'][0]['sha256']} {lock['files'][0]['size']} {path}\n".encode())

    return change


def twice(lock: dict[str, Any]) -> None:
    lock["files"].insert(0, lock["files"][0])
    lock["set_digest"] = set_digest(LockedFile(**file) for file in lock["files"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lock: lock["files"][1].update(size=8), "set digest"),
        (lambda lock: lock["files"][1].update(sha256="0" * 64), "set digest"),
        (lambda lock: lock.update(set_digest="0" * 64), "set digest"),
        (lambda lock: lock["files"].pop(), "set digest"),
        (unsorted, "sorted"),
        (twice, "sorted by path, each once"),
        (lambda lock: lock.update(files=[]), "at least 1 item"),
        (lambda lock: lock.update(version=2), "Input should be 1"),
        (lambda lock: lock.update(more=1), "Extra inputs"),
        (lambda lock: lock["files"][0].update(mode=0o755), "Extra inputs"),
        (lambda lock: lock["files"][0].update(size=-1), "greater than or equal to 0"),
        (lambda lock: lock["files"][0].update(sha256="A" * 64), "match pattern"),
        (lambda lock: lock["files"][0].update(sha256="a" * 64 + "\n"), "match pattern"),
        (renamed("a" * 241), "at most 240"),
        *(
            (renamed(path), "is not a safe path")
            for path in (
                "../x",
                "/etc/passwd",
                "a/../b",
                "a//b",
                "./a",
                "a/",
                "-rf",
                ".git/config",
                "a b",
                "a\nb",
                "$x",
                "ü",
                "",
            )
        ),
    ],
)
def test_a_wrong_lock_is_refused(change: Callable[[dict[str, Any]], None], message: str) -> None:
    document = lock_over(FILES).model_dump(mode="json")
    change(document)
    with pytest.raises(ValidationError, match=message):
        Lock.model_validate_json(canonical_json(document))


def test_an_unchanged_folder_passes(folder: Path) -> None:
    verify_folder(lock_over(FILES), folder)
    (folder / "empty").mkdir()
    verify_folder(lock_over(FILES), folder)


def link_file(folder: Path) -> None:
    (folder / "config.json").rename(folder.parent / "config.json")
    (folder / "config.json").symlink_to(folder.parent / "config.json")


def link_folder(folder: Path) -> None:
    (folder / "sub").rename(folder.parent / "sub")
    (folder / "sub").symlink_to(folder.parent / "sub")


def replace_by_folder(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()


@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), Reason.LOCK_MISMATCH, "config.json"),
        (lambda folder: (folder / "sub" / "more").write_bytes(b""), Reason.LOCK_MISMATCH, "sub/more is not in the lock"),
        (lambda folder: (folder / ".hidden").write_bytes(b""), Reason.LOCK_MISMATCH, ".hidden is not in the lock"),
        (replace_by_folder, Reason.LOCK_MISMATCH, "config.json"),
        (link_file, Reason.UNSAFE_PATH, "config.json is not a regular file"),
        (link_folder, Reason.UNSAFE_PATH, "sub is not a regular file"),
        (lambda folder: (folder / "x").symlink_to("nowhere"), Reason.UNSAFE_PATH, "x is not a regular file"),
        (lambda folder: os.mkfifo(folder / "x"), Reason.UNSAFE_PATH, "x is not a regular file"),
        (
            lambda folder: (folder / "config.json").write_bytes(b"{}\n"),
            Reason.DIGEST_MISMATCH,
            "has 3 bytes where the lock has 2",
        ),
        (lambda folder: (folder / "config.json").write_bytes(b""), Reason.DIGEST_MISMATCH, "has 0 bytes where the lock has 2"),
        (lambda folder: (folder / "config.json").write_bytes(b"[]"), Reason.DIGEST_MISMATCH, "has sha256"),
    ],
)
def test_a_folder_that_differs_is_refused(folder: Path, change: Callable[[Path], object], reason: Reason, message: str) -> None:
    change(folder)
    with pytest.raises(SlipwayError) as caught:
        verify_folder(lock_over(FILES), folder)
    assert caught.value.reason is reason
    assert message in caught.value.message


def test_a_missing_folder_is_a_lock_mismatch(tmp_path: Path) -> None:
    with pytest.raises(SlipwayError) as caught:
        verify_folder(lock_over(FILES), tmp_path / "nothing")
    assert caught.value.reason is Reason.LOCK_MISMATCH


file_names = st.from_regex(r"[a-z]{1,8}\.(json|txt|safetensors)", fullmatch=True)


@pytest.mark.slow
@given(st.data(), st.dictionaries(file_names, st.binary(min_size=1, max_size=3000), min_size=1, max_size=4))
@settings(max_examples=60)
def test_one_flipped_bit_in_any_file_is_found(data: st.DataObject, files: dict[str, bytes]) -> None:
    path = data.draw(st.sampled_from(sorted(files)))
    position = data.draw(st.integers(0, len(files[path]) - 1))
    bit = data.draw(st.integers(0, 7))
    lock = lock_over(files)
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name), files)
        verify_folder(lock, folder)
        content = bytearray(files[path])
        content[position] ^= 1 << bit
        (folder / path).write_bytes(content)
        with pytest.raises(SlipwayError) as caught:
            verify_folder(lock, folder)
        assert caught.value.reason is Reason.DIGEST_MISMATCH
        assert path in caught.value.message


@given(st.binary(max_size=200), st.binary(max_size=200), st.integers(1, 50))
def test_a_stream_must_have_the_expected_bytes(promised: bytes, sent: bytes, part: int) -> None:
    chunks = (sent[begin : begin + part] for begin in range(0, len(sent), part))
    stream = verified_chunks(chunks, sha256=sha256_bytes(promised), size=len(promised), what="The object")
    if promised == sent:
        assert b"".join(stream) == promised
    else:
        with pytest.raises(SlipwayError, match="The object has") as caught:
            b"".join(stream)
        assert caught.value.reason is Reason.DIGEST_MISMATCH
