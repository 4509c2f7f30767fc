"""Settings: the environment before the file before the defaults, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from steps.build import BuildInputs
from steps.command.flags import make_parser, parse_inputs
from steps.core.errors import Reason, SlipwayError
from steps.core.settings import Settings, read_seconds, read_settings, unknown_variables, variable
from steps.images.builders.supported import BuilderKind

ARCHIVE = {"name": "m", "service": "ner", "archive": "archives/x", "archive_digest": "0" * 64}


def written(folder: Path, text: str) -> Path:
    (folder / "slipway.toml").write_text(text)
    return folder


def test_without_settings_there_are_defaults(tmp_path: Path) -> None:
    assert read_settings({}, tmp_path) == Settings()


def test_a_variable_overrides_the_file(tmp_path: Path) -> None:
    folder = written(tmp_path, 'registry = "one.example/a"\nbuilder = "local"\nplain_http = ["127.0.0.1:5000"]\n')
    found = read_settings({"SLIPWAY_REGISTRY": "two.example/b", "SLIPWAY_BUILD_TIMEOUT": "90"}, folder)
    assert (found.registry, found.builder, found.build_timeout) == ("two.example/b", BuilderKind.LOCAL, 90)
    assert found.plain_http == ("127.0.0.1:5000",)


def test_empty_and_other_variables_are_ignored(tmp_path: Path) -> None:
    assert read_settings({"SLIPWAY_REGISTRY": "", "SLIPWAY_DEMO_PORT": "1"}, tmp_path) == Settings()


def test_a_list_variable_is_split_at_commas(tmp_path: Path) -> None:
    assert read_settings({"SLIPWAY_PLAIN_HTTP": "a:1, b:2"}, tmp_path).plain_http == ("a:1", "b:2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("registri = 'x'", "Did you mean 'registry'?"),
        ("registry = 'Some Where'", "slipway.toml, registry: "),
        ("registry = ", "slipway.toml cannot be read"),
        ("build_timeout = 1", "slipway.toml, build_timeout: "),
    ],
)
def test_a_wrong_line_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SlipwayError, match=r"slipway\.toml") as caught:
        read_settings({}, written(tmp_path, text))
    assert caught.value.reason is Reason.INVALID_INPUT
    assert message in str(caught.value)


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[" * 5000, "cannot be read: "),
        (b"store = " + b"[" * 5000, "it is nested too deeply"),
        (b"build_timeout = " + b"9" * 5000, "cannot be read: "),
        (b"store = 'a", "cannot be read: "),
        (b"store = 'a'\nstore = 'b'", "cannot be read: Cannot overwrite a value"),
        (b"\xff\xfes\x00", "is not text in UTF-8: it is UTF-16"),
        (b"x" * (2 << 20), "is larger than"),
        (b"store = 5", "store: write a text"),
        (b"store = ''", "store: it is empty, or too short"),
        (b"plain_http = [1]", "plain_http: write a text"),
        (b"[store]\na = 1", "store: write a text"),
        (b"build_waiting = 5", "there is no setting 'build_waiting'. Did you mean 'build_wait'?"),
        (b"build_things = 5", "there is no setting 'build_things'.\n"),
        (b"SLIPWAY_STORE = 'x'", "Did you mean 'store'?"),
        (b"registry = 'Some where'", "registry: write HOST[:PORT][/PATH]"),
    ],
    ids=range(15),
)
def test_a_broken_file_is_refused_in_words(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "slipway.toml").write_bytes(data)
    with pytest.raises(SlipwayError, match=r"slipway\.toml") as caught:
        read_settings({}, tmp_path)
    assert caught.value.reason is Reason.INVALID_INPUT
    assert said in f"{caught.value.message}\n"
    assert len(caught.value.message) < 1000


@pytest.mark.fault("refused")
def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "slipway.toml").mkdir()
    with pytest.raises(SlipwayError, match=r"slipway\.toml is a folder, not a file"):
        read_settings({}, tmp_path)


@pytest.mark.fault("accepted")
def test_a_mark_before_the_text_is_taken(tmp_path: Path) -> None:
    (tmp_path / "slipway.toml").write_bytes(b"\xef\xbb\xbfregistry = 'a.example/b'\r\n")
    assert read_settings({}, tmp_path).registry == "a.example/b"


@pytest.mark.fault("refused")
@pytest.mark.parametrize("text", ["x", "-1", "0", "nan", "inf", "1e999", "9" * 400])
def test_seconds_are_a_number_above_zero(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_RESYNC_SECONDS", text)
    with pytest.raises(SlipwayError, match="SLIPWAY_RESYNC_SECONDS: write a number of seconds") as caught:
        read_seconds("SLIPWAY_RESYNC_SECONDS", 60.0)
    assert caught.value.reason is Reason.INVALID_INPUT


def test_seconds_have_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_RESYNC_SECONDS", "")
    assert read_seconds("SLIPWAY_RESYNC_SECONDS", 60.0) == 60.0
    monkeypatch.setenv("SLIPWAY_RESYNC_SECONDS", "2.5")
    assert read_seconds("SLIPWAY_RESYNC_SECONDS", 60.0) == 2.5


def test_unknown_variables_are_named_with_the_nearest() -> None:
    environment = {
        "SLIPWAY_STOER": "x",
        "SLIPWAY_COLOUR_OF_SAILS": "x",
        "SLIPWAY_STORE": "x",
        "SLIPWAY_DEMO_PORT": "x",
        "SLIPWAY_OPERATOR_SERVICE_HOST": "10.0.0.1",  # of a Service that Kubernetes tells every pod of
        "SLIPWAY_OPERATOR_PORT_80_TCP_ADDR": "10.0.0.1",
        "OTHER": "x",
    }
    assert unknown_variables(environment) == [
        "There is no setting SLIPWAY_COLOUR_OF_SAILS: it has no effect.",
        "There is no setting SLIPWAY_STOER: it has no effect. Did you mean SLIPWAY_STORE?",
    ]


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(SlipwayError, match="SLIPWAY_BUILD_TIMEOUT: "):
        read_settings({"SLIPWAY_BUILD_TIMEOUT": "never"}, tmp_path)


def test_a_flag_overrides_settings_unless_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(written(tmp_path, 'builder = "local"\nregistry = "one.example"\n'))
    for name in map(variable, Settings.model_fields):
        monkeypatch.delenv(name, raising=False)
    empty = parse_inputs(BuildInputs, {**ARCHIVE, "builder": "", "registry": "", "base_image": ""})
    assert (empty.builder, empty.registry, empty.base_image) == (BuilderKind.LOCAL, "one.example", Settings().base_image)
    named = parse_inputs(BuildInputs, {**ARCHIVE, "builder": "plan", "registry": "two.example", "base_image": "b"})
    assert (named.builder, named.registry, named.base_image) == (BuilderKind.PLAN, "two.example", "b")


def test_help_works_with_a_broken_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from steps.build import STEP

    monkeypatch.chdir(written(tmp_path, "registry = "))
    with pytest.raises(SystemExit, match="0"):
        make_parser(STEP).parse_args(["--help"])
    assert "from the settings" in capsys.readouterr().out
