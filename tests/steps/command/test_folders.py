"""Folders that flags name: what can be none is refused before any work, as a mistake in that flag."""

from __future__ import annotations

from pathlib import Path

import pytest

from steps.command.context import open_context
from steps.command.folders import require_folder
from steps.command.main import main
from steps.core.errors import Reason, SlipwayError
from steps.core.progress import Progress
from steps.render import STEP as RENDER
from steps.report import STEP as REPORT

KEY = f"locks/{'0' * 64}.json"


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A path that can be no folder."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    places: dict[str, str] = {
        "file": str(tmp_path / "file"),
        "below a file": str(tmp_path / "file" / "a" / "b"),
        "long": str(tmp_path / ("x" * 300)),
        "long path": str(tmp_path / "/".join(["y" * 200] * 30)),
        "circle": str(tmp_path / "circle" / "a"),
        "null": f"{tmp_path}/a\0b",
    }
    return places[request.param]


PLACES = pytest.mark.parametrize("place", ["file", "below a file", "long", "long path", "circle", "null"], indirect=True)


@PLACES
@pytest.mark.fault("refused")
def test_no_folder_is_invalid_input(place: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        require_folder(place, "--scratch")
    assert caught.value.reason is Reason.INVALID_INPUT
    assert caught.value.message.startswith("--scratch ")


@PLACES
@pytest.mark.fault("refused")
def test_a_store_that_is_no_folder_is_refused(place: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        open_context(place, "", Progress())
    assert caught.value.reason.exit_code == 2
    assert place.replace("\0", "\\x00").removeprefix("/")[:40] in caught.value.message


@pytest.mark.fault("refused")
@pytest.mark.parametrize("flag", ["--scratch", "--outputs", "--store"])
def test_a_step_names_the_flag_at_fault(flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    others = [] if flag == "--store" else ["--store", str(tmp_path / "store")]
    with pytest.raises(SystemExit, match="2"):
        main(REPORT, [flag, str(file), "--report-run", "r", *others])
    error = capsys.readouterr().err
    assert error.startswith("error: InvalidInput: ")
    assert str(file) in error
    assert file.read_text() == "mine"
    assert not (tmp_path / "store").exists()


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lock", "../../x"], "--lock: '../../x' is not the key of an object in a store"),
        (["--facts", "/etc/passwd"], "--facts: '/etc/passwd' is not the key"),
        (["--facts", "a//b"], "--facts: 'a//b' is not the key"),
        (["--lock", ""], "--lock: '' is not the key"),
        (["--run", "../x"], "--run: write letters, digits"),
        (["--run", "x" * 300], "--run: it is too long"),
        (["--name", "Big"], "--name: write at most 40 lower-case letters"),
        (["--service", "\udcff"], "--service: '\\udcff' is not text in UTF-8"),
        (["--lokc", "x"], "unrecognized arguments: --lokc (did you mean --lock?)"),
        (["--lokc=x"], "unrecognized arguments: --lokc (did you mean --lock?)"),
    ],
)
def test_a_wrong_flag_is_named(arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right = ["--name", "m", "--service", "ner", "--lock", KEY, "--facts", KEY, "--store", str(tmp_path / "store")]
    with pytest.raises(SystemExit, match="2"):
        main(RENDER, [*right, *arguments])
    assert said in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_missing_flag_is_not_the_mistyped_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(REPORT, ["--report-rum", "r"])
    assert "unrecognized arguments: --report-rum (did you mean --report-run?)" in capsys.readouterr().err


def test_a_mistyped_setting_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_STROE", "x")
    with pytest.raises(SystemExit):
        main(RENDER, ["--name", "m", "--service", "ner", "--lock", KEY, "--facts", KEY, "--store", str(tmp_path / "s")])
    error = capsys.readouterr().err
    assert "Warning: There is no setting SLIPWAY_STROE: it has no effect. Did you mean SLIPWAY_STORE?" in error
