"""Exact versions, all in one place: ``steps/package/pins.txt``, and the files that are made from it.

``python -m steps.package.pins`` writes the versions of this environment to ``pins.txt``, with which everything is installed
(``pip install -c``). From them it makes the complete list of requirements of each family of services and of each of Slipway's
own images, and the files that say which classes the pinned transformers has and which libraries they need. A list holds only
packages that are needed, over all dependencies; a test proves the lists fresh.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from steps.tasks import architectures, optional_libraries, scan_transformers
from steps.tasks.families import PACKAGES

PINS = Path(__file__).parent / "pins.txt"
REQUIREMENTS = Path(__file__).parents[1] / "templates" / "requirements"
SERVER = ("bentoml", "torch", "transformers", "safetensors")
FAMILIES = {family: (*SERVER, *packages) for family, packages in PACKAGES.items()}
# What each container image of Slipway's own steps installs; see containers/Dockerfile.
IMAGE_LISTS = Path(__file__).parents[2] / "containers" / "requirements"
CORE = ("pydantic", "PyYAML", "Jinja2", "psutil")
IMAGES = {
    "light": (*CORE, "GitPython", "deflate", "urllib3", "google-cloud-storage", "google-cloud-build", "botocore", "awscrt"),
    "ml": (
        *CORE,
        "urllib3",
        "google-cloud-storage",
        "botocore",
        "awscrt",
        *SERVER,
        *sorted({each for packages in PACKAGES.values() for each in packages}),
    ),
    "operator": (*CORE, "kopf", "kubernetes"),
}
HEADER = "# Made by `make pins`; change pyproject.toml instead.\n"
# What makes an environment, and this project itself under each of its names. (setuptools stays: torch needs it to run.)
NOT_PINNED = frozenset({"slipway-models", "slipway", "pip", "wheel"})


def installed_versions() -> dict[str, str]:
    """Public versions of all installed packages, by normalized name: without a local part, such as ``+cpu``."""
    return {
        normalized_name(distribution.name): distribution.version.partition("+")[0]
        for distribution in importlib.metadata.distributions()
    }


def normalized_name(name: str) -> str:
    """A distribution's name as package indexes compare it (PyPA specification, "Name normalization")."""
    from packaging.utils import canonicalize_name

    return str(canonicalize_name(name))


def read_pins() -> dict[str, str]:
    """The versions of ``pins.txt``, by normalized name."""
    lines = (line for line in PINS.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("==", 1) for line in lines)


def closure(roots: tuple[str, ...], versions: dict[str, str]) -> list[str]:
    """The roots and all that they require in this environment, as sorted ``name==version`` lines.

    Raises ``PackageNotFoundError`` where one of them is not installed.
    """
    from packaging.requirements import Requirement

    found: set[str] = set()
    queue: list[tuple[str, frozenset[str]]] = [(root, frozenset()) for root in roots]
    seen: set[tuple[str, frozenset[str]]] = set()
    while queue:
        name, extras = queue.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(normalized_name(name))
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            wanted = extras or {""}
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in wanted):
                queue.append((requirement.name, frozenset(requirement.extras)))
    return sorted(f"{name}=={versions[name]}" for name in found)


def read_requirements(family: str) -> str:
    """The locked requirements of a family's services, as the text of a file for ``pip install -r``."""
    return (REQUIREMENTS / f"{family}.txt").read_text()


def write() -> None:
    """Write ``pins.txt`` and all files that are made from it, from the packages that are installed here."""
    versions = {name: version for name, version in installed_versions().items() if name not in NOT_PINNED}
    PINS.write_text(HEADER + "".join(f"{name}=={version}\n" for name, version in sorted(versions.items())))
    everything = installed_versions()
    for folder, lists in ((REQUIREMENTS, FAMILIES), (IMAGE_LISTS, IMAGES)):
        for name, roots in lists.items():
            (folder / f"{name}.txt").write_text(HEADER + "".join(f"{line}\n" for line in closure(roots, everything)))
    architectures.FILE.write_text(scan_transformers.architectures_json())
    optional_libraries.FILE.write_text(scan_transformers.optional_libraries_json())


if __name__ == "__main__":
    write()
