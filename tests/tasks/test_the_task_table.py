"""The task table: names, aliases, which model fits, and that each entry has all that the steps look for."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.errors import Reason, SlipwayError
from steps.frameworks.transformers import GOLDEN_FILES
from steps.pins import FAMILIES
from steps.tasks import ALIASES, TASKS, check_fit, resolve
from steps.tasks.task import PROCESSOR_FILES, TOKENIZER_FILES
from steps.templates import FOLDER

TEXT_FILES = frozenset({"config.json", "model.safetensors", "tokenizer.json"})
IMAGE_FILES = frozenset({"config.json", "model.safetensors", "preprocessor_config.json"})


def test_the_four_tasks_are_there() -> None:
    assert list(TASKS) == ["image-classification", "text-classification", "token-classification", "feature-extraction"]


@pytest.mark.parametrize(("alias", "name"), [("ner", "token-classification"), ("sentiment-analysis", "text-classification")])
def test_an_alias_of_transformers_is_understood(alias: str, name: str) -> None:
    assert resolve(alias).name == name


def test_no_alias_hides_a_task() -> None:
    assert not ALIASES.keys() & TASKS.keys()


@pytest.mark.parametrize("name", [*TASKS, *ALIASES])
def test_transformers_knows_it_by_the_same_name(name: str) -> None:
    from transformers.pipelines import PIPELINE_REGISTRY

    assert PIPELINE_REGISTRY.check_task(name)[0] == resolve(name).name


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_an_entry_has_its_code_its_template_its_files_and_its_packages(task) -> None:  # type: ignore[no-untyped-def]
    module = importlib.import_module(f"steps.serving.{task.service}")
    parameters = inspect.signature(module.Runner.predict).parameters
    assert set(task.golden.fields) | set(task.golden.files) <= set(parameters)
    assert (FOLDER / f"service/{task.service}.py.j2").is_file()
    assert task.family in FAMILIES
    for path in task.golden.files.values():
        assert (GOLDEN_FILES / path).is_file()
        assert not Path(path).is_absolute()


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("text_classification", "text-classification"),
        ("Text Classification", "text-classification"),
        ("tokenclassification", "token-classification"),
        ("image-clasification", "image-classification"),
        ("sentiment", "sentiment-analysis"),
        ("NER", "ner"),
    ],
)
def test_a_misspelt_task_is_told_what_is_near(wrong: str, near: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        resolve(wrong)
    assert caught.value.reason is Reason.UNKNOWN_TASK
    assert f"Did you mean {near!r}?" in caught.value.message


@given(st.text())
def test_any_other_name_is_refused_with_the_list_of_tasks(name: str) -> None:
    if name not in TASKS and name not in ALIASES:
        with pytest.raises(SlipwayError) as caught:
            resolve(name)
        assert caught.value.reason is Reason.UNKNOWN_TASK
        assert all(task in caught.value.hint for task in TASKS)


@pytest.mark.parametrize(
    ("architecture", "files", "able"),
    [
        ("BertForSequenceClassification", TEXT_FILES, {"text-classification", "feature-extraction"}),
        ("BertForTokenClassification", TEXT_FILES, {"token-classification", "feature-extraction"}),
        ("BertModel", TEXT_FILES, {"feature-extraction"}),
        ("ViTForImageClassification", IMAGE_FILES, {"image-classification"}),
        ("DeiTForImageClassificationWithTeacher", IMAGE_FILES, {"image-classification"}),
        ("BertForSequenceClassification", frozenset({"config.json"}), set()),
        ("ViTForImageClassification", frozenset({"config.json"}), set()),
    ],
)
def test_what_a_model_can_do_follows_from_its_class_and_its_files(
    architecture: str, files: frozenset[str], able: set[str]
) -> None:
    assert {task.name for task in TASKS.values() if task.misfit((architecture,), files) is None} == able
    for task in TASKS.values():
        if task.name not in able:
            with pytest.raises(SlipwayError) as caught:
                check_fit(task, (architecture,), files)
            assert caught.value.reason is Reason.TASK_MISMATCH
            assert all(name in caught.value.hint for name in able)


@pytest.mark.parametrize("group", [TOKENIZER_FILES, PROCESSOR_FILES])
def test_one_file_of_a_group_is_enough(group: frozenset[str]) -> None:
    task = TASKS["feature-extraction" if group is TOKENIZER_FILES else "image-classification"]
    for file in group:
        assert task.misfit(("ViTForImageClassification",), frozenset({file})) is None
