"""Layers as byte streams: equal files give equal bytes, and every reader of tar and gzip finds in them what went in."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.images.assembly.layers import compressed_layer, files_below, layer_tar, plain_layer

LONG = "a" * 90 + "/" + "b" * 90 + "/Ünïcode.txt"
TEXTS = {"z.txt": b"z", "a/b/c.txt": b"c" * 1000, "a/b.txt": b"", "a-b/x": b"x" * 512, LONG: b"long"}


def written(folder: Path, texts: dict[str, bytes]) -> Path:
    for path, data in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def test_equal_files_make_equal_layers(tmp_path: Path) -> None:
    one = written(tmp_path / "one", TEXTS)
    before = os.umask(0o077)
    try:
        other = written(tmp_path / "another folder", dict(reversed(TEXTS.items())))
    finally:
        os.umask(before)
    for path in other.rglob("*"):
        os.utime(path, (1, 1))
    made = [plain_layer(files_below(folder, [""], "/root"), "x") for folder in (one, other)]
    assert made[0].blob == made[1].blob
    zipped = [
        compressed_layer(files_below(folder, [""], "/root"), "x", tmp_path / f"{index}.tar.gz")
        for index, folder in enumerate((one, other))
    ]
    assert zipped[0].blob == zipped[1].blob
    assert zipped[0].diff_id == made[0].diff_id == made[0].blob.digest


def test_files_come_after_their_folders(tmp_path: Path) -> None:
    folder = written(tmp_path / "files", TEXTS)
    (folder / "a/b.txt").chmod(0o700)
    layer = compressed_layer(files_below(folder, ["a", "z.txt", LONG], "/opt/x"), "x", tmp_path / "layer.tar.gz")
    data = b"".join(layer.chunks())
    assert hashlib.sha256(data).hexdigest() == layer.blob.digest[7:]
    assert len(data) == layer.blob.size
    seen: set[str] = set()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            parent = member.name.rpartition("/")[0]
            assert parent in {"", *seen}
            seen.add(member.name)
            if member.isreg():
                source = archive.extractfile(member)
                assert source is not None
                assert source.read() == TEXTS[member.name.removeprefix("opt/x/")]
        assert archive.getmember("opt/x/a/b.txt").mode == 0o755
        assert archive.getmember("opt/x/z.txt").mode == 0o644
    assert {name for name in seen if name.removeprefix("opt/x/") in TEXTS} == {
        f"opt/x/{name}" for name in TEXTS if name != "a-b/x"
    }
    listed = subprocess.run(["tar", "tzf", tmp_path / "layer.tar.gz"], check=True, capture_output=True, text=True)
    assert len(listed.stdout.splitlines()) == len(seen)


def test_a_link_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "files", {"a/x": b""})
    (folder / "a/link").symlink_to("/etc/passwd")
    with pytest.raises(SlipwayError, match="a/link is not a regular file") as caught:
        files_below(folder, ["a"], "/")
    assert caught.value.reason is Reason.UNSAFE_PATH


def test_no_files_make_an_empty_tar_file() -> None:
    with tarfile.open(fileobj=io.BytesIO(b"".join(layer_tar([])))) as archive:
        assert archive.getnames() == []
