"""Models of Hugging Face's transformers library."""

from __future__ import annotations

import importlib.metadata
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from steps.core.documents import ModelFacts
from steps.core.lock import Lock
from steps.core.progress import Progress
from steps.frameworks.base import ModelLoader
from steps.frameworks.golden_answer import golden_answer
from steps.frameworks.libraries import OFFLINE, import_without_sigterm, require_libraries
from steps.frameworks.memory import peak_rss_bytes
from steps.frameworks.model_card import licence
from steps.gate.config_sizes import check_sizes
from steps.gate.json_files import architectures, check_config
from steps.gate.weights import read_header
from steps.tasks.base import Task
from steps.tasks.table import check_task

LIBRARIES = ("transformers", "torch", "safetensors")  # whose versions the facts name


class TransformersLoader(ModelLoader):
    """``framework: transformers``."""

    name = "transformers"

    def prepare_bento_model(self, lock: Lock, folder: Path, tasks: Sequence[Task], progress: Progress) -> ModelFacts:
        """Check the tasks against ``config.json`` before anything heavy is imported, then load the model for each."""
        config = check_config((folder / "config.json").read_bytes())
        class_names = architectures(config)
        paths = frozenset(file.path for file in lock.files)
        for task in tasks:
            check_task(task, config, paths)
        headers = [read_header(folder / file.path, file.path) for file in lock.weights]
        check_sizes(config, headers)
        dtypes: Counter[str] = Counter()
        for header in headers:
            dtypes.update(header.elements)
        size = sum(header.size for header in headers)
        os.environ.update(OFFLINE)
        progress.note("Importing torch and transformers.")
        require_libraries()
        import_without_sigterm(["torch", "transformers.pipelines"])
        begin = time.monotonic()
        answers = {task.name: golden_answer(task, folder, progress, size=size) for task in tasks}
        labels = config.get("id2label")
        return ModelFacts(
            framework=self.name,
            architecture=class_names[0],
            model_type=str(config.get("model_type", "")),
            parameters=sum(dtypes.values()),
            dtypes=dict(dtypes),
            labels=len(labels) if isinstance(labels, dict) else 0,
            licence=licence(folder),
            versions={name: importlib.metadata.version(name) for name in LIBRARIES},
            load_seconds=round(time.monotonic() - begin, 3),
            peak_rss_bytes=peak_rss_bytes(),
            expected=answers,
        )
