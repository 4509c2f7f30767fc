"""What a later step would refuse, fetch refuses before it asks the source for anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from steps.core.contract import Context
from steps.core.errors import ExitCode
from steps.core.receipts import receipt_key
from steps.fetch import FetchInputs
from steps.sources.supported import SourceKind
from tests.steps.sources.running import fetch, run_process

NOWHERE = "https://127.0.0.1:1/x/y"  # asked for anything, it would be a transient failure


@pytest.mark.slow
@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("flag", "code", "says"),
    [
        ("--name=Bad_Name", ExitCode.INPUT, "InvalidInput: --name: "),
        ("--name=", ExitCode.INPUT, "InvalidInput: --name: "),
        ("--name={ { =1+1}}", ExitCode.INPUT, "InvalidInput: --name: "),
        ("--framework=tensorflow", ExitCode.INPUT, "argument --framework: invalid choice: 'tensorflow'"),
        ("--builder=kaniko", ExitCode.INPUT, "argument --builder: invalid choice: 'kaniko'"),
        ("--builder=local", ExitCode.ENVIRONMENT, "BuilderMissing: None of buildah, podman and docker"),
        ("--services=no-such-task", ExitCode.INPUT, "UnknownTask: "),
    ],
)
def test_wrong_parameters_are_refused_before_contact(tmp_path: Path, flag: str, code: int, says: str) -> None:
    done = run_process(NOWHERE, tmp_path / "store", flag, env={"PATH": str(tmp_path)})
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_the_receipt_depends_on_none_of_them(tmp_path: Path) -> None:
    plain = FetchInputs(source_kind=SourceKind.UPLOAD, source=str(tmp_path))
    named = plain.model_copy(update={"name": "other", "builder": "oci"})
    assert receipt_key("fetch", plain) == receipt_key("fetch", named)


def test_an_empty_builder_is_the_configured_one(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_BUILDER", "kaniko")
    with pytest.raises(Exception, match="SLIPWAY_BUILDER: there is no builder 'kaniko'"):
        fetch(context, NOWHERE)
