"""``python -m pipelines.demo`` takes no arguments, and says so before it trains anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.demo.__main__ import FOLDER, PORT, main, read_port
from steps.core.errors import Reason, SlipwayError


@pytest.mark.fault("refused")
def test_help_and_wrong_arguments_start_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert capsys.readouterr().out.startswith("usage: python -m pipelines.demo")
    with pytest.raises(SlipwayError, match="unrecognized arguments: --hepl"):
        main(["--hepl"])
    assert not FOLDER.exists()


@pytest.mark.parametrize(("text", "port"), [("", PORT), ("0", 0), ("65535", 65535)])
def test_the_port_is_read(text: str, port: int) -> None:
    assert read_port(text) == port


@pytest.mark.fault("refused")
@pytest.mark.parametrize("text", ["x", "-1", "65536", "1.5", "9" * 5000, "²"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(SlipwayError, match="SLIPWAY_DEMO_PORT: ") as caught:
        read_port(text)
    assert caught.value.reason is Reason.INVALID_INPUT
