"""Each family's requirements are enough for its tasks: services answer where nothing else is installed and no network is."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from steps.core.documents import SmokeResult
from steps.core.errors import ExitCode
from steps.frameworks.transformers import OFFLINE
from steps.package.pins import CORE, FAMILIES, canonical, requirements
from steps.smoke import difference
from steps.tasks.table import TASKS
from tests.environment import environment, link
from tests.servers.network_namespace import without_network
from tests.steps.package.conftest import make
from tests.steps.tasks.all_cases import CASES

ROOT = Path(__file__).parents[3]
# Of each family, the task that uses most of its packages, which runs as a real server process.
SERVED = {
    "text": "text-generation",
    "table": "table-question-answering",
    "image": "image-segmentation",
    "audio": "zero-shot-audio-classification",
    "video": "video-classification",
    "multimodal": "any-to-any",
}
OTHERS = {family: [name for name in TASKS if TASKS[name].family == family and name != SERVED[family]] for family in FAMILIES}
# Golden answers of the models in the folders named like their tasks, given as load takes them down.
ANSWER = """
import json, pathlib, sys
from steps.frameworks.transformers import ask
from steps.core.progress import PlainProgress
from steps.tasks import TASKS

answers = {name: ask(TASKS[name], pathlib.Path(name), PlainProgress(sys.stderr)).answer for name in sys.argv[1:]}
pathlib.Path("answers.json").write_text(json.dumps(answers))
"""


def run(command: list[str], folder: Path, *more: Path) -> None:
    """Run it in a folder and without a network, with Slipway on its path and ``more``, until it is done."""
    path = os.pathsep.join(map(str, [ROOT, *more]))
    # One thread: for models as tiny as these, more of them do nothing but wait for each other.
    variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **OFFLINE}
    done = subprocess.run(without_network(command), cwd=folder, env=variables, capture_output=True, text=True, timeout=200)
    assert done.returncode == ExitCode.DONE, done.stderr


@pytest.mark.parametrize("family", FAMILIES)
def test_a_real_service_answers_as_the_library_does(family: str, tmp_path: Path) -> None:
    task = SERVED[family]
    model = tmp_path / "model"
    model.mkdir()
    CASES[task].make(model)
    made = make(tmp_path / "store", model, task)
    # What smoke itself needs comes by PYTHONPATH, which it does not hand on to the service.
    link(tmp_path / "smoke", {*map(canonical, CORE), "urllib3"})
    python = environment(tmp_path / "environment", requirements(TASKS[task].family))
    flags = ["--store", str(made.root), "--service", task, "--facts", made.facts, "--outputs", "outputs"]
    package = ["--archive", made.archive, "--archive-digest", made.digest]
    run([str(python), "-m", "steps.smoke", *flags, *package], tmp_path, tmp_path / "smoke")
    seen = made.context.read_document((tmp_path / "outputs" / "smoke").read_text(), SmokeResult)
    difference(CASES[task].library(model), seen.answer)


@pytest.mark.parametrize("family", [family for family in FAMILIES if OTHERS[family]])
def test_the_other_tasks_answer_as_the_library_does(family: str, tmp_path: Path) -> None:
    for task in OTHERS[family]:
        (tmp_path / task).mkdir()
        CASES[task].make(tmp_path / task)
    python = environment(tmp_path / "environment", requirements(family))
    run([str(python), "-c", ANSWER, *OTHERS[family]], tmp_path)
    for task, answer in json.loads((tmp_path / "answers.json").read_text()).items():
        difference(CASES[task].library(tmp_path / task), answer)
