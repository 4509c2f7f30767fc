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
from steps.images.assembly.pip_layers import platforms, remove_scripts

LONG = "a" * 90 + "/" + "b" * 90 + "/Ünïcode.txt"
TEXTS = {"z.txt": b"z", "a/b/c.txt": b"c" * 1000, "a/b.txt": b"", "a-b/x": b"x" * 512, LONG: b"long"}


def written(folder: Path, texts: dict[str, bytes]) -> Path:
    for path, data in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def test_equal_files_make_equal_layers_whenever_and_in_whatever_order_they_were_written(tmp_path: Path) -> None:
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


def test_what_went_in_is_found_below_its_root_with_every_folder_before_it(tmp_path: Path) -> None:
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


def test_a_link_is_no_file_of_a_layer(tmp_path: Path) -> None:
    folder = written(tmp_path / "files", {"a/x": b""})
    (folder / "a/link").symlink_to("/etc/passwd")
    with pytest.raises(SlipwayError, match="a/link is not a regular file") as caught:
        files_below(folder, ["a"], "/")
    assert caught.value.reason is Reason.UNSAFE_PATH


def test_nothing_makes_an_empty_tar_file() -> None:
    with tarfile.open(fileobj=io.BytesIO(b"".join(layer_tar([])))) as archive:
        assert archive.getnames() == []


def test_the_scripts_of_packages_are_forgotten_and_nothing_else(tmp_path: Path) -> None:
    record = "../../bin/x,sha256=a,1\nx/bin/tool,sha256=b,1\nx/__init__.py,,\n"
    written(tmp_path, {"bin/x": b"#!/here", "x/bin/tool": b"", "x-1.dist-info/RECORD": record.encode()})
    remove_scripts(tmp_path)
    assert (tmp_path / "x-1.dist-info/RECORD").read_text() == "x/__init__.py,,\nx/bin/tool,sha256=b,1\n"
    assert not (tmp_path / "bin").exists()
    assert (tmp_path / "x/bin/tool").exists()


@pytest.mark.parametrize(("architecture", "last"), [("amd64", "manylinux1_x86_64"), ("arm64", "manylinux_2_5_aarch64")])
def test_wheels_for_older_systems_fit_and_newer_ones_do_not(architecture: str, last: str) -> None:
    tags = platforms(architecture)
    assert tags[0].startswith("manylinux_2_28_")
    assert tags[-2] == last
    assert (
        tags.index(f"manylinux2014_{tags[-1].removeprefix('linux_')}")
        == tags.index(tags[-1].replace("linux_", "manylinux_2_17_")) + 1
    )
