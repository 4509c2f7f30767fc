"""The table of builders: what is made from it, and how the settings' builder is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from crd.schema import definition
from pipelines.local import branch
from steps.build import STEP
from steps.command.context import open_context
from steps.command.flags import make_parser
from steps.core.errors import Reason, SlipwayError
from steps.core.graph import SERVICE_NODES
from steps.core.progress import Progress
from steps.core.settings import Settings, read_settings
from steps.images.builders.supported import IN_CLUSTER, BuilderKind, configured_builder

each_kind = pytest.mark.parametrize("kind", BuilderKind)


@each_kind
def test_a_builder_has_a_name_and_a_title(kind: BuilderKind) -> None:
    assert kind.value == kind.builder.name
    assert kind.builder.title[0].islower()
    assert not kind.builder.title.endswith(".")


@each_kind
def test_a_later_step_is_in_the_graph(kind: BuilderKind) -> None:
    later = [node.name for node in branch(kind) if node.builder]
    assert later == ([kind.builder.later_step] if kind.builder.later_step else [])


def test_the_graph_names_only_builders_there_are() -> None:
    assert {node.builder for node in SERVICE_NODES} <= {"", *BuilderKind}


def test_the_crd_offers_every_builder() -> None:
    version = definition()["spec"]["versions"][0]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert spec["properties"]["builder"]["enum"] == list(BuilderKind)


def test_the_help_of_build_offers_every_builder() -> None:
    text = make_parser(STEP).format_help()
    assert all(kind in text for kind in BuilderKind)


@each_kind
def test_programs_are_for_this_machine_alone(kind: BuilderKind) -> None:
    assert (kind in IN_CLUSTER) is not kind.builder.needs_program


@each_kind
def test_the_settings_name_a_builder(kind: BuilderKind, tmp_path: Path) -> None:
    (tmp_path / "slipway.toml").write_text(f'builder = "{kind}"\n')
    assert configured_builder(read_settings({}, tmp_path)) is kind


def test_without_settings_images_are_planned() -> None:
    assert configured_builder(Settings()) is BuilderKind.PLAN


def test_an_unknown_builder_names_variable_and_builders(tmp_path: Path) -> None:
    with pytest.raises(SlipwayError, match="SLIPWAY_BUILDER: there is no builder 'magic'") as caught:
        configured_builder(read_settings({"SLIPWAY_BUILDER": "magic"}, tmp_path))
    assert caught.value.reason is Reason.INVALID_INPUT
    assert all(kind in caught.value.hint for kind in BuilderKind)


@pytest.mark.parametrize("name", ["magic", ""])
def test_an_unknown_builder_names_file_and_setting(name: str, tmp_path: Path) -> None:
    (tmp_path / "slipway.toml").write_text(f'builder = "{name}"\n')
    with pytest.raises(SlipwayError, match=r"slipway\.toml, builder: there is no builder"):
        configured_builder(read_settings({}, tmp_path))


def test_an_unknown_builder_stops_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLIPWAY_STORE", raising=False)
    monkeypatch.setenv("SLIPWAY_BUILDER", "magic")
    with pytest.raises(SlipwayError, match="SLIPWAY_BUILDER: "):
        open_context("", "", Progress())
