"""The task table: names, aliases, which model fits, and that each entry has all that the steps need."""

from __future__ import annotations

import dataclasses
import importlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.core.errors import Reason, SlipwayError
from steps.frameworks.golden_answer import GOLDEN_FILES
from steps.package.pins import FAMILIES
from steps.serving import runner
from steps.tasks import architectures
from steps.tasks.base import PROCESSOR_FILES, TOKENIZER_FILES, Task
from steps.tasks.table import ALIASES, TASKS, check_task, matching_tasks, resolve, tasks_for_auto

TEXT_FILES = frozenset({"config.json", "model.safetensors", "tokenizer.json"})
IMAGE_FILES = frozenset({"config.json", "model.safetensors", "preprocessor_config.json"})
# Tasks that transformers 5 has taken out, while the Hub still labels models with them.
RETIRED = {
    "question-answering",
    "summarization",
    "translation",
    "text2text-generation",
    "image-to-text",
    "visual-question-answering",
    "image-to-image",
}
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)


def live() -> set[str]:
    from transformers.pipelines import SUPPORTED_TASKS

    return set(SUPPORTED_TASKS)


@pytest.mark.slow
def test_every_task_of_transformers_is_served() -> None:
    assert live() | RETIRED <= TASKS.keys()


@pytest.mark.slow
def test_transformers_has_no_retired_task() -> None:
    from transformers.pipelines import PIPELINE_REGISTRY

    assert not RETIRED & live()
    for name in RETIRED:
        with pytest.raises(KeyError):
            PIPELINE_REGISTRY.check_task(name)


@pytest.mark.slow
def test_names_are_those_of_transformers() -> None:
    from transformers.pipelines import PIPELINE_REGISTRY, TASK_ALIASES

    for name in (*live(), *TASK_ALIASES):
        assert resolve(name).name == PIPELINE_REGISTRY.check_task(name)[0]


@pytest.mark.slow
def test_aliases_are_those_of_transformers() -> None:
    from transformers.pipelines import REMOVED_TASKS, TASK_ALIASES

    of_transformers = {alias for alias, task in ALIASES.items() if task in live() | RETIRED}
    assert of_transformers <= {*TASK_ALIASES, *REMOVED_TASKS}


def test_no_name_is_used_twice() -> None:
    names = Counter(name for task in TASKS.values() for name in (task.name, *task.aliases))
    assert max(names.values()) == 1
    assert not ALIASES.keys() & TASKS.keys()


def module_of(task: Task) -> Any:
    return importlib.import_module(f"steps.serving.tasks.{task.module}")


def golden_of(task: Task) -> dict[str, Any]:
    files = {name: (GOLDEN_FILES / path).read_bytes() for name, path in task.golden.files.items()}
    return {**files, **task.golden.fields}


@every_task
def test_an_entry_has_its_module_and_family(task: Task) -> None:
    module = module_of(task)
    assert issubclass(module.Request, runner.Request)
    assert issubclass(module.Answer, runner.Answer)
    assert issubclass(module.Runner, runner.Runner)
    assert task.family in FAMILIES
    assert task.title


@every_task
def test_an_entry_agrees_with_its_runner(task: Task) -> None:
    kind = module_of(task).Runner
    assert task.streams == issubclass(kind, runner.StreamingRunner)
    assert (task.max_batch_size > 1) == (kind.predict_all is not runner.Runner.predict_all)
    assert 1 <= task.max_batch_size <= 64


@every_task
def test_the_golden_request_is_valid(task: Task) -> None:
    request = module_of(task).Request(**golden_of(task))
    assert request.model_fields_set == task.golden.fields.keys() | task.golden.files.keys()
    assert not task.golden.fields.keys() & task.golden.files.keys()


@every_task
def test_golden_files_are_small(task: Task) -> None:
    for path in task.golden.files.values():
        assert (Path(path).is_absolute(), Path(path).parts[0]) == (False, "golden")
        assert 0 < (GOLDEN_FILES / path).stat().st_size < 60_000


@pytest.mark.slow
def test_entries_name_classes_of_transformers() -> None:
    import transformers

    assert {name for task in TASKS.values() for name in task.architectures} <= set(dir(transformers))
    for task in TASKS.values():
        assert set(task.mappings) <= architectures.tables().keys(), task.name
        assert task.mappings or task.architectures, task.name


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("text_classification", "text-classification"),
        ("Text Classification", "text-classification"),
        ("tokenclassification", "token-classification"),
        ("image-clasification", "image-classification"),
        ("fillmask", "fill-mask"),
        ("Question Answering", "question-answering"),
        ("tableQA-question-answering", "table-question-answering"),
        ("sentiment", "sentiment-analysis"),
        ("NER", "ner"),
    ],
)
def test_a_similar_name_is_suggested(wrong: str, near: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        resolve(wrong)
    assert caught.value.reason is Reason.UNKNOWN_TASK
    assert f"Did you mean {near!r}?" in caught.value.message


@given(st.text())
def test_an_unknown_name_is_refused(name: str) -> None:
    if name not in TASKS and name not in ALIASES:
        with pytest.raises(SlipwayError) as caught:
            resolve(name)
        assert caught.value.reason is Reason.UNKNOWN_TASK
        assert all(task in caught.value.hint for task in TASKS)


def bert(head: str, **settings: Any) -> dict[str, Any]:
    return {"architectures": [f"Bert{head}"], "model_type": "bert", **settings}


ENTAILS = {"0": "CONTRADICTION", "1": "NEUTRAL", "2": "ENTAILMENT"}
VIT = {"architectures": ["ViTForImageClassification"], "model_type": "vit"}
TAPAS = {"architectures": ["TapasForQuestionAnswering"], "model_type": "tapas"}
BART = {"architectures": ["BartForConditionalGeneration"], "model_type": "bart"}
PAGE = {"architectures": ["LayoutLMv3ForQuestionAnswering"], "model_type": "layoutlmv3"}
OWN = {"architectures": ["HouseBrandModel"], "model_type": "house-brand"}


@pytest.mark.parametrize(
    ("config", "files", "able", "unable"),
    [
        (
            bert("ForSequenceClassification", id2label={"0": "good", "1": "bad"}),
            TEXT_FILES,
            "text-classification feature-extraction",
            "zero-shot-classification token-classification fill-mask image-classification",
        ),
        (bert("ForSequenceClassification"), TEXT_FILES, "text-classification", "zero-shot-classification"),
        (
            bert("ForSequenceClassification", id2label=ENTAILS),
            TEXT_FILES,
            "text-classification feature-extraction zero-shot-classification",
            "question-answering",
        ),
        (bert("ForTokenClassification"), TEXT_FILES, "token-classification feature-extraction", "text-classification"),
        (bert("ForMaskedLM"), TEXT_FILES, "fill-mask feature-extraction", "question-answering"),
        (bert("ForPreTraining"), TEXT_FILES, "fill-mask feature-extraction", "text-classification"),
        (bert("ForQuestionAnswering"), TEXT_FILES, "question-answering feature-extraction", "table-question-answering"),
        (bert("Model"), TEXT_FILES, "feature-extraction", "fill-mask text-classification image-classification"),
        (bert("Model"), frozenset({"config.json"}), "", "feature-extraction fill-mask"),
        (TAPAS, TEXT_FILES, "table-question-answering", "question-answering text-classification"),
        (BART, TEXT_FILES, "", "table-question-answering question-answering"),
        (PAGE, TEXT_FILES | IMAGE_FILES, "", "question-answering table-question-answering"),
        (VIT, IMAGE_FILES, "image-classification", "text-classification feature-extraction"),
        ({**VIT, "architectures": ["DeiTForImageClassificationWithTeacher"]}, IMAGE_FILES, "image-classification", ""),
        (VIT, frozenset({"config.json"}), "", "image-classification"),
    ],
    ids=lambda value: value["architectures"][0] if isinstance(value, dict) else "",
)
def test_config_and_files_say_what_fits(config: dict[str, Any], files: frozenset[str], able: str, unable: str) -> None:
    fit = {task.name for task in matching_tasks(config, files)}
    assert set(able.split()) <= fit
    assert not fit & set(unable.split())
    for task in TASKS.values():
        if task.name in fit:
            check_task(task, config, files)
            continue
        with pytest.raises(SlipwayError) as caught:
            check_task(task, config, files)
        assert caught.value.reason is Reason.TASK_MISMATCH
        assert f"The model cannot do {task.name}: " in caught.value.message
        assert all(name in caught.value.hint for name in fit)


def test_a_model_that_fits_nothing_is_refused() -> None:
    assert matching_tasks(OWN, TEXT_FILES | IMAGE_FILES) == []
    with pytest.raises(SlipwayError, match="HouseBrandModel, and …ForSequenceClassification is needed") as caught:
        check_task(TASKS["text-classification"], OWN, TEXT_FILES)
    assert caught.value.hint == "None of Slipway's tasks fits this model."


@pytest.mark.fault("refused")
def test_a_missing_tokenizer_is_to_be_saved() -> None:
    with pytest.raises(SlipwayError, match=r"it has none of the files .*tokenizer\.json") as caught:
        check_task(TASKS["text-classification"], bert("ForSequenceClassification"), frozenset({"config.json"}))
    assert "AutoTokenizer.from_pretrained(…).save_pretrained(folder)" in caught.value.hint


def test_a_missing_class_is_named() -> None:
    with pytest.raises(SlipwayError, match="no class named entail"):
        check_task(TASKS["zero-shot-classification"], bert("ForSequenceClassification", id2label={"0": "good"}), TEXT_FILES)


@pytest.mark.parametrize("value", [None, 7, "entailment", ["entailment"], {"0": ["entailment"]}, {"0": None}, {}])
def test_odd_configuration_values_fit_nothing(value: Any) -> None:
    names = {task.name for task in matching_tasks(bert("ForSequenceClassification", id2label=value), TEXT_FILES)}
    assert "text-classification" in names
    assert "zero-shot-classification" not in names
    assert matching_tasks({"architectures": ["HouseBrandModel"], "model_type": value}, TEXT_FILES) == []


@pytest.mark.parametrize(
    ("task", "config", "group"),
    [("feature-extraction", bert("Model"), TOKENIZER_FILES), ("image-classification", VIT, PROCESSOR_FILES)],
    ids=["tokenizer", "processor"],
)
def test_one_file_of_a_group_is_enough(task: str, config: dict[str, Any], group: frozenset[str]) -> None:
    for file in group:
        assert TASKS[task].mismatch(config, frozenset({file})) is None
    assert "none of the files" in (TASKS[task].mismatch(config, frozenset({"config.json"})) or "")


def test_auto_prefers_tasks_that_use_the_head() -> None:
    assert [task.name for task in tasks_for_auto(bert("ForTokenClassification"), TEXT_FILES)] == ["token-classification"]
    assert [task.name for task in tasks_for_auto(bert("Model"), TEXT_FILES)] == ["feature-extraction"]
    assert tasks_for_auto(OWN, TEXT_FILES) == []


def test_a_new_entry_does_not_change_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    config, entry = bert("ForTokenClassification"), TASKS["token-classification"]
    fields = {each.name: getattr(entry, each.name) for each in dataclasses.fields(Task) if each.name != "auto"}
    new = Task(**{**fields, "name": "entity-linking", "aliases": ()})
    monkeypatch.setitem(TASKS, new.name, new)
    assert new.module == "entity_linking"
    assert new in matching_tasks(config, TEXT_FILES)
    assert tasks_for_auto(config, TEXT_FILES) == [entry]
