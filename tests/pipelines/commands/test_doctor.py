"""``slipway doctor``: what it prints without a cluster, and in one without Slipway."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from steps.core.errors import ExitCode
from tests.pipelines.conftest import slipway_here

pytestmark = pytest.mark.slow  # a process for each case


def test_without_a_cluster_this_machine_is_checked(tmp_path: Path) -> None:
    done = slipway_here("doctor", "--store", str(tmp_path / "store"), KUBECONFIG="", HOME=str(tmp_path))
    assert "✓ git" in done.stdout
    assert "✗ API server: No cluster is configured" in done.stdout
    assert re.search(r"walls around models: (Landlock \(ABI \d+\), audit hook|audit hook alone)", done.stdout)
    assert "(not required)" in done.stdout
    assert not (tmp_path / "store").exists(), "the doctor changes nothing"
    findings = json.loads(slipway_here("doctor", "--json", KUBECONFIG="", HOME=str(tmp_path)).stdout)
    missing = [each["what"] for each in findings if each["required"] and not each["good"]]
    assert done.returncode == (ExitCode.ENVIRONMENT if missing else 0), missing
    assert "API server" not in missing


@pytest.mark.hard
@pytest.mark.fault("refused")
def test_a_wrong_setting_is_invalid_input(tmp_path: Path) -> None:
    done = slipway_here("doctor", KUBECONFIG="", HOME=str(tmp_path), SLIPWAY_BUILD_TIMEOUT="soon", SLIPWAY_STROE="x")
    assert done.returncode == ExitCode.INPUT
    assert "✗ settings: SLIPWAY_BUILD_TIMEOUT: write a whole number, not 'soon'" in done.stdout
    assert "✗ settings: There is no setting SLIPWAY_STROE: it has no effect. Did you mean SLIPWAY_STORE? (not" in done.stdout


def test_a_missing_program_comes_with_its_installation(tmp_path: Path) -> None:
    said = slipway_here("doctor", KUBECONFIG="", HOME=str(tmp_path), PATH=str(tmp_path)).stdout
    assert "✗ git" in said
    assert "✗ argo, for slipway retry (not required)\n    Install it: https://github.com/argoproj/argo-workflows/" in said


def test_a_cluster_without_slipway_is_reported(environment: Mapping[str, str]) -> None:
    done = slipway_here("doctor", **environment)
    assert done.returncode == ExitCode.ENVIRONMENT
    assert "✓ API server" in done.stdout
    assert "✗ Argo Workflows: the cluster does not know Workflows" in done.stdout
    assert "argo-workflows/releases/download" in done.stdout
    assert "✓ CRD models.slipway.dev" in done.stdout
