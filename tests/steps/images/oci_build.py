"""What the builder ``oci`` assembles an image of: a tiny package, a folder of tiny wheels, a base image in a registry."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steps.build import STEP, BuildInputs, BuildOutputs
from steps.core.contract import Context
from steps.core.documents import ModelFacts
from steps.core.lock import Lock, LockedFile
from steps.core.receipts import execute
from steps.images.builders.supported import BuilderKind
from steps.package.tar_writer import Entry, tar_gz
from steps.render import render
from steps.store.local import LocalStore
from steps.tasks.table import resolve
from tests.conftest import FakeClock, RecordedProgress
from tests.servers.oci_registry import OciRegistry, layer_of

SERVICE = "text-classification"
REQUIREMENTS = "tiny-dep==1.0\ntiny-native==2.0\n"
WEIGHTS = random.Random(7).randbytes(3 << 20)  # more than any change of the code may send
BASE = "library/python:3.11-slim"
ENVIRONMENT = ["PATH=/usr/local/bin:/usr/bin", "LANG=C", "PYTHON_VERSION=3.11.9"]


def wheel(folder: Path, name: str, version: str, tag: str, files: dict[str, str], *, script: str = "") -> None:
    """A wheel (PEP 427) of these files; ``script`` names a function for a command of the package's name."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    pure = "true" if tag.endswith("any") else "false"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: {pure}\nTag: {tag}\n",
    }
    if script:
        contents[f"{info}/entry_points.txt"] = f"[console_scripts]\n{name} = {script}\n"
    lines = []
    for path, text in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(text.encode())}\n")
    contents[f"{info}/RECORD"] = "".join(lines) + f"{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-{version}-{tag}.whl", "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)


def wheels(folder: Path) -> Path:
    """A folder with what ``REQUIREMENTS`` wants, one wheel of which fits only the base image, and others that do not."""
    wheel(folder, "tiny-dep", "1.0", "py3-none-any", {"tiny_dep/__init__.py": "def main(): ...\n"}, script="tiny_dep:main")
    for tag, text in {
        "cp311-cp311-manylinux_2_17_x86_64": "HERE = 'the base image'\n",
        "cp311-cp311-manylinux_2_17_aarch64": "HERE = 'another machine'\n",
        "cp312-cp312-manylinux_2_17_x86_64": "HERE = 'another Python'\n",
        "cp311-cp311-macosx_11_0_arm64": "HERE = 'another system'\n",
    }.items():
        wheel(folder, "tiny-native", "2.0", tag, {"tiny_native/__init__.py": text, "tiny_native/broken.py": "def (:\n"})
    return folder


def put_base(registry: OciRegistry, name: str = BASE, **changes: Any) -> str:
    """A base image with a Python that says which it is; returns the digest of its manifest."""
    layers = [layer_of({"usr/lib/os-release": "ID=tests\n"}), layer_of({"usr/local/bin/python3": "no program\n" * 99})]
    config = {"config": {"Env": ENVIRONMENT, "Cmd": ["python3"], "Labels": {"from": "base"}, "StopSignal": "SIGINT"}}
    return registry.put_image(name, changes.pop("layers", layers), {**config, **changes.pop("config", {})}, **changes)


@dataclass
class OciBuild:
    """A store with archives of one model, and the builds of their images."""

    root: Path
    registry: OciRegistry
    progress: RecordedProgress = field(default_factory=RecordedProgress)
    clock: FakeClock = field(default_factory=FakeClock)

    @property
    def context(self) -> Context:
        return Context(store=LocalStore(self.root), scratch=self.root / "tmp", clock=self.clock, progress=self.progress)

    def archive(self, *, code: str = "", requirements: str = REQUIREMENTS) -> tuple[str, str]:
        """The store's key and the sha256 of an archive whose service ends with ``code``."""
        model = {"config.json": b"{}\n", "model.safetensors": WEIGHTS}
        files = [LockedFile(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest()) for path, data in model.items()]
        lock = Lock.from_files(files, source_kind="git_lfs", source="https://forge.example/tiny", revision="0" * 40)
        facts = ModelFacts(
            framework="transformers",
            architecture="Tiny",
            model_type="tiny",
            parameters=1,
            dtypes={},
            labels=2,
            licence="apache-2.0",
            versions={},
            load_seconds=0,
            peak_rss_bytes=0,
            expected={},
        )
        rendered = render("tiny", resolve(SERVICE), lock, facts)
        texts = {**rendered.files, "env/python/requirements.txt": requirements}
        texts["src/service.py"] += code
        contents = {path: text.encode() for path, text in texts.items()}
        contents |= {path: base64.b64decode(text) for path, text in rendered.binaries.items()}
        contents |= {f"src/model/{path}": data for path, data in model.items()}
        data = b"".join(tar_gz(Entry(path, len(text), [text]) for path, text in contents.items()))
        digest = hashlib.sha256(data).hexdigest()
        key = f"archives/{digest}.tar.gz"
        self.context.store.put(key, [data])
        return key, digest

    def build(self, *, base: str = "", registry: str | None = None, **archive: str) -> BuildOutputs:
        """Do the step ``build`` on such an archive. Without an address the base and the target lie in this registry."""
        key, digest = self.archive(**archive)
        inputs = BuildInputs(
            name="tiny",
            service=SERVICE,
            archive=key,
            archive_digest=digest,
            builder=BuilderKind.OCI,
            registry=f"{self.registry.host}/team" if registry is None else registry,
            base_image=base or f"{self.registry.host}/{BASE}",
        )
        return execute(STEP, inputs, self.context).outputs

    def name(self, outputs: BuildOutputs) -> str:
        """The image as the registry knows it, ``REPOSITORY:TAG``."""
        return outputs.image.partition("/")[2]

    def messages(self, error: object = "") -> str:
        """All texts that a person could read."""
        return "\n".join([*self.progress.notes, str(error), getattr(error, "hint", "")])


def docker_config(folder: Path, **content: Any) -> Path:
    """A configuration of Docker's in a folder for DOCKER_CONFIG."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
