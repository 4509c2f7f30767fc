"""Models of the transformers library.

The model is opened by the very module that will serve it (``steps.serving``), so the golden answer that is written down here
is what the library gives for these weights, through the schema that clients will see.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from steps.core.documents import GoldenAnswer, ModelFacts
from steps.core.errors import Reason, SlipwayError, missing_extra
from steps.core.lock import Lock
from steps.core.progress import Progress
from steps.frameworks.base import Framework, ModelLoader
from steps.gate.json_files import architectures, check_json
from steps.gate.weights import read_header
from steps.tasks.base import Task
from steps.tasks.table import check_task

MAX_CARD = 1 << 16  # bytes of a model card that are looked at
GOLDEN_FILES = Path(__file__).parent.parent / "tasks"
# A second belt: the loader gets no network anyway, and these make the libraries not even try.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


class TransformersLoader(ModelLoader):
    """``framework: transformers``."""

    def prepare_bento_model(self, lock: Lock, folder: Path, tasks: Sequence[Task], progress: Progress) -> ModelFacts:
        config = check_json("config.json", (folder / "config.json").read_bytes())
        names = architectures(config)
        files = frozenset(file.path for file in lock.files)
        for task in tasks:
            check_task(task, config, files)
        headers = [read_header(folder / file.path, file.path) for file in lock.weights]
        dtypes: dict[str, int] = {}
        for header in headers:
            for dtype, count in header.elements.items():
                dtypes[dtype] = dtypes.get(dtype, 0) + count
        os.environ.update(OFFLINE)
        progress.note("Importing torch and transformers.")
        import_packages()
        begin = time.monotonic()
        expected = {task.name: ask(task, folder, progress) for task in tasks}
        labels = config.get("id2label")
        return ModelFacts(
            framework=Framework.TRANSFORMERS,
            architecture=names[0],
            model_type=str(config.get("model_type", "")),
            parameters=sum(dtypes.values()),
            dtypes=dtypes,
            labels=len(labels) if isinstance(labels, dict) else 0,
            licence=licence(folder),
            versions={name: importlib.metadata.version(name) for name in ("transformers", "torch", "safetensors")},
            load_seconds=round(time.monotonic() - begin, 3),
            peak_rss_bytes=peak_rss_bytes(),
            expected=expected,
        )


def require_packages() -> None:
    """Raise ``MissingDependency`` unless the libraries that load and serve are installed."""
    for name in ("torch", "transformers", "bentoml"):
        if importlib.util.find_spec(name) is None:
            raise missing_extra("ml", package=name, needed_by="Loading or serving a model")


def import_packages() -> None:
    """Import what loads a model, with SIGTERM held back: these packages swallow what is raised while they are imported, or
    take it for a package that is missing."""
    require_packages()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        for name in ("torch", "transformers.pipelines"):
            importlib.import_module(name)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ask(task: Task, folder: Path, progress: Progress) -> GoldenAnswer:
    """The model's own answer to the task's golden request."""
    progress.note(f"Loading the model for {task.name}.")
    module: Any = importlib.import_module(f"steps.serving.tasks.{task.module}")
    files = {name: (GOLDEN_FILES / path).read_bytes() for name, path in task.golden.files.items()}
    request = module.Request(**files, **task.golden.fields)
    try:
        runner = module.Runner(folder)
        begin = time.monotonic()
        answer = runner.predict(request)
        seconds = time.monotonic() - begin
    except MemoryError:
        raise SlipwayError(Reason.OUT_OF_MEMORY, f"There is not enough memory to load the model for {task.name}.") from None
    except Exception as error:  # whatever a library raises on a model it cannot load is the model's failure, not a bug here
        said = " ".join(str(error).split())
        raise SlipwayError(
            Reason.LOAD_FAILED, f"transformers cannot run {task.name} on this model: {type(error).__name__}: {said[:600]}"
        ) from error
    return GoldenAnswer(task=task.name, golden=task.golden, answer=answer.model_dump(mode="json"), seconds=round(seconds, 4))


def licence(folder: Path) -> str:
    """The ``license`` of the model card's front matter (https://huggingface.co/docs/hub/model-cards), if it says one."""
    card = folder / "README.md"
    text = card.read_bytes()[:MAX_CARD].decode(errors="replace") if card.exists() else ""
    match = re.match(r"---\r?\n(.*?)\n---", text, re.DOTALL)
    try:
        front = yaml.safe_load(match[1]) if match else {}
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError):  # a bad date is a ValueError in PyYAML, for one
        return ""
    value = front.get("license", "") if isinstance(front, dict) else ""
    # It becomes an image's label: no control characters, and none that UTF-8 lacks.
    return "".join(character for character in value if character.isprintable())[:100] if isinstance(value, str) else ""


def peak_rss_bytes() -> int:
    """Highest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes there, kilobytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
