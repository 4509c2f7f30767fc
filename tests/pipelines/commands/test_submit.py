"""``slipway submit``: what is sent, and what is refused before anything is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from steps.core.errors import ExitCode
from steps.images.builders.supported import IN_CLUSTER, BuilderKind
from tests.pipelines.conftest import slipway_here
from tests.servers.api_server import ApiServer

SAMPLE = Path(__file__).parents[3] / "crd/samples/git-lfs.yaml"

pytestmark = pytest.mark.slow  # a process for each case


@pytest.mark.parametrize("text", ["", "[1, 2", "a: {", "apiVersion: v1\nkind: Config\n"])
def test_a_configuration_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    for environment in ({"KUBECONFIG": str(path)}, {"KUBECONFIG": "", "HOME": str(tmp_path)}):
        done = slipway_here("submit", "-f", str(SAMPLE), **environment)
        assert done.returncode == ExitCode.ENVIRONMENT, done.stderr
        assert "MissingDependency: No cluster is configured" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_local_builder_starts_no_workflow(server: ApiServer, environment: Mapping[str, str], tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    for builder in set(BuilderKind) - set(IN_CLUSTER):
        path.write_text(f"{SAMPLE.read_text()}  builder: {builder}\n")
        server.asked.clear()
        done = slipway_here("submit", "-f", str(path), "--workflow", **environment)
        assert done.returncode == ExitCode.ENVIRONMENT
        assert f"BuilderMissing: The builder {builder}" in done.stderr
        assert "hint: Set `builder: plan`" in done.stderr
        assert not any("slipway-ingest" in asked or "workflow" in asked for asked in server.asked)
