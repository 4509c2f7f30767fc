"""The type of an entry in the task table, and the check of a model's files against it.

Nothing heavy is imported: the command line, the CRD and the check before a download read the table in images that have
neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from steps.core.documents import GoldenRequest
from steps.gate.json_files import architectures
from steps.tasks.architectures import architectures_in, model_types_in
from steps.tasks.families import packages
from steps.tasks.optional_libraries import (
    COMPONENT_NAMES,
    missing_libraries,
    missing_libraries_of_component,
    nested_model_types,
)

# A tokenizer saves at least one of these; which one depends on its class.
TOKENIZER_FILES = frozenset(
    {"tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model"}
)
PROCESSOR_FILES = frozenset({"preprocessor_config.json", "processor_config.json"})
# Where transformers stores a chat template: in a file of its own, or under this key of tokenizer_config.json
# (https://huggingface.co/docs/transformers/chat_templating).
CHAT_TEMPLATE_FILES = frozenset({"chat_template.jinja", "chat_template.json"})
TOKENIZER_CONFIG, CHAT_TEMPLATE_KEY = "tokenizer_config.json", b'"chat_template"'
NO_CONTENTS: Mapping[str, bytes] = MappingProxyType({})


@dataclass(frozen=True)
class Component:
    """A part of a model that a runner opens beside the weights: its tokenizer or one of its processors.

    Attributes:
        tables: The tables of ``optional_libraries.json`` that list its classes by model type.
        files: File names of which a saved one has at least one.
    """

    tables: tuple[str, ...]
    files: frozenset[str]


TOKENIZER = Component(("tokenizer",), TOKENIZER_FILES)
IMAGE_PROCESSOR = Component(("image_processor",), PROCESSOR_FILES)
FEATURE_EXTRACTOR = Component(("feature_extractor",), PROCESSOR_FILES)
PROCESSOR = Component(("processor", "image_processor", "feature_extractor"), PROCESSOR_FILES)


@dataclass(frozen=True)
class Task:
    """What is known of a task without loading a model.

    A model fits if one of its ``architectures`` is in ``mappings`` or in ``architectures``, and all other conditions hold.

    Attributes:
        name: The task's name as Hugging Face writes it, such as ``fill-mask``. The module of ``steps.serving.tasks`` that
            answers has the same name with underscores.
        title: One sentence without its full stop that says what the service does, in ``slipway tasks``, docs and OpenAPI.
        family: The key of ``families.PACKAGES`` with the Python packages that the service needs.
        golden: A request that every model of the task can answer. ``load`` records the answer, ``smoke`` compares with it.
        mappings: Names of tables of transformers' auto classes whose classes fit: ``X`` for
            ``MODEL_FOR_X_MAPPING_NAMES``.
        architectures: Classes that fit besides.
        any_head: A model fits by its model type in ``mappings``, whatever class it was saved from, since its head is not used.
        auto: ``services: [auto]`` may choose this task. A task with ``any_head`` is chosen only for a model that no other
            task fits.
        excluded_model_types: Model types of those tables that do not fit, because they take another input.
        nested_model_types: The model type that a nested configuration must have if there is one, by its key in
            ``config.json`` (``{"encoder": "donut-swin"}``).
        components: What the runner opens beside the weights.
        chat_template_files: Files of which one holds the template for chats; empty if the task needs none. A template in
            ``tokenizer_config.json`` counts too.
        required_labels: Beginnings of class names, in lower case; the model's ``id2label`` must have one for each.
        aliases: Other names of the task.
        max_batch_size: The number of waiting requests that the model answers in one forward pass, at most; 1 where a batch
            gains nothing.
        streams: The runner can stream its answer in chunks, at ``POST /stream``.
    """

    name: str
    title: str
    family: str
    golden: GoldenRequest
    mappings: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    any_head: bool = False
    auto: bool = False
    excluded_model_types: frozenset[str] = frozenset()
    nested_model_types: Mapping[str, str] = field(default_factory=dict)
    components: tuple[Component, ...] = ()
    chat_template_files: frozenset[str] = frozenset()
    required_labels: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    max_batch_size: int = 1
    streams: bool = False

    @property
    def module(self) -> str:
        """The name of the module in ``steps.serving.tasks`` that answers."""
        return self.name.replace("-", "_")

    def mismatch(
        self, config: Mapping[str, object], files: frozenset[str], contents: Mapping[str, bytes] = NO_CONTENTS
    ) -> str | None:
        """Say why a model cannot do the task, or return None if it can.

        Args:
            config: The model's ``config.json``.
            files: Names of the model's top-level files.
            contents: Contents of such files, as far as they are known. A condition on an unknown content is skipped; the
                load step finds out later.

        Returns:
            The end of a sentence that begins "The model cannot do this task: ".

        Raises:
            SlipwayError: ``InvalidConfig`` if ``config.json`` names no architecture.
        """
        names, model_type = architectures(config), config.get("model_type")
        if not self._fits(names, model_type):
            return f"its architecture is {', '.join(names)}, and {self._needed()} is needed"
        for key, wanted in self.nested_model_types.items():
            if isinstance(nested := config.get(key), dict) and (found := nested.get("model_type")) != wanted:
                return f"its {key} is of the type {found}, and {wanted} is needed"
        for component in self.components:
            if not component.files & files:
                return f"it has none of the files {', '.join(sorted(component.files))}"
        if missing := next(self._missing_libraries(names, config), ""):
            return f"{missing}, which the services of this task do not have"
        labels = _lower_labels(config.get("id2label"))
        if missing_labels := [each for each in self.required_labels if not any(label.startswith(each) for label in labels)]:
            return f"it has no class named {' or '.join(missing_labels)}"
        # The gate parses that file later; whether the name of the key occurs in it is enough here.
        template_found = CHAT_TEMPLATE_KEY in contents.get(TOKENIZER_CONFIG, CHAT_TEMPLATE_KEY)
        if self.chat_template_files and not self.chat_template_files & files and not template_found:
            places = " or ".join(sorted(self.chat_template_files))
            return f"it has no chat template, neither in {TOKENIZER_CONFIG} nor as {places}"
        return None

    def _fits(self, names: tuple[str, ...], model_type: object) -> bool:
        """Whether the architectures, or with ``any_head`` the model type, are among those of the task."""
        if isinstance(model_type, str) and model_type in self.excluded_model_types:
            return False
        if any(name in self.architectures for name in names):
            return True
        if self.any_head:
            return isinstance(model_type, str) and model_type in model_types_in(self.mappings)
        return bool(set(names) & architectures_in(self.mappings))

    def _missing_libraries(self, names: tuple[str, ...], config: Mapping[str, object]) -> Iterator[str]:
        """The parts of the model that need a library which is not among the family's packages, as far as known, as text."""
        own, installed = config.get("model_type"), packages(self.family)
        parts: list[tuple[str, object]] = [(table, own) for component in self.components for table in component.tables]
        if self.any_head:  # opened without its head, by the class for its type
            parts.append(("model", own))
        if config.get("use_timm_backbone", True) and not config.get("backbone_config"):  # the type's default backbone
            parts.append(("backbone", own))
        parts += [("model", each) for each in sorted(nested_model_types(config))]
        for part, model_type in parts:
            if missing := missing_libraries_of_component(part, model_type, installed):
                yield f"its {COMPONENT_NAMES[part]} {missing}"
        for name in () if self.any_head else names:
            if missing := missing_libraries(name, installed):
                yield f"its class {missing}"

    def _needed(self) -> str:
        """What fits, as text: the common endings of the classes' names if they are many."""
        if self.any_head and self.mappings:
            return f"a model type of transformers' tables {' or '.join(self.mappings)}"
        fitting = sorted(architectures_in(self.mappings) | set(self.architectures))
        endings = sorted({f"…For{name.rpartition('For')[2]}" for name in fitting if "For" in name})
        return " or ".join(endings[:3]) if endings and len(fitting) > 3 else f"one of {', '.join(fitting[:6])}"


def _lower_labels(id2label: object) -> set[str]:
    """The class names of ``id2label`` in lower case; none if it is not an object."""
    return {str(label).lower() for label in id2label.values()} if isinstance(id2label, dict) else set()
