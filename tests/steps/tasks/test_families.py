"""Each family's requirements are enough for its tasks: services answer with nothing else installed and without a network."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from steps.core.documents import SmokeResult
from steps.core.errors import ExitCode
from steps.frameworks.libraries import OFFLINE
from steps.package.pins import CORE, FAMILIES, normalized_name, read_requirements
from steps.smoke import difference
from steps.tasks.table import TASKS
from tests.servers.network_namespace import without_network
from tests.steps.packages import make
from tests.steps.tasks.all_cases import CASES
from tests.steps.tasks.environment import environment, link

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
# One task of each family runs as a real server process: the one that uses most of the family's packages, or the first.
MOST_PACKAGES = {"text-generation", "image-segmentation", "zero-shot-audio-classification", "any-to-any"}
FAMILY_TASKS = {family: [name for name, task in TASKS.items() if task.family == family] for family in FAMILIES}
SERVER_TASK = {family: min(names, key=lambda name: name not in MOST_PACKAGES) for family, names in FAMILY_TASKS.items()}
OTHER_TASKS = {family: [name for name in names if name != SERVER_TASK[family]] for family, names in FAMILY_TASKS.items()}
# Writes the golden answers of the models in folders that are named like their tasks, as the load step gets them.
SCRIPT = """
import json, pathlib, sys
from steps.core.progress import PlainProgress
from steps.frameworks.golden_answer import golden_answer
from steps.tasks.table import TASKS

answers = {name: golden_answer(TASKS[name], pathlib.Path(name), PlainProgress(sys.stderr)).answer for name in sys.argv[1:]}
pathlib.Path("answers.json").write_text(json.dumps(answers))
"""


def run(command: list[str], folder: Path, *more: Path) -> None:
    """Run a command to its end in a folder and without a network, with Slipway and ``more`` on Python's path."""
    path = os.pathsep.join(map(str, [ROOT, *more]))
    # One thread: for models as tiny as these, more threads only wait for each other.
    variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **OFFLINE}
    done = subprocess.run(without_network(command), cwd=folder, env=variables, capture_output=True, text=True, timeout=200)
    assert done.returncode == ExitCode.DONE, done.stderr


@pytest.mark.parametrize("family", FAMILIES)
def test_a_served_package_answers_as_the_library(family: str, tmp_path: Path) -> None:
    task = SERVER_TASK[family]
    model = tmp_path / "model"
    model.mkdir()
    CASES[task].make(model)
    made = make(tmp_path / "store", model, task)
    # What smoke itself needs comes by PYTHONPATH, which it does not hand on to the service.
    link(tmp_path / "smoke", {*map(normalized_name, CORE), "urllib3"})
    python = environment(tmp_path / "environment", read_requirements(TASKS[task].family))
    flags = ["--store", str(made.root), "--service", task, "--facts", made.facts, "--outputs", "outputs"]
    package = ["--archive", made.archive, "--archive-digest", made.digest]
    run([str(python), "-m", "steps.smoke", *flags, *package], tmp_path, tmp_path / "smoke")
    seen = made.context.read_document((tmp_path / "outputs" / "smoke").read_text(), SmokeResult)
    difference(CASES[task].library(model), seen.answer)


@pytest.mark.parametrize("family", [family for family in FAMILIES if OTHER_TASKS[family]])
def test_the_other_tasks_answer_as_the_library(family: str, tmp_path: Path) -> None:
    for task in OTHER_TASKS[family]:
        (tmp_path / task).mkdir()
        CASES[task].make(tmp_path / task)
    python = environment(tmp_path / "environment", read_requirements(family))
    run([str(python), "-c", SCRIPT, *OTHER_TASKS[family]], tmp_path)
    for task, answer in json.loads((tmp_path / "answers.json").read_text()).items():
        difference(CASES[task].library(tmp_path / task), answer)
