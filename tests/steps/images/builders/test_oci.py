"""The builder `oci`: equal inputs give an equal image, byte for byte; a change sends only what changed."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from steps.core.documents import BuildPlan
from steps.core.errors import ExitCode, Reason, SlipwayError
from steps.images.builders.supported import BuilderKind
from tests.servers.oci_registry import Effect, Fault, OciRegistry, digest_of, layer_of
from tests.steps.images.oci_build import ENVIRONMENT, WEIGHTS, OciBuild, docker_config, put_base, wheels

pytestmark = pytest.mark.slow  # they start processes or servers, many times

needs_buildah = pytest.mark.skipif(shutil.which("buildah") is None, reason="buildah is not installed")
MIB = 1 << 20
BASE_LAYERS = 2
PACKAGES, COMPILED, WEIGHTS_LAYER, CODE = range(BASE_LAYERS, BASE_LAYERS + 4)


def layers(oci_build: OciBuild, name: str) -> list[str]:
    return [layer["digest"] for layer in oci_build.registry.image(name)[1]["layers"]]


def test_a_second_build_sends_only_the_manifest(oci_build: OciBuild, tmp_path: Path) -> None:
    first = oci_build.build()
    assert re.fullmatch("sha256:[0-9a-f]{64}", first.image_digest)
    assert oci_build.registry.image(oci_build.name(first))[0] == first.image_digest
    shutil.rmtree(oci_build.root / "receipts")  # else the step has nothing to do
    before = oci_build.registry.received
    assert oci_build.build().image_digest == first.image_digest
    assert oci_build.registry.received - before < 4096
    assert any("made before" in note for note in oci_build.progress.notes)


def test_another_machine_makes_the_same_image(oci_build: OciBuild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = oci_build.build()
    with OciRegistry() as registry:
        put_base(registry)
        monkeypatch.setenv("PIP_FIND_LINKS", str(wheels(tmp_path / "wheels-of-another")))
        monkeypatch.setenv("PYTHONHASHSEED", "99")
        before = os.umask(0o077)
        try:
            other = OciBuild(tmp_path / "a longer name of a folder" / "store", registry)
            # The base's name is in the labels; the digest follows from what it is called, and not from where it came.
            second = other.build(base=f"{oci_build.registry.host}/library/python:3.11-slim")
        finally:
            os.umask(before)
    assert "Installing 2 locked packages for Python 3.11 on amd64." in other.progress.notes
    assert second.image_digest == first.image_digest


def test_a_code_change_sends_no_weights(oci_build: OciBuild) -> None:
    first = oci_build.build()
    before = oci_build.registry.received
    second = oci_build.build(code="# changed\n")
    assert oci_build.registry.received - before < MIB < len(WEIGHTS)
    one, other = layers(oci_build, oci_build.name(first)), layers(oci_build, oci_build.name(second))
    assert [index for index in range(len(one)) if one[index] != other[index]] == [CODE]


def test_the_weights_layer_has_a_fixed_digest(oci_build: OciBuild) -> None:
    outputs = oci_build.build()
    _, manifest, config = oci_build.registry.image(oci_build.name(outputs))
    layer = manifest["layers"][WEIGHTS_LAYER]
    assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar"
    assert layer["digest"] == config["rootfs"]["diff_ids"][WEIGHTS_LAYER]
    # Written down once: another digest would send the weights of every model again.
    assert layer["digest"] == "sha256:4b777d43c7201ffb4cc2099103c265e7bba3e0930ce4ad021a93fb7543cf955a"
    assert WEIGHTS in oci_build.registry.blobs["team/tiny-text-classification"][layer["digest"]]


def test_the_image_matches_the_dockerfile(oci_build: OciBuild) -> None:
    outputs = oci_build.build()
    plan = oci_build.context.read_document(outputs.plan, BuildPlan)
    text = (oci_build.root / plan.dockerfile).read_text().replace("\\\n", "")
    instructions = {
        line.split(" ", 1)[0]: line.split(" ", 1)[1].strip() for line in text.splitlines() if re.match("[A-Z]+ ", line)
    }
    _, _, about = oci_build.registry.image(oci_build.name(outputs))
    config = about["config"]
    assert config["Env"] == ["PATH=/usr/local/bin:/usr/bin", "LANG=C.UTF-8", ENVIRONMENT[2], *instructions["ENV"].split()[1:]]
    assert config["Entrypoint"] == json.loads(instructions["ENTRYPOINT"])
    assert config["User"] == instructions["USER"] == "10001:10001"
    assert config["WorkingDir"] == instructions["WORKDIR"]
    assert list(config["ExposedPorts"]) == [f"{instructions['EXPOSE']}/tcp"]
    assert "Cmd" not in config
    assert config["StopSignal"] == "SIGINT"
    labels = config["Labels"]
    for name, value in re.findall(r'(\S+?)="(.*?)"', instructions["LABEL"]):
        assert labels[name] == value
    assert "--target=/opt/packages" in text
    # What is copied lies in one of our layers, at the same place.
    found = [
        name for layer in range(BASE_LAYERS, CODE + 1) for name in oci_build.registry.files(oci_build.name(outputs), layer)
    ]
    for source in re.findall(r"^COPY (\S+) ", text, flags=re.MULTILINE):
        assert f"bento/{source}" in found
    assert about["created"] == "1970-01-01T00:00:00Z"
    assert len(about["history"]) == len(about["rootfs"]["diff_ids"]) == CODE + 1


def test_labels_name_every_origin(oci_build: OciBuild) -> None:
    digest = put_base(oci_build.registry)
    outputs = oci_build.build()
    _, manifest, about = oci_build.registry.image(oci_build.name(outputs))
    labels = about["config"]["Labels"]
    _, archive = oci_build.archive()
    assert labels["dev.slipway.archive-digest"] == f"sha256:{archive}"
    assert labels["org.opencontainers.image.source"] == "https://forge.example/tiny"
    assert labels["org.opencontainers.image.revision"] == "0" * 40
    assert labels["org.opencontainers.image.licenses"] == "apache-2.0"
    assert labels["org.opencontainers.image.base.digest"] == digest
    assert labels["org.opencontainers.image.base.name"] == f"{oci_build.registry.host}/library/python:3.11-slim"
    assert labels["dev.slipway.set-digest"].startswith("sha256:")
    assert labels["from"] == "base"
    assert manifest["annotations"]["org.opencontainers.image.base.digest"] == digest


def test_every_file_is_there_once_as_roots(oci_build: OciBuild) -> None:
    outputs = oci_build.build()
    plan = oci_build.context.read_document(outputs.plan, BuildPlan)
    context = oci_build.root / plan.context
    wanted = {f"bento/{path.relative_to(context)}" for path in context.rglob("*") if path.is_file()}
    found: list[str] = []
    for layer in range(BASE_LAYERS, CODE + 1):
        for name, member in oci_build.registry.files(oci_build.name(outputs), layer).items():
            assert (member.uid, member.gid, member.mtime, member.uname) == (0, 0, 0, "")
            assert member.mode == (0o755 if member.isdir() else 0o644)
            assert member.isdir() or member.isreg()
            if member.isreg() and name.startswith("bento/"):
                found.append(name)
    assert sorted(found) == sorted(wanted)


def test_packages_fit_the_base_image(oci_build: OciBuild) -> None:
    outputs = oci_build.build()
    repository = oci_build.registry.blobs["team/tiny-text-classification"]
    digests = layers(oci_build, oci_build.name(outputs))
    names = set(oci_build.registry.files(oci_build.name(outputs), PACKAGES))
    assert {"opt/packages/tiny_dep/__init__.py", "opt/packages/tiny_native/__init__.py"} <= names
    assert not {name for name in names if name.startswith("opt/packages/bin") or name.endswith(".pyc")}
    compiled = set(oci_build.registry.files(oci_build.name(outputs), COMPILED))
    assert {name for name in compiled if name.endswith(".pyc")} == {
        "opt/packages/tiny_dep/__pycache__/__init__.cpython-311.pyc",
        "opt/packages/tiny_native/__pycache__/__init__.cpython-311.pyc",  # and not broken.py, which is no Python
    }
    for digest in digests[PACKAGES : COMPILED + 1]:
        text = gzip.decompress(repository[digest])
        assert str(oci_build.root).encode() not in text
        assert b"bin/tiny-dep" not in text
    assert b"the base image" in gzip.decompress(repository[digests[PACKAGES]])


def test_base_layers_are_mounted_or_copied(oci_build: OciBuild) -> None:
    oci_build.build()
    mounts = [path for method, path in oci_build.registry.requests if method == "POST" and "mount=" in path]
    assert len(mounts) == BASE_LAYERS
    with OciRegistry(redirects=True) as elsewhere:  # its layers lie at another address, which gets no token
        put_base(elsewhere)
        outputs = oci_build.build(base=f"{elsewhere.host}/library/python:3.11-slim", code="# other\n")
        assert any(path.startswith("/storage/") for _, path in elsewhere.requests)
    assert oci_build.registry.image(oci_build.name(outputs))[0] == outputs.image_digest


def test_a_registry_without_mounts_gets_the_layers(oci_build: OciBuild) -> None:
    oci_build.registry.mounts = False
    outputs = oci_build.build()
    assert oci_build.registry.image(oci_build.name(outputs))[0] == outputs.image_digest


def test_of_an_index_linux_amd64_is_taken(oci_build: OciBuild) -> None:
    digest = put_base(oci_build.registry, "library/many:1", platforms=("linux/amd64", "linux/arm64", "windows/amd64"))
    outputs = oci_build.build(base=f"{oci_build.registry.host}/library/many:1")
    labels = oci_build.registry.image(oci_build.name(outputs))[2]["config"]["Labels"]
    assert labels["org.opencontainers.image.base.digest"] == digest
    put_base(oci_build.registry, "library/others:1", platforms=("linux/s390x", "windows/amd64"))
    with pytest.raises(SlipwayError, match="is for linux/s390x, windows/amd64, not for linux/amd64") as caught:
        oci_build.build(base=f"{oci_build.registry.host}/library/others:1")
    assert caught.value.reason is Reason.INVALID_INPUT


@pytest.mark.parametrize(
    "path", ["usr/lib/python3.11/os.py", "./usr/local/lib/python3.11/os.py", "opt/python/lib/python3.11/os.py"]
)
def test_a_bases_python_is_found_in_its_layers(oci_build: OciBuild, path: str) -> None:
    files = [layer_of({"etc/os-release": "ID=tests\n"}), layer_of({path: "", "usr/lib/python3/dist-packages/x.py": ""})]
    put_base(oci_build.registry, "library/silent:1", layers=files, config={"config": {}})
    oci_build.registry.faults.append(Fault("GET", f"/blobs/{digest_of(files[1])}", Effect.LOSE))
    outputs = oci_build.build(base=f"{oci_build.registry.host}/library/silent:1")
    assert oci_build.registry.image(oci_build.name(outputs))[0] == outputs.image_digest


@pytest.mark.parametrize(
    ("config", "layers", "message"),
    [
        ({"Env": ["PYTHON_VERSION=3.12.1"]}, {"a": ""}, "has Python 3.12; the packages are locked for 3.11"),
        ({}, {"a": ""}, "No Python was found"),
        ({}, {"usr/lib/python3.11/os.py": "", "usr/lib/python3.12/os.py": ""}, "No Python was found"),
        ({}, {"usr/lib/python3.12/os.py": ""}, "has Python 3.12"),
    ],
)
def test_a_base_without_the_right_python_fails(
    oci_build: OciBuild, config: dict[str, list[str]], layers: dict[str, str], message: str
) -> None:
    put_base(oci_build.registry, "library/wrong:1", layers=[layer_of(layers)], config={"config": config})
    with pytest.raises(SlipwayError, match=message) as caught:
        oci_build.build(base=f"{oci_build.registry.host}/library/wrong:1")
    assert caught.value.reason is Reason.INVALID_INPUT
    assert "3.11" in caught.value.hint
    assert "team/tiny-text-classification" not in oci_build.registry.manifests


def test_a_missing_registry_names_the_setting(oci_build: OciBuild) -> None:
    with pytest.raises(SlipwayError, match=f"The builder {BuilderKind.OCI} pushes") as caught:
        oci_build.build(registry="")
    assert caught.value.reason is Reason.INVALID_INPUT
    assert "SLIPWAY_REGISTRY" in caught.value.hint
    assert "slipway.toml" in caught.value.hint


def test_a_missing_package_shows_pips_output(oci_build: OciBuild) -> None:
    with pytest.raises(SlipwayError, match="No matching distribution found for nowhere==9") as caught:
        oci_build.build(requirements="tiny-dep==1.0\nnowhere==9\n")
    assert caught.value.reason is Reason.BUILD_FAILED
    assert "PIP_FIND_LINKS" in caught.value.hint
    assert list((oci_build.root / "tmp").glob("step-*")) == []


def test_an_unreachable_index_is_transient_without_password(oci_build: OciBuild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://ada:hush-hush@127.0.0.1:9/simple")
    with pytest.raises(SlipwayError) as caught:
        oci_build.build(requirements="nowhere==9\n")
    assert caught.value.reason is Reason.NETWORK_UNREACHABLE
    assert caught.value.reason.exit_code is ExitCode.TRANSIENT
    assert "hush-hush" not in oci_build.messages(caught.value)


def test_a_changed_cached_layer_is_named(oci_build: OciBuild) -> None:
    oci_build.build()
    digest = layers(oci_build, oci_build.name(oci_build.build(code="# 1")))[PACKAGES].removeprefix("sha256:")
    kept = oci_build.root / f"blobs/sha256/{digest[:2]}/{digest}"
    kept.chmod(0o644)
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    del oci_build.registry.blobs["team/tiny-text-classification"]
    with pytest.raises(SlipwayError, match=digest) as caught:
        oci_build.build(code="# 2")
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert str(kept) in caught.value.message
    kept.unlink()
    assert oci_build.build(code="# 2").image_digest


def test_the_plan_says_what_was_pushed(oci_build: OciBuild) -> None:
    outputs = oci_build.build()
    plan = oci_build.context.read_document(outputs.plan, BuildPlan)
    assert plan.image == outputs.image
    assert plan.registry == f"{oci_build.registry.host}/team"
    assert plan.image_digest == outputs.image_digest
    assert plan.commands == []
    assert [layer.purpose for layer in plan.layers] == [
        "base image",
        "2 locked packages",
        "weights and tokenizer",
        "code of the service",
    ]


@needs_buildah
def test_buildah_pulls_and_mounts_the_image(oci_build: OciBuild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = oci_build.build()
    driver = "overlay" if os.geteuid() == 0 else "vfs"
    lines = ["[storage]", f'driver = "{driver}"', f'graphroot = "{tmp_path}/graph"', f'runroot = "{tmp_path}/run"', ""]
    (tmp_path / "storage.conf").write_text("\n".join(lines))
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
    monkeypatch.setenv("BUILDAH_ISOLATION", "chroot")
    docker_config(tmp_path / "docker")

    def buildah(*arguments: str) -> str:
        done = subprocess.run(["buildah", *arguments], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    try:
        name = buildah("from", "--tls-verify=false", "--name", "tiny", f"docker://{outputs.image}")
        about = json.loads(buildah("inspect", name))
        assert about["FromImageDigest"] == outputs.image_digest
        assert about["OCIv1"]["config"]["User"] == "10001:10001"
        copied = tmp_path / "copied"
        script = f"cp -r $(buildah mount {name}) {copied}"
        unshare = [] if os.geteuid() == 0 else ["buildah", "unshare"]
        subprocess.run([*unshare, "sh", "-c", script], check=True, capture_output=True)
    finally:
        if driver == "overlay":  # its mounts outlive the program
            subprocess.run(["umount", "--recursive", str(tmp_path / "graph/overlay")], check=False, capture_output=True)
    assert (copied / "bento/src/model/model.safetensors").read_bytes() == WEIGHTS
    assert (copied / "opt/packages/tiny_native/__init__.py").read_text() == "HERE = 'the base image'\n"
    assert (copied / "usr/lib/os-release").read_text() == "ID=tests\n"
