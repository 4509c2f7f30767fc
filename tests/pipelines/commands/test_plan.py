"""``slipway plan``: files, sizes and reasons, and no object downloaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipelines.demo.forge import Forge
from pipelines.demo.repository import publish
from steps.core.errors import ExitCode
from tests.pipelines.conftest import manifest
from tests.pipelines.test_cli import invoke
from tests.servers.forge_faults import batch_requests, object_requests

pytestmark = pytest.mark.slow  # a process for each case


@pytest.fixture
def crowded(tmp_path: Path, model_folders: Mapping[str, Path]) -> Path:
    """A repository with the same weights in several formats, as on a hub."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for path in model_folders["classifier"].iterdir():
        (tree / path.name).write_bytes(path.read_bytes())
    for name in ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"):
        (tree / name).write_bytes(b"x" * 100_000)
    (tree / "onnx").mkdir()
    (tree / "onnx/model.onnx").write_bytes(b"y" * 50_000)
    (tree / "\x1b]0;title\x07[bold]name\x1b[2J.py").write_text("pass\n")
    publish(tmp_path / "forge", "crowded", tree)
    return tmp_path


def test_the_plan_downloads_no_object(crowded: Path) -> None:
    with Forge(crowded / "forge") as forge:
        (crowded / "model.yaml").write_text(manifest("tiny", forge.url("crowded"), "text-classification"))
        result = invoke("plan", "-f", crowded / "model.yaml", "--store", crowded / "store")
        assert result.exit_code == ExitCode.DONE, result.output
        document = json.loads(invoke("plan", "-f", crowded / "model.yaml", "--store", crowded / "store", "--json").stdout)
        assert forge.exchanges
        assert batch_requests(forge) == object_requests(forge) == []
    for words in (
        "model.safetensors",
        "fetched: weights",
        "not fetched: PyTorch pickle",
        "not fetched: ONNX",
        "BertForSequenceClassification",
    ):
        assert words in result.stdout
    assert "\x1b" not in result.output  # not even from a file's name
    assert "[bold]name" in result.stdout
    files = {file["path"]: file for file in document["files"]}
    size = (crowded / "tree/model.safetensors").stat().st_size
    assert files["model.safetensors"] == {"path": "model.safetensors", "bytes": size, "stored": "lfs", "why": "weights"}
    assert document["bytes"] == sum(file["bytes"] for file in document["files"])
    assert document["leftBytes"] == sum(file["bytes"] for file in document["left"]) >= 350_000
    assert document["format"] == "safetensors"
    assert document["architectures"] == ["BertForSequenceClassification"]
    assert {file["path"] for file in document["left"]} >= {"pytorch_model.bin", "tf_model.h5", "onnx/model.onnx"}
    assert not (crowded / "store/blobs").exists()


def test_the_plan_refuses_an_impossible_task(hub: Forge, tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(manifest("tiny", hub.url("vit"), "text-classification"))
    result = invoke("plan", "-f", tmp_path / "model.yaml", "--store", tmp_path / "store")
    assert result.exit_code == ExitCode.UNSUPPORTED
    assert "It can do: image-classification, image-feature-extraction" in result.stderr


def test_hostile_names_reach_no_terminal(hub: Forge, tmp_path: Path, model_folders: Mapping[str, Path]) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "config.json").write_bytes((model_folders["classifier"] / "config.json").read_bytes())
    (tree / "\x1b]0;title\x07.bin").write_bytes(b"x" * 2000)
    publish(tmp_path / "forge", "hostile", tree)
    with Forge(tmp_path / "forge") as forge:
        (tmp_path / "model.yaml").write_text(manifest("tiny", forge.url("hostile"), "text-classification"))
        result = invoke("plan", "-f", tmp_path / "model.yaml", "--store", tmp_path / "store")
    assert result.exit_code == ExitCode.UNSUPPORTED
    assert "NoSafetensors" in result.stderr
    assert "]0;title" in result.stderr
    assert "\x1b" not in result.output
    assert "\x07" not in result.output
