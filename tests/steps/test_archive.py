"""The archive: what every reader of ``.tar.gz`` reads, weights stored, text compressed, and one digest wherever it is made."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from steps.archive import STEP as ARCHIVE
from steps.archive import ArchiveInputs
from steps.core.contract import Context
from steps.core.digest import sha256_bytes, sha256_file
from steps.core.documents import ModelFacts, RenderedPackage
from steps.core.lock import Lock, LockedFile, blob_key
from steps.core.receipts import execute
from steps.fetch import STEP as FETCH
from steps.fetch import FetchInputs
from steps.render import STEP as RENDER
from steps.render import RenderInputs
from steps.sources.supported import SourceKind
from steps.store.local import LocalStore
from tests.steps.packages import Made


@pytest.mark.slow
def test_the_usual_programs_read_it(made: Made) -> None:
    subprocess.run(["gzip", "-t", str(made.path)], check=True)
    listed = subprocess.run(["tar", "-tzf", str(made.path)], check=True, capture_output=True, text=True).stdout.splitlines()
    assert listed == sorted(listed)
    assert {"bento.yaml", "src/service.py", "src/lock.json", "env/docker/Dockerfile"} <= set(listed)
    with tarfile.open(made.path) as tar:
        assert tar.getnames() == listed


@pytest.mark.slow
def test_it_holds_every_file_of_the_lock(made: Made) -> None:
    with tarfile.open(made.path) as tar:
        for file in made.read_lock().files:
            member = tar.extractfile(f"src/model/{file.path}")
            assert member is not None
            assert sha256_bytes(member.read()) == file.sha256
    assert made.read_lock().weights


@pytest.mark.slow
def test_headers_hold_no_owner_and_no_time(made: Made) -> None:
    with tarfile.open(made.path) as tar:
        members = tar.getmembers()
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime, m.mode, m.type) for m in members} == {
        (0, 0, "", "", 0, 0o644, tarfile.REGTYPE)
    }
    assert made.path.read_bytes()[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name, no time, no system


def archived(context: Context, contents: dict[str, bytes], texts: dict[str, str]) -> bytes:
    """What the step makes of a model with these files and a package with these texts."""
    for data in contents.values():
        context.publish(blob_key(sha256_bytes(data)), [data], size=len(data), sha256=sha256_bytes(data))
    files = [LockedFile(path=path, size=len(data), sha256=sha256_bytes(data)) for path, data in contents.items()]
    lock = Lock.from_files(files, source_kind="upload", source="/somewhere", revision="")
    rendered = RenderedPackage(task="text-classification", bento="tiny:1", files=texts, binaries={})
    inputs = ArchiveInputs(
        name="tiny",
        service="text-classification",
        lock=context.publish_document("locks", lock),
        render=context.publish_document("renders", rendered),
    )
    return b"".join(context.store.read(execute(ARCHIVE, inputs, context).outputs.archive))


def test_an_archive_is_hardly_larger_than_its_files(context: Context) -> None:
    weights = random.Random(7).randbytes(5_000_000)
    data = archived(context, {"model.safetensors": weights}, {"src/service.py": "pass\n"})
    assert len(data) - len(weights) < len(weights) * 0.001 + 4096
    assert gzip.decompress(data).count(weights) == 1


def test_long_paths_and_empty_files_are_kept(context: Context) -> None:
    path = "/".join(["deep" * 10] * 5)
    data = archived(context, {"model.safetensors": b"w", path: b"long", "empty.txt": b""}, {})
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {member.name: member for member in tar.getmembers()}
        assert members[f"src/model/{path}"].size == 4
        assert members["src/model/empty.txt"].size == 0


def step_process(name: str, store: Path, flags: dict[str, str], environment: dict[str, str], cwd: Path) -> dict[str, str]:
    command = [sys.executable, "-m", f"steps.{name}", "--store", str(store)]
    command += itertools.chain.from_iterable((f"--{flag}", value) for flag, value in flags.items())
    kept = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        command, env=kept | environment, cwd=cwd, umask=0o077, check=True, capture_output=True, text=True, timeout=60
    )
    outputs: dict[str, str] = json.loads(done.stdout)
    return outputs


@pytest.mark.slow
def test_surroundings_do_not_change_the_digest(tmp_path: Path, vit_folder: Path, viewer: Made) -> None:
    source = tmp_path / "model"
    shutil.copytree(vit_folder, source)
    here = Context(store=LocalStore(tmp_path / "here"), scratch=tmp_path / "here/tmp")
    facts = viewer.context.read_document(viewer.facts, ModelFacts)
    fetch = FetchInputs(source_kind=SourceKind.UPLOAD, source=str(source))
    lock = execute(FETCH, fetch, here).outputs.lock
    names = {"name": "tiny", "service": viewer.service}
    key = here.publish_document("facts", facts)
    render = execute(RENDER, RenderInputs(**names, lock=lock, facts=key), here).outputs.render
    first = execute(ARCHIVE, ArchiveInputs(**names, lock=lock, render=render), here).outputs

    shutil.rmtree(source)
    source.mkdir()
    for number, path in enumerate(sorted(vit_folder.iterdir(), reverse=True)):
        shutil.copyfile(path, source / path.name)
        (source / path.name).chmod(0o600)
        os.utime(source / path.name, (number, number))
    there = Context(store=LocalStore(tmp_path / "there"), scratch=tmp_path / "there/tmp")
    slower = there.publish_document("facts", facts.model_copy(update={"load_seconds": 99.0, "peak_rss_bytes": 1}))
    odd = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "LANG": "tr_TR.UTF-8", "PYTHONHASHSEED": "7", "HOME": str(tmp_path)}
    store = tmp_path / "there"
    lock = step_process("fetch", store, {"source-kind": "upload", "source": str(source)}, odd, tmp_path)["lock"]
    render = step_process("render", store, {**names, "lock": lock, "facts": slower}, odd, tmp_path)["render"]
    second = step_process("archive", store, {**names, "lock": lock, "render": render}, odd, tmp_path)
    assert second["archive_digest"] == first.archive_digest
    assert second["archive"] == first.archive
    assert sha256_file(store / second["archive"]) == first.archive_digest
