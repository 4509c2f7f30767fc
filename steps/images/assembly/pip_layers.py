"""The layers with Python packages: what pip installs for the base image's Python, whatever Python and system this is.

pip runs in a process of its own and takes wheels only, so no code of a package runs here. It finds packages by its own settings
(``PIP_INDEX_URL``, ``PIP_EXTRA_INDEX_URL``, ``PIP_FIND_LINKS``, ``PIP_NO_INDEX``, ``pip.conf``); with a folder of wheels it
needs no network. Scripts are left out of its result: their first line names this machine's Python.

Compiled modules have a layer of their own above, because releases of one Python compile a few modules differently: of the
11 696 modules of a vision service 3.11.2 and 3.11.7 differ in 32. Without a Python of the base's minor
version on this machine, the layer is missing, and the service starts more slowly.

The layers are cached in the store. The key is a digest of everything that they depend on: requirements, Python, platform, and
the addresses in pip's variables, without the credentials in them. A second image with the same packages does not run pip, and
all who share the store get the same layers. If a wheel is replaced under the same version, the cached layers stay; delete
``layers/`` in the store to have them made again.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from steps.core.contract import Context, Document
from steps.core.digest import canonical_json, sha256_bytes, verified_chunks
from steps.core.environment import for_compiler, for_pip
from steps.core.errors import Reason, SlipwayError
from steps.core.json_reader import InvalidJsonError, read_model
from steps.core.lock import blob_key
from steps.core.process import run_program
from steps.core.progress import Progress
from steps.core.redaction import redact, without_userinfo
from steps.images.assembly.layers import Layer, compressed_layer, files_below
from steps.images.description import COMPILE_OPTIONS, PACKAGES, PIP_OPTIONS, REQUIREMENTS
from steps.images.registry.repository import LAYER, Descriptor

VERSION = 3  # of the rules below and of the writers of tar and gzip: another version makes other layers
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # OCI's name of an architecture: the name in wheels
# The newest C library that wheels may need (PEP 600): that of 2018, which every base image of today has.
GLIBC = 28
LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
PIP_SOURCES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX")
_UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|Read timed out|ConnectionResetError|Temporary failure in name resolution"
    r"|\b(429|50[0234]) (Client|Server) Error|ProtocolError|IncompleteRead"
)


class CachedLayer(Document):
    """A layer in the store: its digests (hex, and ``sha256:…`` before compression) and its size in bytes."""

    purpose: str
    sha256: str
    size: int
    diff_id: str


class CachedLayers(Document):
    """The layers of a set of packages, from the lowest. Stored under ``layers/``."""

    layers: tuple[CachedLayer, ...]


def package_layers(folder: Path, python: str, architecture: str, context: Context, scratch: Path) -> list[Layer]:
    """The layers with the packages of a build context's requirements, from the store or made now.

    Args:
        folder: the build context.
        python: minor version of the base image's Python, such as ``3.11``.
        architecture: the base image's architecture by its OCI name.
        context: the step's; its store caches the layers.
        scratch: a folder for what pip installs.

    Raises:
        SlipwayError: ``BuildFailed`` with the end of pip's output, ``NetworkUnreachable``, ``DiskFull``, ``MissingDependency``
            without pip, ``InvalidInput`` for an architecture without wheels.
    """
    requirements = (folder / REQUIREMENTS).read_text()
    if architecture not in MACHINES:
        raise SlipwayError(Reason.INVALID_INPUT, f"The base image is for {architecture}; supported are {', '.join(MACHINES)}.")
    compiler = find_python(python)
    places = {name: without_userinfo(os.environ[name]) for name in PIP_SOURCES if name in os.environ}
    identity = [VERSION, requirements, python, architecture, PIP_OPTIONS, PACKAGES, bool(compiler), places]
    key = f"layers/{sha256_bytes(canonical_json(identity))}.json"
    cached = _read(key, context)
    if cached:
        context.progress.note("The layers of packages were made before.")
    else:
        made = _make(folder / REQUIREMENTS, python, architecture, compiler, scratch, context.progress)
        for layer, path in made:
            context.store.put_file(blob_key(layer.sha256), path)
        cached = CachedLayers(layers=tuple(layer for layer, _ in made))
        # The first writer's layers count: two runs at once must not make two images.
        if not context.store.put(key, [canonical_json(cached.model_dump())]):
            cached = _read(key, context) or cached
    return [_layer(layer, context) for layer in cached.layers]


def find_python(minor: str) -> str:
    """A Python of this minor version on this machine; empty where there is none."""
    return sys.executable if minor == f"{sys.version_info[0]}.{sys.version_info[1]}" else shutil.which(f"python{minor}") or ""


def platforms(architecture: str) -> list[str]:
    """The platform tags whose wheels run on the base image, the best first."""
    machine = MACHINES[architecture]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 4, -1)]
    for minor, name in LEGACY.items():
        if minor == 17 or machine == "x86_64":
            tags.insert(tags.index(f"manylinux_2_{minor}_{machine}") + 1, f"{name}_{machine}")
    return [*tags, f"linux_{machine}"]


def remove_scripts(folder: Path) -> None:
    """Remove the scripts that pip wrote, and their lines in each package's ``RECORD`` (PEP 376)."""
    scripts = folder / "bin"
    for path in sorted(scripts.rglob("*"), reverse=True) if scripts.is_dir() else ():
        path.unlink()
    if scripts.is_dir():
        scripts.rmdir()
    for record in folder.glob("*.dist-info/RECORD"):
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(sorted(line for line in lines if not line.startswith("../../bin/"))))


def _read(key: str, context: Context) -> CachedLayers | None:
    """What is cached with this key; None for nothing, for a damaged record, and where a layer itself is gone."""
    if context.store.size(key) is None:
        return None
    try:
        cached = read_model(context.read_small(key), CachedLayers)
    except (ValidationError, InvalidJsonError):
        return None
    complete = all(context.store.size(blob_key(layer.sha256)) == layer.size for layer in cached.layers)
    return cached if complete else None


def _layer(cached: CachedLayer, context: Context) -> Layer:
    key = blob_key(cached.sha256)

    def chunks() -> Iterator[bytes]:
        return verified_chunks(context.store.read(key), sha256=cached.sha256, size=cached.size, what=context.store.locate(key))

    return Layer(Descriptor(f"{LAYER}+gzip", f"sha256:{cached.sha256}", cached.size), cached.diff_id, cached.purpose, chunks)


def _make(
    requirements: Path, python: str, architecture: str, compiler: str, scratch: Path, progress: Progress
) -> list[tuple[CachedLayer, Path]]:
    """Install, compile, and write the layers to files."""
    count = requirements.read_text().count("==")
    progress.note(f"Installing {count} locked packages for Python {python} on {architecture}.")
    installed = scratch / "packages"
    _install(requirements, installed, python, architecture, scratch)
    remove_scripts(installed)
    if compiler:
        progress.note("Compiling them.")
        compile_all(compiler, installed)
    else:
        progress.note(f"There is no python{python} here to compile them: the service will start more slowly.")
    files = files_below(installed, [""], PACKAGES)
    parts = {
        f"{count} locked packages": [file for file in files if "/__pycache__/" not in file.path],
        "the same, compiled": [file for file in files if "/__pycache__/" in file.path],
    }
    made = []
    for name, (purpose, part) in zip(("packages", "compiled"), parts.items(), strict=True):
        if part:
            path = scratch / f"{name}.tar.gz"
            layer = compressed_layer(part, purpose, path)
            sha256 = layer.blob.digest.removeprefix("sha256:")
            made.append((CachedLayer(purpose=purpose, sha256=sha256, size=layer.blob.size, diff_id=layer.diff_id), path))
    return made


def compile_all(python: str, folder: Path) -> None:
    """Compile all modules, in order, in one isolated process. A file that is not Python stays as it is."""
    run_program([python, "-I", *COMPILE_OPTIONS, "-s", str(folder), "-p", PACKAGES, str(folder)], str, for_compiler())


def _install(requirements: Path, target: Path, python: str, architecture: str, scratch: Path) -> None:
    command = [sys.executable, "-P", "-m", "pip", "install", *PIP_OPTIONS, "--progress-bar=off"]
    command += [f"--platform={tag}" for tag in platforms(architecture)]
    command += [f"--python-version={python}", "--implementation=cp", f"--target={target}", f"--requirement={requirements}"]
    environment = for_pip(scratch)  # which is on the disk that the step may fill
    ended = run_program(command, redact, environment)
    if ended.exit_code == 0:
        return
    text = ended.last_lines
    if "No module named pip" in text:
        raise SlipwayError(Reason.MISSING_DEPENDENCY, "pip is missing.", hint=f"Run `{sys.executable} -m ensurepip`.")
    reason = Reason.BUILD_FAILED
    if "No space left on device" in text:
        reason = Reason.DISK_FULL
    elif _UNREACHABLE.search(text):
        reason = Reason.NETWORK_UNREACHABLE
    raise SlipwayError(
        reason,
        f"pip failed ({ended.exit_code}):\n{text}",
        hint="pip takes its index or folder of wheels from PIP_INDEX_URL, PIP_EXTRA_INDEX_URL and PIP_FIND_LINKS.",
    )
