"""The local builder: a real buildah makes an image, or it says why not. Its storage is in the test's folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from steps.build import STEP, BuildInputs, BuildOutputs
from steps.core.contract import Context
from steps.core.errors import ExitCode, Reason, SlipwayError, Terminated
from steps.core.progress import ProgressEvent
from steps.core.receipts import execute
from steps.images.builders.base import BuildRequest
from steps.images.builders.local import LocalBuilder, Program
from steps.images.builders.supported import BuilderKind
from steps.images.description import DOCKERFILE
from steps.package.unpack import unpack_archive
from tests.conftest import RecordedProgress
from tests.servers.oci_registry import Fault, OciRegistry
from tests.steps.packages import Made

pytestmark = pytest.mark.slow  # a model is loaded

HOSTILE = "'; touch pwned; echo \"$(id)` & \n#"
needs_buildah = pytest.mark.skipif(shutil.which("buildah") is None, reason="buildah is not installed")


def build(made: Made, **settings: Any) -> BuildOutputs:
    inputs = BuildInputs(name="tiny", service=made.service, archive=made.archive, archive_digest=made.digest, **settings)
    return execute(STEP, inputs, made.context).outputs


def copied(dockerfile: str) -> list[list[str]]:
    """The arguments of each COPY, in order."""
    return [line.split()[1:] for line in dockerfile.splitlines() if line.startswith("COPY ")]


def test_a_missing_program_is_reported(classifier: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlipwayError) as caught:
        build(classifier.copied_to(tmp_path / "store"), builder=BuilderKind.LOCAL)
    assert caught.value.reason is Reason.BUILDER_MISSING
    assert caught.value.reason.exit_code is ExitCode.ENVIRONMENT
    assert "plan" in caught.value.hint


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Gives buildah a storage of this name, and with it an empty cache."""
    monkeypatch.setenv("BUILDAH_ISOLATION", "chroot")
    driver = "overlay" if os.geteuid() == 0 else "vfs"  # the first is quick, the second needs no rights

    def use(name: str) -> None:
        root = tmp_path / name
        root.mkdir()
        lines = ["[storage]", f'driver = "{driver}"', f'graphroot = "{root}/graph"', f'runroot = "{root}/run"', ""]
        (root / "storage.conf").write_text("\n".join(lines))
        monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(root / "storage.conf"))

    use("storage")
    yield use
    if driver == "overlay":  # its mounts outlive the program
        for graph in tmp_path.glob("*/graph/overlay"):
            subprocess.run(["umount", "--recursive", str(graph)], check=False, capture_output=True)


def without_run(folder: Path) -> Path:
    """The context with a Dockerfile that runs nothing, so that it needs no base image and no network."""
    dockerfile = folder / DOCKERFILE
    text = re.sub(r"^RUN .*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
    assert "COPY src/model" in text
    dockerfile.write_text(text)
    return folder


def unpacked(made: Made, folder: Path) -> Path:
    unpack_archive([made.path.read_bytes()], folder, what="it")
    return without_run(folder)


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


def layers(image: str) -> list[str]:
    done = subprocess.run(["buildah", "inspect", "--type", "image", image], check=True, capture_output=True, text=True)
    found: list[str] = json.loads(done.stdout)["OCIv1"]["rootfs"]["diff_ids"]
    return found


@needs_buildah
def test_equal_contexts_give_an_equal_image(
    classifier: Made, tmp_path: Path, storage: Callable[[str], None], progress: RecordedProgress
) -> None:
    builder = LocalBuilder(Program.BUILDAH)
    first = builder.build(request_of(classifier, unpacked(classifier, tmp_path / "one")), progress)
    assert re.fullmatch("sha256:[0-9a-f]{64}", first)
    before = os.umask(0o077)
    try:
        folder = unpacked(classifier, tmp_path / "two")
    finally:
        os.umask(before)
    (folder / DOCKERFILE).chmod(0o644)  # written again by this test
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    storage("another storage")
    assert builder.build(request_of(classifier, folder), progress) == first
    assert any(note.startswith("STEP") and "COPY src/model" in note for note in progress.notes)


@needs_buildah
def test_a_code_change_sends_no_weights(
    classifier: Made, tmp_path: Path, storage: Callable[[str], None], progress: RecordedProgress
) -> None:
    builder = LocalBuilder(Program.BUILDAH)
    folder = unpacked(classifier, tmp_path / "context")
    builder.build(request_of(classifier, folder), progress)
    before = layers("slipway/tiny:1")
    (folder / "src/service.py").write_text("changed = True\n")
    builder.build(request_of(classifier, folder), progress)
    after = layers("slipway/tiny:1")
    changed = [index for index, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
    commands = copied((folder / DOCKERFILE).read_text())
    code = len(before) - (len(commands) - next(i for i, arguments in enumerate(commands) if "src/service.py" in arguments))
    assert changed == [code]


@needs_buildah
def test_a_failed_build_shows_the_programs_output(
    classifier: Made, tmp_path: Path, storage: Callable[[str], None], progress: RecordedProgress
) -> None:
    folder = unpacked(classifier, tmp_path / "context")
    shutil.rmtree(folder / "src/golden")
    with pytest.raises(SlipwayError) as caught:
        LocalBuilder(Program.BUILDAH).build(request_of(classifier, folder), progress)
    assert caught.value.reason is Reason.BUILD_FAILED
    assert caught.value.reason.exit_code is ExitCode.MODEL
    assert "src/golden" in caught.value.message.splitlines()[-1]
    assert subprocess.run(["buildah", "containers", "--quiet"], check=True, capture_output=True).stdout == b""


@needs_buildah
def test_a_pushed_image_has_the_registrys_digest(
    classifier: Made,
    tmp_path: Path,
    storage: Callable[[str], None],
    progress: RecordedProgress,
) -> None:
    with OciRegistry(pieces=True) as registry:
        request = request_of(classifier, unpacked(classifier, tmp_path / "context"), registry=f"{registry.host}/team")
        digest = LocalBuilder(Program.BUILDAH).build(request, progress)
        assert registry.image("team/tiny:1")[0] == digest
        registry.faults.append(Fault("PUT", "manifests/", status=403, times=9))
        with pytest.raises(SlipwayError, match="buildah failed") as caught:
            LocalBuilder(Program.BUILDAH).build(request, progress)
    assert caught.value.reason is Reason.BUILD_FAILED


def test_docker_prints_the_digest_last(
    classifier: Made, tmp_path: Path, progress: RecordedProgress, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = "sha256:" + "ab" * 32
    program(tmp_path / "bin", f"echo built; [ $1 = push ] && echo '1: digest: {digest} size: 1234'; exit 0")
    (tmp_path / "bin/buildah").rename(tmp_path / "bin/docker")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    request = request_of(classifier, tmp_path, registry="registry.example/team")
    assert LocalBuilder(Program.DOCKER).build(request, progress) == digest
    assert "Pushing registry.example/team/tiny:1." in progress.notes
    program(tmp_path / "bin", "exit 0")
    (tmp_path / "bin/buildah").rename(tmp_path / "bin/docker")
    with pytest.raises(SlipwayError, match="did not print its digest"):
        LocalBuilder(Program.DOCKER).build(request, progress)


@needs_buildah
def test_buildah_is_found_first(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = BuilderKind.LOCAL.builder.open()
    assert isinstance(builder, LocalBuilder)
    assert builder.program is Program.BUILDAH


def program(folder: Path, script: str) -> None:
    """A program named buildah that does what a shell script says."""
    folder.mkdir(exist_ok=True)
    (folder / "buildah").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "buildah").chmod(0o755)


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], LocalBuilder]:
    def found(script: str) -> LocalBuilder:
        program(tmp_path / "bin", script)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
        return LocalBuilder.open()

    return found


def test_a_stopped_build_stops_its_program(
    classifier: Made, scripted: Callable[[str], LocalBuilder], tmp_path: Path, progress: RecordedProgress
) -> None:
    def stop(event: ProgressEvent) -> None:
        if event.text.startswith("STEP"):
            raise Terminated

    progress.then = stop
    builder = scripted(f"echo $$ >{tmp_path}/pid; echo STEP 1/1: RUN sleep; exec sleep 600")
    with pytest.raises(Terminated):
        builder.build(request_of(classifier, tmp_path), progress)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("printf 'caf\\351\\n'; exit 3", "buildah failed (3):\ncaf�"),
        ("seq 1 100; exit 1", "\n86\n87\n"),
        (f"kill -{signal.SIGKILL} $$", "buildah failed (-9)"),
        ("[ $1 = build ]", "does not show its digest"),
    ],
)
def test_any_end_of_the_program_is_explained(
    classifier: Made, scripted: Callable[[str], LocalBuilder], tmp_path: Path, context: Context, script: str, message: str
) -> None:
    with pytest.raises(SlipwayError) as caught:
        scripted(script).build(request_of(classifier, tmp_path), context.progress)
    assert caught.value.reason is Reason.BUILD_FAILED
    assert message in caught.value.message
    assert "\n85\n" not in caught.value.message
