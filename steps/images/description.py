"""The image of a packaged service, described once.

Two ways lead to it: the Dockerfile of the build context, which any program that builds images takes, and the builder ``oci``,
which assembles the layers itself. Both read what stands here, so both put the same things into the same places: packages
under ``/opt/packages``, the build context under ``/bento``, weights in a layer between the two. Nothing in the image needs a
shell, root, a script's first line (``#!``) or a file system that can be written to, except for ``/tmp``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HOME = "/bento"
PACKAGES = "/opt/packages"
REQUIREMENTS = "env/python/requirements.txt"
DOCKERFILE = "env/docker/Dockerfile"
PYTHON_VERSION = "3.11"  # the minor version that the requirements are locked for
USER = "10001:10001"
PORT = 3000
ENTRYPOINT = ("python3", "-m", "bentoml", "serve", HOME, "--host", "0.0.0.0", "--port", str(PORT))
ENVIRONMENT: Mapping[str, str] = {
    "LANG": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONPATH": PACKAGES,
    "BENTOML_HOME": "/tmp/bentoml",
    "BENTOML_DO_NOT_TRACK": "True",
    "HF_HUB_OFFLINE": "1",
    "HF_HOME": "/tmp/huggingface",
}
# What pip is told in every case. Scripts go to bin/, which no image keeps: their first line names the Python that wrote them.
PIP_OPTIONS = ("--no-cache-dir", "--no-compile", "--disable-pip-version-check", "--no-input", "--only-binary=:all:")

# Without them a start spends half of its CPU time on compiling, in every pod anew: the root file system stays as it is.
# unchecked-hash (PEP 552): nothing in such a file depends on when it was made, and nobody looks for changes of the source.
COMPILE_OPTIONS = ("-m", "compileall", "-qq", "--invalidation-mode=unchecked-hash")


@dataclass(frozen=True)
class ContextLayer:
    """A layer of files of the build context: each lies in the image under ``HOME`` with the same path."""

    purpose: str
    sources: tuple[str, ...]  # files and folders


# From what seldom changes to what does: a change of the code ships no weights again.
WEIGHTS = ContextLayer("weights and tokenizer", ("src/model",))
CODE = ContextLayer(
    "code of the service",
    ("README.md", "bento.yaml", "env", "src/golden", "src/lock.json", "src/service.py", "src/serving", "src/slipway.json"),
)


def labels(about: Mapping[str, Any], archive_digest: str) -> dict[str, str]:
    """The labels that hold the model's own words, from what the package says of itself (``slipway.json``), by the names of
    the OCI image specification (annotations): data, never text of a Dockerfile."""
    found = {
        "org.opencontainers.image.title": f"{about['name']}: {about['task']}",
        "org.opencontainers.image.source": about["source"],
        "org.opencontainers.image.revision": about["revision"],
        "org.opencontainers.image.licenses": about["licence"],
        "dev.slipway.archive-digest": f"sha256:{archive_digest}",
    }
    return {name: value for name, value in found.items() if value}


def own_labels(about: Mapping[str, Any]) -> dict[str, str]:
    """The labels whose values Slipway made itself: they stand in the Dockerfile."""
    return {
        "dev.slipway.set-digest": about["setDigest"],
        "dev.slipway.task": about["task"],
        "dev.slipway.version": about["slipway"],
    }
