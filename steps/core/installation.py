"""How this installation of Slipway gets an optional library: the command to type, for a checkout and for a wheel.

The distribution's extras (``s3``, ``gcp``, ``ml`` …) are declared in ``pyproject.toml``. In a checkout they are installed from
there, with the versions of ``steps/package/pins.txt``. An installed wheel need not have come from a package index, so there the
extra's own requirements are named, which its metadata lists (core metadata specification, ``Requires-Dist``), and the tool
that made the environment: pip, pipx or uv.
"""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import sys
from pathlib import Path

DISTRIBUTION = "slipway-models"
PINS = "steps/package/pins.txt"
ROOT = Path(__file__).parents[2]  # of the checkout, or site-packages


def install_command(*extras: str) -> str:
    """The command that installs these extras into the environment of this process.

    Args:
        extras: Names from ``[project.optional-dependencies]``.

    Returns:
        One line for a shell, which works in any folder.
    """
    if is_checkout():
        python = Path(sys.executable)
        place = shlex.quote(f"{ROOT}[{','.join(extras)}]")
        return f"{shlex.quote(str(python))} -m pip install -c {shlex.quote(str(ROOT / PINS))} -e {place}"
    packages = shlex.join(requirement for extra in extras for requirement in requirements_of(extra))
    environment = Path(sys.prefix)
    pins = shlex.quote(str(ROOT / PINS))
    if (environment / "pipx_metadata.json").exists():
        return f"pipx inject {shlex.quote(environment.name)} {packages}"
    if (environment / "uv-receipt.toml").exists():
        return f"uv pip install --python {shlex.quote(sys.executable)} -c {pins} {packages}"
    return f"{shlex.quote(sys.executable)} -m pip install -c {pins} {packages}"


def is_checkout() -> bool:
    """Whether this code runs from its repository: an editable installation, or none at all."""
    return (ROOT / "pyproject.toml").is_file()


def requirements_of(extra: str, distribution: str = DISTRIBUTION) -> list[str]:
    """Return what an extra of an installed distribution requires, such as ``botocore[crt]>=1.40``; empty if unknown."""
    try:
        declared = importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    marker = re.compile(rf"^(.*?)\s*;.*\bextra\s*==\s*['\"]{re.escape(extra)}['\"]")
    return [found.group(1) for line in declared if (found := marker.match(line))]
