"""Heavy packages are imported late, inside the functions that need them, so that every ``--help`` is quick."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("steps", "crd", "pipelines")
HEAVY = {"torch", "transformers", "bentoml", "hera", "PIL", "sklearn", "numpy", "google", "google_crc32c", "safetensors"}
HEAVY |= {"soundfile", "soxr", "av", "pandas", "botocore", "awscrt"}


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imports(node: ast.AST) -> Iterator[str]:
    """The modules that an import statement names, without relative imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        yield str(node.module)


def early(tree: ast.Module) -> Iterator[str]:
    """The modules that are imported with this one: outside of functions, and not for the type checker alone."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        yield from imports(node)
        waiting += ast.iter_child_nodes(node)


def top(modules: Iterable[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_heavy_packages_are_imported_late() -> None:
    found = {path.relative_to(ROOT).as_posix(): top(early(ast.parse(path.read_text()))) & HEAVY for path in sources()}
    # It is made of Hera's models, and imported late itself.
    assert {path: heavy for path, heavy in found.items() if heavy} == {"pipelines/workflow_template.py": {"hera"}}


@pytest.mark.slow
@pytest.mark.parametrize("package", [*PACKAGES, "pipelines.cli", "pipelines.step_table"])
def test_importing_a_package_imports_nothing_heavy(package: str) -> None:
    script = f"import sys, {package}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert not top(done.stdout.split()) & (HEAVY - {"google"} | {"git", "jinja2"})
