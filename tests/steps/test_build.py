"""build: the plan is complete, its command can be typed, and it names the step that is left."""

from __future__ import annotations

import json
import shlex
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from steps.build import STEP, BuildInputs, BuildOutputs
from steps.core.documents import BuildPlan
from steps.core.errors import Reason, SlipwayError
from steps.core.receipts import execute
from steps.images.builders.base import BuildRequest
from steps.images.builders.local import Program, build_command
from steps.images.builders.supported import BuilderKind
from tests.steps.packages import Made

pytestmark = pytest.mark.slow  # a model is loaded

HOSTILE = "'; touch pwned; echo \"$(id)` & \n#"


def build(made: Made, **settings: Any) -> BuildOutputs:
    inputs = BuildInputs(name="tiny", service=made.service, archive=made.archive, archive_digest=made.digest, **settings)
    return execute(STEP, inputs, made.context).outputs


@pytest.fixture
def planned(made: Made, tmp_path: Path) -> tuple[Made, BuildPlan]:
    copy = made.copied_to(tmp_path / "a store's folder")
    return copy, copy.context.read_document(build(copy).plan, BuildPlan)


def copied(dockerfile: str) -> list[list[str]]:
    """The arguments of each COPY, in order."""
    return [line.split()[1:] for line in dockerfile.splitlines() if line.startswith("COPY ")]


def test_the_planned_context_is_the_archive(planned: tuple[Made, BuildPlan]) -> None:
    made, plan = planned
    context = made.root / plan.context
    with tarfile.open(made.path) as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        for name, file in files.items():
            assert file is not None
            assert (context / name).read_bytes() == file.read()
    assert {path.relative_to(context).as_posix() for path in context.rglob("*") if path.is_file()} == files.keys()


def test_the_dockerfile_copies_the_whole_context(planned: tuple[Made, BuildPlan]) -> None:
    made, plan = planned
    context = made.root / plan.context
    commands = copied((made.root / plan.dockerfile).read_text())
    sources = [source for *found, _ in commands for source in found]
    for source in sources:
        assert (context / source).exists()
    for path in (path for path in context.rglob("*") if path.is_file()):
        assert any(path.relative_to(context).is_relative_to(source) for source in sources), path


def test_weights_have_a_layer_before_the_code(planned: tuple[Made, BuildPlan]) -> None:
    made, plan = planned
    commands = copied((made.root / plan.dockerfile).read_text())
    weights = commands.index(["src/model", "src/model"])
    code = next(index for index, arguments in enumerate(commands) if "src/service.py" in arguments)
    assert weights < code
    assert not any("src" in arguments or "." in arguments[:-1] for arguments in commands)
    model = sum(path.stat().st_size for path in (made.root / plan.context / "src/model").iterdir())
    assert next(layer.bytes for layer in plan.layers if layer.instruction == "COPY src/model") == model
    assert plan.registry == ""


def test_the_command_can_be_typed(planned: tuple[Made, BuildPlan]) -> None:
    made, plan = planned
    (command,) = plan.commands
    script = f"docker() {{ printf '%s\\0' \"$@\"; }}\n{command}"
    typed = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True, cwd=made.root).stdout
    arguments = typed.removesuffix("\0").split("\0")
    assert arguments == shlex.split(command)[1:]
    assert arguments[-1] == str(made.root / plan.context)
    assert arguments[arguments.index("-f") + 1] == str(made.root / plan.dockerfile)
    assert Path(arguments[-1]).is_dir()
    assert "a store's folder" in arguments[-1]


def request_of(made: Made, folder: Path, *, registry: str = "") -> BuildRequest:
    return BuildRequest(
        folder,
        f"{registry or 'slipway'}/tiny:1",
        "scratch",
        {"dev.slipway.licence": HOSTILE},
        lock=made.read_lock(),
        step=made.context,
        registry=registry,
    )


def test_a_hostile_label_is_one_argument(classifier: Made, tmp_path: Path) -> None:
    command = shlex.join(build_command(Program.DOCKER, request_of(classifier, tmp_path / "context")))
    script = f"docker() {{ printf '%s\\0' \"$@\"; }}\n{command}"
    typed = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert f"dev.slipway.licence={HOSTILE}" in typed.split("\0")
    assert not (tmp_path / "pwned").exists()


def test_labels_say_what_the_image_holds(planned: tuple[Made, BuildPlan]) -> None:
    made, plan = planned
    labels = [argument for argument in shlex.split(plan.commands[0]) if "image." in argument or "dev.slipway" in argument]
    assert f"org.opencontainers.image.source={made.fetched.source}" in labels
    assert "org.opencontainers.image.licenses=apache-2.0" in labels
    assert f"dev.slipway.archive-digest=sha256:{made.digest}" in labels
    assert f"sha256:{made.read_lock().set_digest}" in (made.root / plan.dockerfile).read_text()
    assert plan.image_digest == ""


def test_the_plan_has_what_cloud_build_needs(classifier: Made, tmp_path: Path) -> None:
    made = classifier.copied_to(tmp_path / "store")
    inputs = BuildInputs(
        name="tiny",
        service=made.service,
        archive=made.archive,
        archive_digest=made.digest,
        builder=BuilderKind.CLOUDBUILD,
        registry="region-docker.pkg.dev/project/models",
    )
    outputs = execute(STEP, inputs, made.context).outputs
    assert (outputs.awaits, outputs.image_digest) == ("cloudbuild", "")
    assert outputs.image == f"region-docker.pkg.dev/project/models/tiny-text-classification:{made.digest[:12]}"
    plan = made.context.read_document(outputs.plan, BuildPlan)
    assert plan.labels["dev.slipway.archive-digest"] == f"sha256:{made.digest}"
    assert "org.opencontainers.image.source" in json.dumps(plan.labels)
    assert all(any(f"{name}=" in command for command in plan.commands) for name in plan.labels)


def test_cloud_build_needs_a_registry(classifier: Made) -> None:
    inputs = BuildInputs(
        name="tiny",
        service=classifier.service,
        archive=classifier.archive,
        archive_digest=classifier.digest,
        builder=BuilderKind.CLOUDBUILD,
        registry="",
    )
    with pytest.raises(SlipwayError) as caught:
        execute(STEP, inputs, classifier.context)
    assert caught.value.reason is Reason.INVALID_INPUT
    assert "registry" in caught.value.hint
