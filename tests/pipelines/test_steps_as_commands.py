"""``python -m steps.NAME``: help at once, one flag a field, outputs as files, and the whole chain by hand, with no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipelines.local import branch, run_name
from pipelines.step_table import STEPS
from steps.core.errors import ExitCode
from steps.core.graph import MODEL_NODES, REPORT, SERVICE_NODES, Node
from steps.images.builders.supported import BuilderKind
from tests.pipelines.conftest import Ingested
from tests.servers.network_namespace import without_network

pytestmark = pytest.mark.slow  # they start processes or servers, many times

NODES = (*MODEL_NODES, *SERVICE_NODES, REPORT)
HEAVY = {
    "torch",
    "transformers",
    "bentoml",
    "google.cloud",
    "hera",
    "kopf",
    "kubernetes",
    "PIL",
    "sklearn",
    "numpy",
    "git",
    "jinja2",
}
each_step = pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)


def run_step(name: str, *flags: str, **settings: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"steps.{name}", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **settings)  # type: ignore[call-overload,no-any-return]


@each_step
def test_help_is_complete_and_imports_nothing_heavy(node: Node, tmp_path: Path) -> None:
    script = (
        "import atexit, runpy, sys\n"
        f"atexit.register(lambda: open('modules', 'w').write(' '.join(sys.modules)))\n"
        f"sys.argv = ['x', '--help']\n"
        f"runpy.run_module('steps.{node.name}', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == ExitCode.DONE, done.stderr
    assert f"python -m steps.{node.name}" in done.stdout
    for field in STEPS[node.name].inputs.model_fields:
        assert f"--{field.replace('_', '-')} " in done.stdout
    for flag in ("--store", "--scratch", "--outputs", "--run", "--progress"):
        assert flag in done.stdout
    for field in STEPS[node.name].outputs.model_fields:
        assert field in done.stdout
    assert not HEAVY & set((tmp_path / "modules").read_text().split())


@each_step
def test_the_graph_gives_every_required_flag(node: Node) -> None:
    fields = STEPS[node.name].inputs.model_fields
    assert set(node.inputs) <= set(fields)
    assert {name for name, field in fields.items() if field.is_required()} <= set(node.inputs)
    assert all(field.description for field in (*fields.values(), *STEPS[node.name].outputs.model_fields.values()))


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("fetch", ("--source-kind", "git_lfs", "--source", "ftp://x/y"), "InvalidSource"),
        (
            "fetch",
            ("--source-kind", "git_lfs", "--source", "https://x/y", "--expected-set-digest", "abc"),
            "--expected-set-digest",
        ),
        ("load", ("--lock", "locks/x.json", "--services", ","), "--services"),
        ("load", ("--lock", "locks/x.json", "--services", "text-classify"), "Did you mean 'text-classification'?"),
        ("render", ("--name", "A b", "--service", "ner", "--lock", "x", "--facts", "x"), "--name"),
        ("archive", ("--name", "x", "--servic", "ner"), "--service"),
        ("build", ("--name", "x", "--service", "ner", "--archive", "a", "--archive-digest", "b"), "--archive-digest"),
    ],
)
def test_a_wrong_flag_is_named(name: str, flags: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = run_step(name, *flags, cwd=tmp_path)
    assert done.returncode == ExitCode.INPUT
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert " hint: " in done.stderr


def test_a_missing_object_is_named(tmp_path: Path) -> None:
    done = run_step("load", "--lock", f"locks/{'0' * 64}.json", "--services", "ner", "--progress", "json", cwd=tmp_path)
    assert done.returncode == ExitCode.ENVIRONMENT
    failure = json.loads(done.stderr.splitlines()[-1])
    assert failure["reason"] == "StoreUnreadable"
    assert failure["retryable"] is False
    assert f".slipway/locks/{'0' * 64}.json" in failure["message"]


def test_steps_by_hand_equal_the_runner(vit_run: Ingested, tmp_path: Path) -> None:
    """Everything but fetch runs where no network is, if this machine can make such a place."""
    values: dict[str, str] = {
        **{name: str(value) for name, value in vit_run.model.spec.model_dump(mode="json").items() if isinstance(value, str)},
        "name": vit_run.model.metadata.name,
        "services": ",".join(vit_run.model.spec.services),
        "service": vit_run.model.spec.services[0],
        "report_run": run_name(vit_run.model),
    }
    for node in (*MODEL_NODES, *branch(BuilderKind.PLAN), REPORT):
        folder = tmp_path / "outputs" / node.name
        command = [sys.executable, "-m", f"steps.{node.name}", "--store", "store", "--outputs", str(folder)]
        command += ["--run", "" if node is REPORT else values["report_run"]]
        for field in STEPS[node.name].inputs.model_fields:
            if values.get(field):
                command += [f"--{field.replace('_', '-')}", values[field]]
        if node.name != "fetch":
            command = without_network(command)
        environment: Mapping[str, str] = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == ExitCode.DONE, done.stderr
        outputs = {path.name: path.read_text() for path in folder.iterdir()}
        assert outputs.keys() == STEPS[node.name].outputs.model_fields.keys()
        printed = json.loads(done.stdout).items()
        assert {name: json.dumps(value) if isinstance(value, list) else str(value) for name, value in printed} == outputs
        values |= outputs
    archived = vit_run.outcome.receipts["image-classification/archive"].outputs
    assert values["archive"] == archived["archive"]
    assert values["archive_digest"] == archived["archive_digest"]
    assert (tmp_path / "store" / values["report"]).is_file()


def test_a_finished_step_prints_the_same_outputs(vit_run: Ingested, tmp_path: Path) -> None:
    receipt = vit_run.outcome.receipts["image-classification/archive"]
    flags = [part for name, value in receipt.inputs.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    done = run_step("archive", *flags, "--store", str(vit_run.store), "--outputs", str(tmp_path / "out"))
    assert done.returncode == ExitCode.DONE
    assert "archive was done before: nothing to do." in done.stderr
    assert json.loads(done.stdout) == receipt.outputs
    assert (tmp_path / "out/archive_digest").read_text() == receipt.outputs["archive_digest"]
