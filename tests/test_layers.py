"""The shape of the code: which package may import which, what is imported late, and what nothing in the repository may name."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("steps", "crd", "pipelines")
# pipelines ─► crd ─► steps: what each package must not import, whether early or late.
FORBIDDEN = {
    "steps": {"crd", "pipelines", "hera", "kopf", "kubernetes", "tests"},
    "crd": {"pipelines", "hera", "tests"},
    "pipelines": {"tests"},
}
# Slow to import: only inside of the functions that need them, so that every --help is quick.
HEAVY = {"torch", "transformers", "bentoml", "hera", "PIL", "sklearn", "numpy", "google", "google_crc32c", "safetensors"}
HEAVY |= {"soundfile", "soxr", "av", "pandas", "botocore", "awscrt"}
WIRED = {"kopf", "kubernetes"}  # light enough for what talks to a cluster, and for nothing else
TOKENS = ("/" + "work/", "py" + "pi.org", "python" + "hosted.org", "mir" + "rors.")


def sources(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[str]:
    """The modules that are imported anywhere below, without relative imports."""
    for node in ast.walk(tree):
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
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(node)
        waiting += ast.iter_child_nodes(node)


def top(modules: Iterator[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_keeps_to_its_layer_and_imports_heavy_packages_late(path: Path) -> None:
    tree = ast.parse(path.read_text())
    package = path.relative_to(ROOT).parts[0]
    assert not top(imports(tree)) & FORBIDDEN[package]
    if path.name != "workflow_template.py":  # it is made of Hera's models, and imported late itself
        assert not top(early(tree)) & HEAVY
    if package == "steps":
        assert not top(imports(tree)) & WIRED


@pytest.mark.parametrize("package", [*PACKAGES, "pipelines.cli"])
def test_importing_a_package_imports_nothing_heavy(package: str) -> None:
    script = f"import sys, {package}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert not {module.partition(".")[0] for module in done.stdout.split()} & (HEAVY - {"google"} | {"git", "jinja2"})


def test_no_folder_hides_a_module_of_pythons_own() -> None:
    names = {path.stem for path in ROOT.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert not names & sys.stdlib_module_names
    assert set(PACKAGES) <= names


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    return [ROOT / name.decode() for name in listed.split(b"\0") if name and (ROOT / name.decode()).is_file()]


def test_no_file_names_this_machine_or_a_package_registry() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    files = tracked()
    assert len(files) > 50
    found = [
        (path.relative_to(ROOT).as_posix(), token) for path in files for token in TOKENS if token.encode() in path.read_bytes()
    ]
    assert found == []


def test_every_module_says_why_it_exists() -> None:
    for path in sources(*PACKAGES):
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_the_packed_modules_import_nothing_of_slipway() -> None:
    """They run inside a package, where there is none."""
    for path in sources("steps/serving"):
        assert not top(imports(ast.parse(path.read_text()))) & set(PACKAGES)
