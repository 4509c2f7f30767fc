"""The layers with packages: scripts are left out, and only wheels that fit the base image are installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from steps.images.assembly.pip_layers import platforms, remove_scripts


def written(folder: Path, texts: dict[str, bytes]) -> Path:
    for path, data in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def test_only_scripts_are_removed(tmp_path: Path) -> None:
    record = "../../bin/x,sha256=a,1\nx/bin/tool,sha256=b,1\nx/__init__.py,,\n"
    written(tmp_path, {"bin/x": b"#!/here", "x/bin/tool": b"", "x-1.dist-info/RECORD": record.encode()})
    remove_scripts(tmp_path)
    assert (tmp_path / "x-1.dist-info/RECORD").read_text() == "x/__init__.py,,\nx/bin/tool,sha256=b,1\n"
    assert not (tmp_path / "bin").exists()
    assert (tmp_path / "x/bin/tool").exists()


@pytest.mark.parametrize(("architecture", "last"), [("amd64", "manylinux1_x86_64"), ("arm64", "manylinux_2_5_aarch64")])
def test_wheels_for_older_systems_fit(architecture: str, last: str) -> None:
    tags = platforms(architecture)
    assert tags[0].startswith("manylinux_2_28_")
    assert tags[-2] == last
    assert (
        tags.index(f"manylinux2014_{tags[-1].removeprefix('linux_')}")
        == tags.index(tags[-1].replace("linux_", "manylinux_2_17_")) + 1
    )
