"""One entry of the task table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from steps.core.documents import GoldenRequest
from steps.gate.json_files import architectures
from steps.tasks import optional_libraries as lacking
from steps.tasks.architectures import classes_of, model_types_of
from steps.tasks.families import packages

# A tokenizer saves at least one of these; which one depends on its class.
TOKENIZER_FILES = frozenset(
    {"tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model"}
)
PROCESSOR_FILES = frozenset({"preprocessor_config.json", "processor_config.json"})
# Where a tokenizer's or a processor's chat template is, and the one place where it may be among other things.
TEMPLATE_FILES = frozenset({"chat_template.jinja", "chat_template.json"})
TEMPLATE_INSIDE, TEMPLATE_KEY = "tokenizer_config.json", b'"chat_template"'
NO_TEXTS: Mapping[str, bytes] = MappingProxyType({})


@dataclass(frozen=True)
class Part:
    """What is opened beside the weights: where ``optional_libraries.json`` has its class, and files, of which it saves at
    least one.
    """

    tables: tuple[str, ...]
    files: frozenset[str]


TOKENIZER = Part(("tokenizer",), TOKENIZER_FILES)
IMAGE_PROCESSOR = Part(("image_processor",), PROCESSOR_FILES)
FEATURE_EXTRACTOR = Part(("feature_extractor",), PROCESSOR_FILES)
PROCESSOR = Part(("processor", "image_processor", "feature_extractor"), PROCESSOR_FILES)


@dataclass(frozen=True)
class Task:
    """What is known of a task without loading anything.

    ``service`` names the module in ``steps.serving`` that answers, ``family`` its packages. ``mappings`` names the tables of
    transformers' auto classes (``MODEL_FOR_X_MAPPING_NAMES``, as ``X``) whose classes fit; with ``any_head`` a model fits by
    its type, whatever head it was saved with, because the head is not used. ``classes`` fit besides. ``never`` holds model
    types of those tables that want another input than this task's; ``inside`` says of which type the model must be that
    ``config.json`` has under a name, if it has one. ``needs`` are the parts that the runner opens beside the weights, and
    ``template`` holds files one of which says how to chat, where the model must be able to. ``labels`` are names that must be
    among the model's classes. At most ``batch`` requests are answered in one go of the model: 1 where nothing is gained.
    ``streams`` says that the runner can answer in pieces.
    """

    name: str
    title: str
    family: str
    service: str
    golden: GoldenRequest
    mappings: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    any_head: bool = False
    never: frozenset[str] = frozenset()
    inside: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[Part, ...] = ()
    template: frozenset[str] = frozenset()
    labels: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    batch: int = 1
    streams: bool = False

    def misfit(self, config: Mapping[str, Any], files: frozenset[str], texts: Mapping[str, bytes] = NO_TEXTS) -> str | None:
        """Why a model with this ``config.json`` and these top-level files cannot do the task, or None when it can.

        ``texts`` are contents of such files, as far as they are known; what they could tell is passed over where they are not.
        """
        names = architectures(config)
        if not self._fits(names, config.get("model_type")):
            return f"its architecture is {', '.join(names)}, and {self._wanted()} is needed"
        for key, wanted in self.inside.items():
            if isinstance(inner := config.get(key), dict) and (found := inner.get("model_type")) != wanted:
                return f"its {key} is of the type {found}, and {wanted} is needed"
        for part in self.needs:
            if not part.files & files:
                return f"it has none of the files {', '.join(sorted(part.files))}"
        if missing := self._missing(names, config):
            return f"{missing}, which its services do not have"
        known = {str(label).lower() for label in _values(config.get("id2label"))}
        if missing_labels := [label for label in self.labels if not any(name.startswith(label) for name in known)]:
            return f"it has no class named {' or '.join(missing_labels)}"
        # The gate reads that file as a whole later; that the name of a key is nowhere in it is enough to tell.
        if self.template and not self.template & files and TEMPLATE_KEY not in texts.get(TEMPLATE_INSIDE, TEMPLATE_KEY):
            return f"it has no chat template, neither in {TEMPLATE_INSIDE} nor as {' or '.join(sorted(self.template))}"
        return None

    def _fits(self, names: tuple[str, ...], model_type: object) -> bool:
        if isinstance(model_type, str) and model_type in self.never:
            return False
        if any(name in self.classes for name in names):
            return True
        if self.any_head:
            return isinstance(model_type, str) and model_type in model_types_of(self.mappings)
        return bool(set(names) & classes_of(self.mappings))

    def _missing(self, names: tuple[str, ...], config: Mapping[str, Any]) -> str:
        """Which part of the model cannot be opened for want of a library, in words; empty if all can, as far as one knows."""
        own, have = config.get("model_type"), packages(self.family)
        usual = [("backbone", own)] if config.get("use_timm_backbone", True) and not config.get("backbone_config") else []
        inner = [("model", each) for each in sorted(lacking.inner_types(config))]
        # Without its head, a model is opened by the class for its type.
        whole = [("model", own)] if self.any_head else []
        for table, model_type in (*[(table, own) for part in self.needs for table in part.tables], *whole, *usual, *inner):
            if found := lacking.misses(table, model_type, have):
                return f"its {lacking.PARTS[table]} {found}"
        heads = () if self.any_head else names
        return next((f"its class {found}" for name in heads if (found := lacking.missing(name, have))), "")

    def _wanted(self) -> str:
        """What fits, in words: by their common ending if there are many."""
        if self.any_head and self.mappings:
            return f"a model that transformers knows for {' or '.join(self.mappings)}"
        fitting = sorted(classes_of(self.mappings) | set(self.classes))
        endings = sorted({f"…For{name.rpartition('For')[2]}" for name in fitting if "For" in name})
        return " or ".join(endings[:3]) if endings and len(fitting) > 3 else f"one of {', '.join(fitting[:6])}"


def _values(value: object) -> list[object]:
    return list(value.values()) if isinstance(value, dict) else []
