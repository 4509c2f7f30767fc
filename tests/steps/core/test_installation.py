"""The hint for an optional library that is not installed, for a checkout and for installed wheels."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from steps.core import installation
from steps.core.errors import Reason, missing_extra
from steps.core.installation import install_command, requirements_of

METADATA = """Metadata-Version: 2.4
Name: slipway-models
Version: 1
Requires-Dist: pydantic>=2
Requires-Dist: botocore[crt]>=1.40; extra == 's3'
Requires-Dist: torch==2.13.0; extra == "ml"
Requires-Dist: kopf>=1; python_version > "3" and extra == "operator"
"""


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in which Slipway is installed from a wheel; returns its folder."""
    (tmp_path / "slipway_models-1.dist-info").mkdir()
    (tmp_path / "slipway_models-1.dist-info/METADATA").write_text(METADATA)
    monkeypatch.setattr(installation, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin/python"))
    return tmp_path


def test_a_checkout_installs_from_itself() -> None:
    command = install_command("pipelines", "operator")
    python, _, _, install, *_, pins, _, place = shlex.split(command)
    assert install == "install"
    assert place == f"{installation.ROOT}[pipelines,operator]"
    assert Path(pins).is_file()
    assert Path(python).is_absolute(), "it works in any folder"


def test_a_wheel_installs_the_requirements_of_the_extra(wheel: Path) -> None:
    pins = wheel / "steps/package/pins.txt"
    assert install_command("s3") == f"{wheel}/bin/python -m pip install -c {pins} 'botocore[crt]>=1.40'"
    assert install_command("ml", "operator").endswith(" torch==2.13.0 'kopf>=1'")


def test_pipx_and_uv_are_recognised(wheel: Path) -> None:
    (wheel / "uv-receipt.toml").touch()
    assert install_command("s3").startswith(f"uv pip install --python {wheel}/bin/python ")
    (wheel / "pipx_metadata.json").touch()
    assert install_command("s3") == f"pipx inject {wheel.name} 'botocore[crt]>=1.40'"


def test_an_unknown_distribution_requires_nothing() -> None:
    assert requirements_of("s3", "no-such-distribution") == []


@pytest.mark.parametrize("extra", ["ml", "gcp", "s3", "pipelines", "operator"])
def test_the_error_names_package_and_command(extra: str, wheel: Path) -> None:
    error = missing_extra(extra, package="thing", needed_by="gs://x")
    assert error.reason is Reason.MISSING_DEPENDENCY
    assert error.message == "gs://x needs the package thing, which is not installed."
    assert not re.search(r"install '?slipway", error.hint), "that name on a package index is somebody else's"
    del wheel


def test_every_extra_in_the_code_exists() -> None:
    root = Path(__file__).parents[3]
    text = "".join(path.read_text() for folder in ("steps", "crd", "pipelines") for path in (root / folder).rglob("*.py"))
    project = (root / "pyproject.toml").read_text()
    named = {
        name for call in re.findall(r"missing_extra\(((?:\"\w+\"(?:, )?)+)", text) for name in re.findall(r"\"(\w+)\"", call)
    }
    assert named >= {"gcp", "s3", "ml", "operator"}
    for name in named:
        assert re.search(rf"^{name} = \[", project, re.MULTILINE)
