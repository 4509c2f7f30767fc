"""What no file of the repository may hold, and names that would hide modules of Python."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"steps", "crd", "pipelines"}
MAX_WORDS = 8  # in the name of a test
TOKENS = ("/" + "work/", "py" + "pi.org", "python" + "hosted.org", "mir" + "rors.")


def test_no_folder_hides_a_python_module() -> None:
    names = {path.stem for path in ROOT.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert not names & sys.stdlib_module_names
    assert names >= PACKAGES


def tracked() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.split(b"\0")
    return [ROOT / name.decode() for name in names if name and (ROOT / name.decode()).is_file()]


def test_no_file_names_a_machine_or_registry() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is not a checkout")
    files = tracked()
    assert len(files) > 50
    found = [
        (path.relative_to(ROOT).as_posix(), token) for path in files for token in TOKENS if token.encode() in path.read_bytes()
    ]
    assert found == []


def imported(package: str) -> set[str]:
    """The top-level packages that a package imports anywhere, also inside functions."""
    found = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).partition(".")[0])
    return found


def test_only_pipelines_knows_hera_and_nothing_tests() -> None:
    assert "tests" not in imported("steps") | imported("crd") | imported("pipelines")
    assert "hera" not in imported("crd")


def test_only_steps_are_directly_in_steps() -> None:
    """A file directly in ``steps`` is a step that runs as a command, but for ``api`` and the package itself."""
    from pipelines.step_table import STEPS

    assert {path.stem for path in (ROOT / "steps").glob("*.py")} == {*STEPS, "api", "__init__"}


def test_names_of_tests_are_short_sentences() -> None:
    long = [
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and len(node.name.split("_")) > 1 + MAX_WORDS
    ]
    assert long == []


def test_no_test_imports_a_private_name() -> None:
    private = [
        f"{path.relative_to(ROOT)}: {alias.name}"
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in PACKAGES
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert private == []
