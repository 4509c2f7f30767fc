"""The step render: the text files of one service's package, from templates, the task table and the locked requirements.

Nothing here depends on when or where it runs: equal inputs give equal files, and so the same archive digest later.
"""

from __future__ import annotations

import ast
import base64
import json
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field

from steps import __version__
from steps.command.main import main
from steps.core.contract import Context, Inputs, Outputs, Step
from steps.core.digest import canonical_json, sha256_bytes
from steps.core.documents import ModelFacts, RenderedPackage
from steps.core.errors import Reason, SlipwayError
from steps.core.lock import Lock
from steps.core.names import ModelName, service_name
from steps.core.settings import BASE_IMAGE
from steps.core.store import StoreKey
from steps.images import description as image
from steps.package.pins import read_pins, read_requirements
from steps.tasks.base import Task
from steps.tasks.table import resolve
from steps.templates import fill

# bento.yaml must name a moment; the moment of rendering would give equal inputs two digests.
CREATION_TIME = "2000-01-01T00:00:00+00:00"
SERVING = Path(__file__).parent / "serving"
TASK_FILES = Path(__file__).parent / "tasks"


class RenderInputs(Inputs):
    """Which model and which task to write a package for."""

    name: ModelName = Field(description="name of the model, a DNS label of at most 40 characters")
    service: str = Field(description="task that the package serves")
    lock: StoreKey = Field(description="store key of the lock")
    facts: StoreKey = Field(description="store key of the facts that the step load wrote")


class RenderOutputs(Outputs):
    """The package's files."""

    render: str = Field(description="store key of the document with the package's text files")
    bento: str = Field(description="tag of the Bento, NAME:VERSION")


def run(inputs: RenderInputs, context: Context) -> RenderOutputs:
    """Write the code, ``bento.yaml``, Dockerfile and README of one service's package.

    Reads the lock and the facts. No text of the model is put into code, YAML or a Dockerfile: templates get literals written by
    an encoder, constants, and names made by Slipway.

    Publishes one document with all files under ``renders/``.

    Repeating: equal inputs give equal files; with a receipt, nothing is written.

    Raises:
        SlipwayError: ``UnknownTask`` and ``InvalidInput`` for wrong inputs; ``StoreUnreadable`` without the lock or the facts;
            ``DigestMismatch`` and ``LockMismatch`` when these documents changed.
    """
    task = resolve(inputs.service)
    lock = context.read_document(inputs.lock, Lock)
    facts = context.read_document(inputs.facts, ModelFacts)
    rendered = render(inputs.name, task, lock, facts)
    return RenderOutputs(render=context.publish_document("renders", rendered), bento=rendered.bento)


def render(name: str, task: Task, lock: Lock, facts: ModelFacts) -> RenderedPackage:
    """Write all files of a package except the weights; the Bento's version is a digest over them and the set digest."""
    locked = read_requirements(task.family)
    common: dict[str, Any] = {"task": task, "set_digest": lock.set_digest, "base_image": BASE_IMAGE}
    bento_name = service_name(name, task.name)
    described = about(name, task, lock, facts)
    files = {
        "src/service.py": fill("service.py.j2", task=task),
        "src/lock.json": canonical_json(lock.model_dump(mode="json")).decode(),
        "src/slipway.json": json.dumps(described, indent=1, sort_keys=True) + "\n",
        "env/python/requirements.txt": locked,
        "env/docker/Dockerfile": fill("Dockerfile.j2", image=image, own_labels=image.own_labels(described), **common),
    }
    for module in modules(task):
        files[f"src/serving/{module}"] = (SERVING / module).read_text()
    binaries = {
        f"src/{path}": base64.b64encode((TASK_FILES / path).read_bytes()).decode() for path in task.golden.files.values()
    }
    # The golden request itself, so that the package can be tried wherever it ends up.
    files["src/golden/request.json"] = canonical_json(task.golden.model_dump(mode="json")).decode()
    version = sha256_bytes(canonical_json([lock.set_digest, files, binaries]))[:16]
    files["README.md"] = fill("README.md.j2", bento_name=bento_name, bento_version=version, **common)
    files["bento.yaml"] = fill(
        "bento.yaml.j2",
        bento_name=bento_name,
        bento_version=version,
        bentoml_version=read_pins()["bentoml"],
        creation_time=CREATION_TIME,
        labels={"slipway-task": task.name, "slipway-set-digest": lock.set_digest[:63]},
        python_version=image.PYTHON_VERSION,
        requirements="".join(line + "\n" for line in locked.splitlines() if not line.startswith("#")),
        **common,
    )
    for path, text in files.items():
        if path.endswith(".py"):
            check_python(path, text)
    return RenderedPackage(task=task.name, bento=f"{bento_name}:{version}", files=files, binaries=binaries)


def about(name: str, task: Task, lock: Lock, facts: ModelFacts) -> dict[str, object]:
    """Return what the package states about itself in ``slipway.json``: only what is the same on every machine."""
    return {
        "name": name,
        "task": task.name,
        "source": lock.source,
        "sourceKind": lock.source_kind,
        "revision": lock.revision,
        "setDigest": f"sha256:{lock.set_digest}",
        "framework": facts.framework,
        "architecture": facts.architecture,
        "parameters": facts.parameters,
        "licence": facts.licence,
        "slipway": __version__,
    }


def check_python(path: str, text: str) -> None:
    """Check that a file that a template made is valid Python, without running it; raises ``InternalError``."""
    try:
        ast.parse(text, path)
    except SyntaxError as error:
        raise SlipwayError(Reason.INTERNAL_ERROR, f"The template of {path} made no valid Python: {error}.") from error


def modules(task: Task) -> list[str]:
    """Return the modules of ``steps.serving`` that a task's package needs, as paths below it (``tasks/fill_mask.py``)."""
    found: set[str] = set()
    queue = ["server.py", "about.py", "queue.py", "metrics.py", "http.py", "walls/raised.py", f"tasks/{task.module}.py"]
    while queue:
        path = queue.pop()
        if path not in found:
            found.add(path)
            queue.append((PurePosixPath(path).parent / "__init__.py").as_posix())
            queue.extend(_imported(PurePosixPath(path)))
    return sorted({*found, "__init__.py"})


def _imported(path: PurePosixPath) -> list[str]:
    """Neighbours that a module imports: ``from ..fields import …`` or ``from .. import runner``."""
    found = []
    for node in ast.walk(ast.parse((SERVING / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parents[node.level - 1]
            names = [node.module.replace(".", "/")] if node.module else [alias.name for alias in node.names]
            found += [(folder / f"{name}.py").as_posix() for name in names]
    return found


STEP = Step("render", "Write the code and the recipes of one service's package.", RenderInputs, RenderOutputs, run)

if __name__ == "__main__":
    main(STEP)
