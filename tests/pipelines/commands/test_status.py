"""Whatever the API server answers, or does not answer, ends as a reason, a sentence and a hint, and never as a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from steps.core.errors import ExitCode
from tests.pipelines.conftest import slipway_here
from tests.servers.api_server import MODELS, ApiServer, kubeconfig

pytestmark = pytest.mark.slow  # they start processes or servers, many times


def test_an_empty_namespace_says_what_to_do(server: ApiServer, environment: Mapping[str, str]) -> None:
    server.answers[MODELS] = (200, {"kind": "ModelList", "items": []})
    done = slipway_here("status", **environment)
    assert done.returncode == 0
    assert "No Models in the namespace slipway. `slipway submit -f model.yaml` creates one." in done.stdout
    assert slipway_here("status", "--json", **environment).stdout.strip() == "[]"


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(kubeconfig(tmp_path, "http://127.0.0.1:1")), "NO_PROXY": "*"}
    done = slipway_here("status", **environment)
    assert done.returncode == ExitCode.TRANSIENT
    assert "NetworkUnreachable: The cluster at http://127.0.0.1:1 cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("path", "code"), [("/version", 200), ("/version", 404), (MODELS, 200)])
def test_something_that_is_no_api_server_is_told(
    server: ApiServer, environment: Mapping[str, str], path: str, code: int
) -> None:
    server.answers[path] = (code, "<html>Welcome</html>")
    done = slipway_here("status", **environment)
    assert done.returncode == ExitCode.SOURCE
    assert "is not a Kubernetes API server" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_context_that_is_not_there_is_told(environment: Mapping[str, str]) -> None:
    done = slipway_here("status", "--context", "elsewhere", **environment)
    assert done.returncode == ExitCode.ENVIRONMENT
    assert "elsewhere" in done.stderr
