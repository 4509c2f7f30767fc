"""The image of a packaged service, described once.

It is made in two ways: from the Dockerfile of the build context, which any program that builds images takes, and by the
builder ``oci``, which assembles the layers itself. Both use this module, so both put the same files into the same places:
packages under ``/opt/packages``, the build context under ``/bento``, weights in a layer between the two. Nothing in the image
needs a shell, root, a script's first line (``#!``) or a writable file system, except for ``/tmp``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from steps.core import environment

HOME = "/bento"
PACKAGES = "/opt/packages"
REQUIREMENTS = "env/python/requirements.txt"
DOCKERFILE = "env/docker/Dockerfile"
PYTHON_VERSION = "3.11"  # the minor version that the requirements are locked for
USER = "10001:10001"
PORT = 3000
ENTRYPOINT = ("python3", "-P", f"{HOME}/src/serving/server.py", "--host", "0.0.0.0", "--port", str(PORT))
ENVIRONMENT: Mapping[str, str] = {
    "LANG": "C.UTF-8",
    **environment.PYTHON,
    **environment.OFFLINE,
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONPATH": PACKAGES,
    "BENTOML_HOME": "/tmp/bentoml",
    "HF_HOME": "/tmp/huggingface",
}
# Of pip in every case. Scripts go to bin/, which no image keeps: their first line names the Python that wrote them.
PIP_OPTIONS = ("--no-cache-dir", "--no-compile", "--disable-pip-version-check", "--no-input", "--only-binary=:all:")

# Without compiled modules a start spends half of its CPU time on compiling, in every pod: the root file system is read-only.
# unchecked-hash (PEP 552): the file does not depend on when it was made, and Python does not look for changes of the source.
COMPILE_OPTIONS = ("-m", "compileall", "-qq", "--invalidation-mode=unchecked-hash")


@dataclass(frozen=True)
class ContextLayer:
    """A layer of files of the build context; each is in the image under ``HOME`` with the same path."""

    purpose: str
    sources: tuple[str, ...]  # files and folders


# In the order of how seldom they change: a change of the code does not send the weights again.
WEIGHTS = ContextLayer("weights and tokenizer", ("src/model",))
CODE = ContextLayer(
    "code of the service",
    ("README.md", "bento.yaml", "env", "src/golden", "src/lock.json", "src/service.py", "src/serving", "src/slipway.json"),
)


def labels(about: Mapping[str, object], archive_digest: str) -> dict[str, str]:
    """The labels whose values come from the model: data, never text of a Dockerfile.

    Args:
        about: the package's description of itself, its ``src/slipway.json``.
        archive_digest: sha256 of the archive, in hex.

    Returns:
        Values by the names of https://github.com/opencontainers/image-spec/blob/main/annotations.md; empty ones are absent.
    """
    found = {
        "org.opencontainers.image.title": f"{about['name']}: {about['task']}",
        "org.opencontainers.image.source": about["source"],
        "org.opencontainers.image.revision": about["revision"],
        "org.opencontainers.image.licenses": about["licence"],
        "dev.slipway.archive-digest": f"sha256:{archive_digest}",
    }
    return {name: str(value) for name, value in found.items() if value}


def own_labels(about: Mapping[str, object]) -> dict[str, str]:
    """The labels whose values Slipway made itself, from ``src/slipway.json``; they are in the Dockerfile."""
    names = {"dev.slipway.set-digest": "setDigest", "dev.slipway.task": "task", "dev.slipway.version": "slipway"}
    return {label: str(about[name]) for label, name in names.items()}
