"""Versions: ``pins.txt`` is what is installed, and each family's requirements are all that it needs and nothing more."""

from __future__ import annotations

import importlib.metadata
import re

import pytest

from steps.package.pins import FAMILIES, closure, installed_versions, read_pins, read_requirements
from steps.tasks.table import TASKS


def lines(family: str) -> list[str]:
    return [line for line in read_requirements(family).splitlines() if not line.startswith("#")]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_requirements_are_the_closure_of_the_family(family: str) -> None:
    assert lines(family) == closure(FAMILIES[family], installed_versions())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_requirement_has_the_pinned_version(family: str) -> None:
    pins = read_pins()
    for line in lines(family):
        name, _, version = line.partition("==")
        assert pins[name] == version


def test_the_pins_are_the_installed_versions() -> None:
    here = installed_versions()
    pins = read_pins()
    assert len(pins) > 50
    assert {name: here[name] for name in pins if name in here} == {name: pins[name] for name in pins if name in here}
    assert {"torch", "transformers", "bentoml", "safetensors"} <= here.keys() & pins.keys()


def test_every_task_has_its_familys_requirements() -> None:
    assert {task.family for task in TASKS.values()} == set(FAMILIES)


def test_a_service_has_no_package_beyond_serving() -> None:
    for family in FAMILIES:
        names = {line.partition("==")[0] for line in lines(family)}
        assert not names & {"slipway", "scikit-learn", "pytest", "gitpython", "google-cloud-storage", "typer-slim", "mypy"}
    assert "pillow" in {line.partition("==")[0] for line in lines("image")} - {
        line.partition("==")[0] for line in lines("text")
    }


def test_services_and_steps_share_one_pydantic() -> None:
    pinned = re.search(r"^pydantic==(.*)$", read_requirements("text"), re.MULTILINE)
    assert pinned is not None
    assert pinned[1] == importlib.metadata.version("pydantic")
