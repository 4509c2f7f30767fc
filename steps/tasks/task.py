"""One entry of the task table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from steps.documents import Golden
from steps.gate.config import architectures
from steps.tasks.architectures import classes_of, model_types_of

# A tokenizer saves at least one of these; which one depends on its class.
TOKENIZER_FILES = frozenset(
    {"tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model"}
)
PROCESSOR_FILES = frozenset({"preprocessor_config.json", "processor_config.json"})


@dataclass(frozen=True)
class Task:
    """What is known of a task without loading anything.

    ``service`` names the module in ``steps.serving`` that answers, ``family`` the locked requirements. ``mappings`` names the
    tables of transformers' auto classes (``MODEL_FOR_X_MAPPING_NAMES``, as ``X``) whose classes fit; with ``any_head`` a model
    fits by its type, whatever head it was saved with, because the head is not used. ``classes`` fit besides. ``needs`` holds
    groups of files of which the model must have at least one each. ``labels`` are names that must be among the model's classes.
    At most ``batch`` requests are answered in one go of the model: 1 where nothing is gained. ``streams`` says that the
    runner can answer in pieces.
    """

    name: str
    title: str
    family: str
    service: str
    golden: Golden
    mappings: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    any_head: bool = False
    needs: tuple[frozenset[str], ...] = ()
    labels: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    batch: int = 1
    streams: bool = False

    def misfit(self, config: Mapping[str, Any], files: frozenset[str]) -> str | None:
        """Why a model with this ``config.json`` and these top-level files cannot do the task, or None when it can."""
        names = architectures(config)
        if not self._fits(names, config.get("model_type")):
            return f"its architecture is {', '.join(names)}, and {self._wanted()} is needed"
        for group in self.needs:
            if not group & files:
                return f"it has none of the files {', '.join(sorted(group))}"
        known = {str(label).lower() for label in _values(config.get("id2label"))}
        if missing := [label for label in self.labels if not any(name.startswith(label) for name in known)]:
            return f"it has no class named {' or '.join(missing)}"
        return None

    def _fits(self, names: tuple[str, ...], model_type: object) -> bool:
        if any(name in self.classes for name in names):
            return True
        if self.any_head:
            return isinstance(model_type, str) and model_type in model_types_of(self.mappings)
        return bool(set(names) & classes_of(self.mappings))

    def _wanted(self) -> str:
        """What fits, in words: by their common ending if there are many."""
        if self.any_head and self.mappings:
            return f"a model that transformers knows for {' or '.join(self.mappings)}"
        fitting = sorted(classes_of(self.mappings) | set(self.classes))
        endings = sorted({f"…For{name.rpartition('For')[2]}" for name in fitting if "For" in name})
        return " or ".join(endings[:3]) if endings and len(fitting) > 3 else f"one of {', '.join(fitting[:6])}"


def _values(value: object) -> list[object]:
    return list(value.values()) if isinstance(value, dict) else []
