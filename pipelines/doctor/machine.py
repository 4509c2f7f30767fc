"""What must be installed here for `slipway run`, and what the other commands need besides."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Iterator

from pipelines.cluster.argo import INSTALL_HINT, PROGRAM
from pipelines.doctor.finding import MACHINE, Finding
from steps.core.errors import missing_extra
from steps.serving.walls.landlock import landlock_abi

PACKAGES = {"torch": "ml", "transformers": "ml", "bentoml": "ml", "hera": "pipelines", "kubernetes": "operator"}


def machine() -> Iterator[Finding]:
    """Check Python, the packages and the programs."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(MACHINE, "Python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")
    for package, extra in PACKAGES.items():
        yield _package(package, extra)
    git = shutil.which("git")
    yield Finding(MACHINE, "git", git is not None, git or "", "apt install git, brew install git, …")
    argo = shutil.which(PROGRAM)
    yield Finding(MACHINE, f"{PROGRAM}, for slipway retry", argo is not None, argo or "", INSTALL_HINT, required=False)
    abi = landlock_abi()
    yield Finding(
        MACHINE,
        "walls around models",
        abi > 0,
        f"Landlock (ABI {abi}), audit hook" if abi else "audit hook alone: Python's own opens, not those of compiled libraries",
        "Landlock is in Linux 5.13 and newer, where the list in /sys/kernel/security/lsm has it",
        required=False,
    )


def _package(package: str, extra: str) -> Finding:
    try:
        return Finding(MACHINE, package, True, importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        # `slipway run` needs the first three; the others are for clusters.
        return Finding(MACHINE, package, False, "", missing_extra(extra).hint, required=extra == "ml")
