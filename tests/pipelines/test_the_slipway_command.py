"""``slipway``: help, ``plan``, ``tasks``, and what it says to a wrong manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import app
from pipelines.demo.forge import Forge
from pipelines.demo.repository import publish
from steps import __version__
from steps.core.errors import ExitCode
from steps.tasks.table import TASKS
from tests.pipelines.conftest import manifest, slipway
from tests.servers.forge_faults import batch_requests, object_requests


def invoke(*arguments: str | Path) -> Result:
    """The command in this process."""
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_alone_it_prints_its_help() -> None:
    result = invoke()
    for word in ("Usage: slipway", "run", "plan", "serve", "tasks", "version"):
        assert word in result.output
    assert invoke("--help").exit_code == ExitCode.DONE


@pytest.mark.parametrize("command", ["run", "plan", "serve", "tasks", "version"])
def test_every_command_has_help(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == ExitCode.DONE
    assert f"Usage: slipway {command}" in result.output


def test_the_version_and_the_tasks_are_printed() -> None:
    assert invoke("version").stdout == f"{__version__}\n"
    listed = invoke("tasks").stdout
    for task in TASKS.values():
        assert task.name in listed
        assert task.title.split()[0] in listed


GOOD = manifest("tiny", "https://example.org/org/model", "text-classification")


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("  sourceKind: git_lfs\n", ""), "spec.sourceKind is missing"),
        (GOOD.replace("sourceKind", "sourcKind"), "Did you mean sourceKind?"),
        (GOOD + "  source: https://example.org/other\n", "spec.source stands twice"),
        (GOOD.replace("text-classification", "text-clasification"), "Did you mean 'text-classification'?"),
        (GOOD.replace("name: tiny", "name: Tiny"), "metadata.name"),
        (GOOD.replace("https://", "ext::sh -c 'touch pwned' https://"), "spec.source"),
        (f"{GOOD}---\n{GOOD}", "holds 2 YAML documents"),
        ("", "holds 0 YAML documents"),
        ("{", "is no YAML"),
        (
            "a: &a [x, x]\n" + "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else '*a'] * 9)}]" for n in range(9)),
            "model.yaml",
        ),
    ],
    ids=range(10),
)
def test_a_wrong_manifest_is_refused_with_exit_code_2_and_a_sentence(
    command: str, text: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "model.yaml").write_text(text)
    result = invoke(command, "-f", tmp_path / "model.yaml", "--store", tmp_path / "store")
    assert result.exit_code == ExitCode.INPUT == 2
    assert said in result.stderr
    assert result.stderr.startswith("error: InvalidManifest: ")
    assert "hint: " in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["model.yaml"]


def test_a_real_process_does_the_same(tmp_path: Path) -> None:
    done = slipway("run", "-f", "nowhere.yaml", cwd=tmp_path)
    assert done.returncode == ExitCode.INPUT
    assert (
        done.stderr == "error: InvalidManifest: There is no file nowhere.yaml.\n hint: Name the manifest with -f model.yaml.\n"
    )
    assert list(tmp_path.iterdir()) == []


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


def test_the_plan_names_files_bytes_format_and_why_and_asks_for_no_object(crowded: Path) -> None:
    with Forge(crowded / "forge") as forge:
        (crowded / "model.yaml").write_text(manifest("tiny", forge.url("crowded"), "text-classification"))
        result = invoke("plan", "-f", crowded / "model.yaml", "--store", crowded / "store")
        assert result.exit_code == ExitCode.DONE, result.output
        document = json.loads(invoke("plan", "-f", crowded / "model.yaml", "--store", crowded / "store", "--json").stdout)
        assert forge.exchanges
        assert batch_requests(forge) == object_requests(forge) == []
    for words in ("model.safetensors", "taken: weights", "left: PyTorch pickle", "left: ONNX", "BertForSequenceClassification"):
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


def test_a_task_that_the_model_cannot_do_is_refused_by_the_plan_already(hub: Forge, tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(manifest("tiny", hub.url("vit"), "text-classification"))
    result = invoke("plan", "-f", tmp_path / "model.yaml", "--store", tmp_path / "store")
    assert result.exit_code == ExitCode.UNSUPPORTED
    assert "It can do: image-classification, image-feature-extraction" in result.stderr


def test_what_a_hostile_model_says_reaches_no_terminal(hub: Forge, tmp_path: Path, model_folders: Mapping[str, Path]) -> None:
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
