"""Whatever stands in a flag, a setting or a file of settings: never exit code 70, never a traceback."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.step_table import STEPS
from steps.command.flags import check_run, make_parser, parse_inputs
from steps.core.errors import ExitCode, SlipwayError, to_slipway_error
from steps.core.settings import FILE, Settings, read_settings, variable

ARGUMENTS = st.characters(exclude_characters="\0")
TEXTS = st.text(ARGUMENTS, max_size=40) | st.sampled_from(["[", '["', "[1]", "null", "-", "--", "{{=1}}", "\udcff", "x" * 5000])


def reason_of(work: Callable[[], object]) -> ExitCode:
    """The exit code of what the work raises, or DONE; anything but a ``SlipwayError`` is the test's failure."""
    try:
        work()
    except SlipwayError as error:
        return error.reason.exit_code
    return ExitCode.DONE


@pytest.mark.fault("refused")
@pytest.mark.parametrize("name", STEPS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_flags_are_inputs_or_a_complaint(name: str, data: st.DataObject) -> None:
    step = STEPS[name]
    flags = [f"--{field.replace('_', '-')}={data.draw(TEXTS)}" for field in step.inputs.model_fields]
    extra = data.draw(st.lists(TEXTS.filter(lambda text: text not in ("-h", "--help")), max_size=2))
    run = data.draw(TEXTS)

    def work() -> None:
        parsed = make_parser(step).parse_args([*flags, *extra])
        parse_inputs(step.inputs, {field: getattr(parsed, field) for field in step.inputs.model_fields})
        check_run(run)

    assert reason_of(work) in (ExitCode.INPUT, ExitCode.DONE)


@pytest.mark.fault("refused")
@settings(max_examples=60, deadline=None)
@given(
    variables=st.dictionaries(st.sampled_from([*map(variable, Settings.model_fields)]), TEXTS, max_size=3),
    written=st.binary(max_size=60) | st.text(alphabet="ab=[]{}'\"#\n.1-_ ", max_size=60).map(str.encode),
)
def test_any_settings_are_read_or_a_complaint(variables: dict[str, str], written: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, FILE).write_bytes(written)
        assert reason_of(lambda: read_settings(variables, Path(folder))) in (ExitCode.INPUT, ExitCode.DONE)


@given(code=st.integers(min_value=-10, max_value=5000), text=st.text(max_size=20), name=st.text(max_size=20) | st.none())
def test_any_error_of_the_system_has_a_hint(code: int, text: str, name: str | None) -> None:
    error = to_slipway_error(OSError(code, text, name))
    assert error.hint
    assert error.message.isprintable() or "\n" in error.message or "\t" in error.message
