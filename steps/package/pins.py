"""Exact versions, all in one place: ``steps/package/pins.txt``, and what follows from it.

``python -m steps.package.pins`` writes the versions of this environment to ``pins.txt``, with which everything is installed
(``pip install -c``), and from them the closed list of requirements of each family of services and of each of Slipway's own
images, and which classes the pinned transformers has and what they want. Only packages that are really needed, over all
dependencies, are in a list; a test proves the lists fresh.
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
    "light": (*CORE, "GitPython", "urllib3", "google-cloud-storage", "google-cloud-build", "botocore", "awscrt"),
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
# What makes an environment, or is this project itself. (setuptools stays: torch needs it to run.)
_OURS = frozenset({"slipway-models", "pip", "wheel"})


def installed() -> dict[str, str]:
    """Public versions of all installed packages, by normalised name. A local part (``+cpu``) says where a wheel came from."""
    return {
        canonical(distribution.name): distribution.version.partition("+")[0]
        for distribution in importlib.metadata.distributions()
    }


def canonical(name: str) -> str:
    from packaging.utils import canonicalize_name

    return str(canonicalize_name(name))


def read_pins() -> dict[str, str]:
    """``pins.txt`` as name to version."""
    lines = (line for line in PINS.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("==", 1) for line in lines)


def closure(roots: tuple[str, ...], versions: dict[str, str]) -> list[str]:
    """The roots and all that they require in this environment, as sorted ``name==version`` lines."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    queue: list[tuple[str, frozenset[str]]] = [(root, frozenset()) for root in roots]
    seen: set[tuple[str, frozenset[str]]] = set()
    while queue:
        name, extras = queue.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(canonical(name))
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            wanted = extras or {""}
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in wanted):
                queue.append((requirement.name, frozenset(requirement.extras)))
    return sorted(f"{name}=={versions[name]}" for name in found)


def requirements(family: str) -> str:
    """The locked requirements of a family's services, as pip reads them."""
    return (REQUIREMENTS / f"{family}.txt").read_text()


def write() -> None:
    versions = {name: version for name, version in installed().items() if name not in _OURS}
    PINS.write_text(HEADER + "".join(f"{name}=={version}\n" for name, version in sorted(versions.items())))
    everything = installed()
    for folder, lists in ((REQUIREMENTS, FAMILIES), (IMAGE_LISTS, IMAGES)):
        for name, roots in lists.items():
            (folder / f"{name}.txt").write_text(HEADER + "".join(f"{line}\n" for line in closure(roots, everything)))
    architectures.FILE.write_text(scan_transformers.architectures_json())
    optional_libraries.FILE.write_text(scan_transformers.optional_libraries_json())


if __name__ == "__main__":
    write()
