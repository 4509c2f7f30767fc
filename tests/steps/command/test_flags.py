"""Flags: from a step's inputs to a command line and back, and what is wrong with them."""

from __future__ import annotations

import pytest

from pipelines.step_table import STEPS
from steps.command.flags import flag_name, format_flags, make_parser, parse_inputs, split_list, usage_error
from steps.core.errors import Reason, SlipwayError
from steps.fetch import FetchInputs
from steps.sources.supported import SourceKind

FETCH = STEPS["fetch"]


def parse(*arguments: str) -> FetchInputs:
    given = make_parser(FETCH).parse_args(arguments)
    return parse_inputs(FetchInputs, {name: getattr(given, name) for name in FetchInputs.model_fields})


def test_inputs_survive_the_way_through_flags() -> None:
    inputs = FetchInputs(
        source_kind=SourceKind.GIT_LFS, source="https://x/y", include=("*.txt", "a/b"), services=("fill-mask", "ner")
    )
    assert parse(*format_flags(inputs)) == inputs


def test_a_dash_before_a_value_is_kept() -> None:
    assert parse("--source-kind=git_lfs", "--source=-x").source == "-x"


def test_a_flag_is_named_as_its_field() -> None:
    assert flag_name("source_kind") == "--source-kind"


@pytest.mark.parametrize(
    ("text", "found"),
    [("a,b", ("a", "b")), (" a , ,b ", ("a", "b")), ('["a,b", "c"]', ("a,b", "c")), ("", ()), ("[1]", ("[1]",))],
)
def test_lists_are_json_or_separated_by_commas(text: str, found: tuple[str, ...]) -> None:
    assert split_list(text) == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: --source-kind, --source"),
        (("--source-kind", "ftp", "--source", "x"), "argument --source-kind: invalid choice: 'ftp'"),
        (("--source-kind", "git_lfs", "--source", "x", "--more"), "unrecognized arguments: --more"),
        (("--source-kind", "git_lfs", "--source", "x", "--revision"), "argument --revision: expected one argument"),
    ],
)
def test_wrong_arguments_are_invalid_input(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        parse(*arguments)
    assert caught.value.reason is Reason.INVALID_INPUT
    assert caught.value.message.startswith(message)
    assert caught.value.hint == "`python -m steps.fetch --help` lists the arguments."


def test_a_message_of_several_lines_becomes_one() -> None:
    assert usage_error("No\n such  option", "slipway run").message == "No such option"


@pytest.mark.parametrize("name", STEPS)
def test_help_has_every_flag(name: str) -> None:
    text = make_parser(STEPS[name]).format_help()
    for field in STEPS[name].inputs.model_fields:
        assert f"{flag_name(field)} " in text
