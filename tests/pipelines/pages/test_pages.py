"""The pages that are made from the code: they are fresh, complete, and valid Markdown."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from crd.types import ModelSpec
from pipelines.pages.markdown import cell, sentence, table
from pipelines.pages.settings import FOREIGN, OWN
from pipelines.pages.table import FOLDER, PAGES
from pipelines.step_table import STEPS
from steps.command.flags import flag_name
from steps.core.reasons import ExitCode, Reason
from steps.core.settings import Settings, variable

ROOT = FOLDER.parent


def text_of(page: str) -> str:
    return (FOLDER / page).read_text()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_fresh(name: str) -> None:
    assert text_of(name) == PAGES[name](), "run `make pages`"


@pytest.mark.parametrize("name", PAGES)
def test_rows_of_tables_have_equal_cells(name: str) -> None:
    for block in re.findall(r"(?:^\|.*\n)+", text_of(name), re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}) == 1, block


@pytest.mark.parametrize("name", PAGES)
def test_links_between_pages_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text_of(name))
    assert [link for link in links if not (FOLDER / link).exists()] == []


def test_every_reason_and_exit_code_is_explained() -> None:
    text = text_of("errors.md")
    for reason in Reason:
        assert f"| `{reason}` | {reason.meaning} | " in text
    for code in ExitCode:
        assert f"| `{int(code)}` | {code.meaning} | {'yes' if code.retryable else 'no'} |" in text


def test_every_setting_is_explained() -> None:
    text = text_of("settings.md")
    for name, field in Settings.model_fields.items():
        assert f"| `{name}` | `{variable(name)}` | " in text
        assert sentence(field.description or "") in text


def test_every_variable_of_slipway_is_explained() -> None:
    """A variable that the code reads, wherever it stands, is a setting or in the list of the others."""
    listed = subprocess.run(
        ["git", "ls-files", "steps", "crd", "pipelines", "containers"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("this is not a checkout")
    files = [ROOT / name for name in listed.stdout.split() if name.endswith((".py", ".sh")) and (ROOT / name).is_file()]
    found = set(re.findall(r"SLIPWAY_[A-Z][A-Z_]*[A-Z]", "".join(path.read_text() for path in files)))
    known = {variable(name) for name in Settings.model_fields} | set(OWN)
    assert found - known == set()
    assert not {name for names in FOREIGN for name in names.split(", ")} & known


def test_every_step_flag_and_output_is_explained() -> None:
    text = text_of("commands.md")
    for step in STEPS.values():
        section = text.partition(f"### steps.{step.name}\n")[2].partition("\n### ")[0]
        assert "Repeating: " in section
        assert "Failures: " in section
        for name in step.inputs.model_fields:
            assert f"| `{flag_name(name)}` | " in section
        for name in step.outputs.model_fields:
            assert f"| `{name}` | " in section


def test_every_field_of_the_spec_is_explained() -> None:
    text = text_of("crd.md")
    for name, field in ModelSpec.model_fields.items():
        assert f"| `{field.alias or name}` | " in text


def test_a_cell_stays_in_its_cell() -> None:
    assert cell("a|b\nc") == r"a\|b c"
    assert table(["x"], [["a|b"]]).splitlines()[-1] == r"| a\|b |"


def test_a_new_page_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pipelines.pages.__main__ as program

    monkeypatch.setattr(program, "FOLDER", tmp_path)
    monkeypatch.setattr(program, "PAGES", {"new.md": lambda: "# New\n"})
    program.main()
    assert (tmp_path / "new.md").read_text() == "# New\n"
