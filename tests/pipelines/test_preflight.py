"""What cannot work is told before the first byte, by `slipway run` and by `slipway plan`, and names what is at fault."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crd.manifest import parse_manifest
from crd.types import Model
from pipelines.disk_space import Disk, Need, disks, require_space
from pipelines.local import run_model
from pipelines.preflight import Check, check_run, done_nodes, require
from steps.core.errors import ExitCode, Reason, SlipwayError
from steps.core.names import service_name
from steps.core.receipts import read_records
from steps.images.builders.plan import PlanBuilder
from steps.store.local import LocalStore
from steps.store.s3 import S3Store
from tests.pipelines.conftest import Heard, Ingested, manifest, slipway
from tests.servers.oci_registry import OciRegistry
from tests.steps.tasks.detection_cases import save_clip

TASK = "feature-extraction"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    return tmp_path / "model"


def model_of(folder: Path | str, *services: str, name: str = "tiny", **spec: str) -> Model:
    text = manifest(name, str(folder), *(services or (TASK,)), **spec).replace("git_lfs", "upload")
    return parse_manifest(text, "model.yaml")


def refusal(model: Model, store: Path | str) -> SlipwayError:
    """What a run of the model is refused for; nothing is made of the store."""
    heard = Heard()
    with pytest.raises(SlipwayError) as caught:
        run_model(model, str(store), heard)
    assert heard.states == []
    assert not Path(store).exists()
    return caught.value


def test_a_sound_model_passes(folder: Path, tmp_path: Path) -> None:
    checks = check_run(model_of(folder), str(tmp_path / "store"))
    assert [check.failure for check in checks if check.failure] == []
    assert [check.what.split()[0] for check in checks] == ["Python", "source", "libraries", "store", "names", "builder"]
    require(checks)


@pytest.mark.fault("refused")
def test_oci_without_a_registry_is_refused(folder: Path, tmp_path: Path) -> None:
    error = refusal(model_of(folder, builder="oci"), tmp_path / "store")
    assert error.reason is Reason.INVALID_INPUT
    assert "SLIPWAY_REGISTRY is not set" in error.message
    assert "SLIPWAY_REGISTRY" in error.hint


@pytest.mark.fault("refused")
def test_cloudbuild_with_a_folder_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_BUILDER", "cloudbuild")
    error = refusal(model_of(folder), tmp_path / "store")
    for part in ("SLIPWAY_REGISTRY is not set", f"The store is {tmp_path / 'store'}", "gs://"):
        assert part in error.message + error.hint


@pytest.mark.fault("refused")
@pytest.mark.parametrize("package", ["torch", "transformers", "bentoml"])
def test_a_missing_library_is_told(package: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    error = refusal(model_of(folder), tmp_path / "store")
    assert error.reason is Reason.MISSING_DEPENDENCY
    assert f"the package {package}" in error.message
    assert "pip install" in error.hint


@pytest.mark.fault("refused")
def test_no_program_that_builds_is_told(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    error = refusal(model_of(folder, builder="local"), tmp_path / "store")
    assert error.reason is Reason.BUILDER_MISSING
    assert "builder local (spec.builder)" in error.message


@pytest.mark.fault("refused")
def test_git_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    model = parse_manifest(manifest("tiny", "https://example.org/a", TASK), "model.yaml")
    error = refusal(model, tmp_path / "store")
    assert error.reason is Reason.MISSING_DEPENDENCY
    assert "git is not installed" in error.message


@pytest.mark.fault("refused")
def test_a_missing_folder_is_told_with_its_path(tmp_path: Path) -> None:
    error = refusal(model_of(tmp_path / "nowhere"), tmp_path / "store")
    assert error.reason is Reason.SOURCE_NOT_FOUND
    assert f"There is no folder {tmp_path / 'nowhere'}" in error.message


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("registry", "right"),
    [
        ("https://r.example/Team/", "write r.example/team."),
        ("http://r.example:5000/x", "plain_http: r.example:5000"),
        ("oci://r.example", "write r.example."),
        ("https://user:hunter2@r.example/x", "r.example/x"),
    ],
)
def test_a_registry_with_a_scheme_is_corrected(
    registry: str, right: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_REGISTRY", registry)
    error = refusal(model_of(folder), tmp_path / "store")
    assert error.reason is Reason.INVALID_INPUT
    assert error.message.startswith("SLIPWAY_REGISTRY: ")
    assert right in error.message
    assert "hunter2" not in str(error)


@pytest.mark.fault("refused")
@pytest.mark.slow
def test_a_registry_that_denies_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with OciRegistry(auth="bearer") as registry:
        monkeypatch.setenv("SLIPWAY_REGISTRY", f"{registry.host}/team")
        error = refusal(model_of(folder, builder="oci"), tmp_path / "store")
        assert error.reason is Reason.ACCESS_DENIED
        assert f"registry {registry.host}/team (SLIPWAY_REGISTRY)" in error.message
        assert "login" in error.hint
    error = refusal(model_of(folder, builder="oci"), tmp_path / "store")
    assert error.reason is Reason.NETWORK_UNREACHABLE
    assert "(SLIPWAY_REGISTRY)" in error.message


@pytest.mark.fault("refused")
def test_a_store_that_is_not_writable_is_named(folder: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "closed").mkdir(mode=0o500)
    error = refusal(model_of(folder), tmp_path / "closed/store")
    assert error.reason is Reason.STORE_UNREADABLE
    assert "(--store)" in error.message


@pytest.mark.fault("refused")
def test_a_name_of_an_image_has_a_limit(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_REGISTRY", "r.example/" + "/".join(["x" * 40] * 4))
    assert check_run(model_of(folder), str(tmp_path))[-2].failure is None
    monkeypatch.setenv("SLIPWAY_REGISTRY", "r.example/" + "/".join(["x" * 44] * 4))
    long = model_of(folder, "zero-shot-image-classification", name="a" * 40)
    error = refusal(long, tmp_path / "store")
    assert error.reason is Reason.INVALID_INPUT
    assert "and 255 are allowed" in error.message
    assert "SLIPWAY_REGISTRY" in error.hint


@pytest.mark.fault("accepted")
def test_a_long_name_of_a_service_is_shortened() -> None:
    task = "zero-shot-image-classification"
    assert service_name("a" * 32, task) == f"{'a' * 32}-{task}"
    names = {service_name(name, task) for name in ("a" * 33, "a" * 34, "b" * 33)}
    assert {len(name) for name in names} == {63}
    assert len(names) == 3
    assert service_name("a" * 33, task).startswith(f"{'a' * 33}-zero-shot-image-")


@pytest.mark.slow
@pytest.mark.hard
@pytest.mark.fault("accepted")
def test_a_service_of_a_long_name_is_served(folder: Path, tmp_path: Path) -> None:
    """Name and task have 64 letters together; the smoke test of a run serves the package."""
    name, task = "a" * 33, "zero-shot-image-classification"
    save_clip(folder)
    (tmp_path / "model.yaml").write_text(manifest(name, str(folder), task).replace("git_lfs", "upload"))
    done = slipway("run", "-f", "model.yaml", "--store", "store", "--json", cwd=tmp_path)
    assert done.returncode == ExitCode.DONE, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (list(result["services"]), result["failures"]) == ([task], {})


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    error = refusal(model_of(tmp_path / "nowhere", builder="oci"), tmp_path / "store")
    assert error.reason is Reason.SOURCE_NOT_FOUND
    assert [line.split(":")[0] for line in error.message.splitlines()] == [
        f"source {tmp_path / 'nowhere'}",
        "builder oci and settings",
    ]


@pytest.mark.slow
def test_what_is_done_is_not_checked(vit_run: Ingested, monkeypatch: pytest.MonkeyPatch) -> None:
    done = done_nodes(read_records(vit_run.context, vit_run.outcome.run), vit_run.context)
    assert done == set(vit_run.outcome.nodes)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert check_run(vit_run.model, str(vit_run.store), done=done) == []
    found = check_run(vit_run.model, str(vit_run.store), done=done - {"image-classification/build"})
    assert [check.what.split()[0] for check in found] == ["Python", "store", "names", "builder"]
    monkeypatch.setenv("SLIPWAY_REGISTRY", "r.example")
    assert "image-classification/build" not in done_nodes(
        read_records(vit_run.context, vit_run.outcome.run), vit_run.context
    ), "it would be built for another registry"


@pytest.mark.slow
def test_it_imports_no_heavy_library(folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from crd.manifest import read_manifest\n"
        "from pipelines.preflight import check_run\n"
        "check_run(read_manifest(Path(sys.argv[1])), sys.argv[2])\n"
        "heavy = ('torch', 'transformers', 'bentoml', 'numpy', 'botocore', 'google.cloud.storage')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    (tmp_path / "model.yaml").write_text(manifest("tiny", str(folder), TASK).replace("git_lfs", "upload"))
    command = [sys.executable, "-c", code, str(tmp_path / "model.yaml"), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "[]"


@pytest.mark.fault("refused")
def test_a_disk_too_small_is_refused_with_numbers(tmp_path: Path) -> None:
    store, free = LocalStore(tmp_path / "store"), shutil.disk_usage(tmp_path).free
    [disk] = disks([("", free // 4)], store, store.scratch, 2, PlanBuilder)
    assert disk.size == 6 * (free // 4)
    with pytest.raises(SlipwayError) as caught:
        require_space([disk])
    assert caught.value.reason is Reason.DISK_FULL
    for part in ("are needed on the disk of", str(tmp_path), "2 services", "are free"):
        assert part in caught.value.message
    assert "--store" in caught.value.hint
    require_space(disks([("", free // 100)], store, store.scratch, 2, PlanBuilder))


def test_what_the_store_has_needs_no_space(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.put("blobs/sha256/aa/aa", [b"x" * 1000])
    [disk] = disks([("blobs/sha256/aa/aa", 1000), ("", 50)], store, store.scratch, 1, PlanBuilder)
    assert disk.size == 50 + 3 * 1050
    bucket = S3Store.from_uri("s3://models/a")
    assert [each.size for each in disks([("", 50)], bucket, tmp_path, 9, PlanBuilder)] == [50]


def test_needs_on_one_disk_are_added_up(tmp_path: Path) -> None:
    need = Need(tmp_path, 600, "one thing")
    require_space([Disk(tmp_path, (need,), 600)])
    with pytest.raises(SlipwayError, match=r"1\.2 kB are needed .*600 B for one thing and 600 B for one thing"):
        require_space([Disk(tmp_path, (need, need), 1199)])


def test_only_what_passes_is_silent() -> None:
    require([Check("a", "fine")])
    failures = (SlipwayError(Reason.DISK_FULL, "no.", hint="h"), SlipwayError(Reason.TOO_LARGE, "n", hint="h"))
    checks = [Check(what, failure=failure) for what, failure in zip("ab", failures, strict=True)]
    with pytest.raises(SlipwayError) as caught:
        require(checks)
    assert (caught.value.reason, caught.value.message, caught.value.hint) == (Reason.DISK_FULL, "a: no.\nb: n", "h")
