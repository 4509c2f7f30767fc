"""What lies in the working folder is never imported: neither by a step, nor by pip, nor by a Python that a step starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from steps.core.environment import for_pip, for_step

pytestmark = pytest.mark.fault("survived")

TRAP = "from pathlib import Path\nPath(__file__).with_name('imported').touch()\n"
NAMES = ("PIL.py", "random.py", "pydantic.py", "pip.py", "json.py", "sitecustomize.py", "steps/__init__.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(TRAP)
    return tmp_path


def imported(folder: Path) -> list[Path]:
    return list(folder.rglob("imported"))


@pytest.mark.slow
@pytest.mark.parametrize("module", ["steps.load", "steps.smoke"])
def test_steps_import_nothing_from_there(folder: Path, module: str) -> None:
    command = [sys.executable, "-P", "-m", module, "--help"]
    done = subprocess.run(command, cwd=folder, env=for_step(network=False), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--archive" in done.stdout or "--lock" in done.stdout
    assert imported(folder) == []


@pytest.mark.slow
def test_pip_imports_nothing_from_there(folder: Path) -> None:
    environment = for_pip(folder / "scratch")
    done = subprocess.run([sys.executable, "-P", "-m", "pip", "--version"], cwd=folder, env=environment, capture_output=True)
    assert b"pip.py" not in done.stderr
    assert imported(folder) == []


@pytest.mark.slow
def test_typed_by_hand_it_leaves_the_folder(folder: Path) -> None:
    """``steps/__init__.py`` and what Python imports before Slipway cannot be kept out without ``-P``; the rest is."""
    for name in ("steps/__init__.py", "json.py", "random.py"):
        (folder / name).unlink()
    (folder / "steps").rmdir()
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-m", "steps.fetch", "--help"], cwd=folder, env=variables, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert imported(folder) == []


@pytest.mark.slow
def test_the_command_imports_nothing_from_there(folder: Path) -> None:
    program = Path(sys.executable).with_name("slipway")
    if not program.exists():
        pytest.skip("the program slipway is not installed")
    done = subprocess.run([program, "plan", "--help"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert imported(folder) == []
