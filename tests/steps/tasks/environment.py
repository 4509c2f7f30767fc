"""An environment that holds the packages of a requirements list and no others, made of those that are installed here.

What ``pip install -r`` would make, in a moment and without a network: a virtual environment whose packages are links. Unlike
a hook that forbids imports, it also keeps a library from finding out what else is installed, and from doing otherwise then.
"""

from __future__ import annotations

import functools
import importlib.metadata
import itertools
import venv
from collections.abc import Iterable
from pathlib import Path

from steps.package.pins import normalized_name

# A file's path in site-packages, by its parts, and the package that it belongs to.
Owned = tuple[tuple[str, ...], str]


def environment(folder: Path, requirements: str) -> Path:
    """Make an environment in an empty folder of what is listed there as pip reads it; returns its Python."""
    venv.create(folder, symlinks=True)
    [site] = folder.glob("lib/python*/site-packages")
    names = {line.partition("==")[0] for line in requirements.splitlines() if not line.startswith("#")}
    link(site, names)
    found = {normalized_name(each.name) for each in importlib.metadata.distributions(path=[str(site)])}
    assert found == names, found ^ names
    return folder / "bin" / "python"


def link(site: Path, names: set[str]) -> None:
    """Fill a folder with the installed packages of these (normalised) names."""
    torch = importlib.metadata.distribution("torch")
    _link(Path(str(torch.locate_file(""))), site, installed_files(), names)


@functools.cache
def installed_files() -> list[Owned]:
    """All files of all installed packages, as they say themselves, but for those outside of site-packages."""
    return sorted(
        (file.parts, name)
        for distribution in importlib.metadata.distributions()
        for name in [normalized_name(distribution.name)]
        for file in distribution.files or ()
        if file.parts[0] != ".."
    )


def _link(source: Path, target: Path, files: Iterable[Owned], names: set[str], depth: int = 0) -> None:
    """Folders that belong to these packages alone are linked whole; packages share ``google`` or ``__pycache__``."""
    target.mkdir(exist_ok=True)
    for name, group in itertools.groupby(files, key=lambda file: file[0][depth]):
        inside = list(group)
        wanted = [owner in names for _, owner in inside]
        if all(wanted):
            (target / name).symlink_to(source / name)
        elif any(wanted):
            _link(source / name, target / name, inside, names, depth + 1)
