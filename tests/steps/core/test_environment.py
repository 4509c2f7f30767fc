"""What reaches a program of the variables that somebody has set, and that the images of the steps set the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from steps.core import environment
from steps.core.environment import OFFLINE, PYTHON
from steps.store.supported import store_variables

SECRETS = (
    "HF_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "GITHUB_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "KUBECONFIG",
    "HTTPS_PROXY",
    "PIP_INDEX_URL",
)
WAY_TO_A_BUCKET = (
    *("HTTPS_PROXY", "https_proxy", "NO_PROXY", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("CLOUDSDK_CONFIG", "GOOGLE_CLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"),
    *("AWS_PROFILE", "AWS_CA_BUNDLE", "AWS_ENDPOINT_URL_S3", "AWS_SHARED_CREDENTIALS_FILE"),
)
CODE = ("PYTHONPATH", "PYTHONSTARTUP", "LD_PRELOAD", "GIT_DIR", "BASH_ENV", "TRANSFORMERS_CACHE")


@pytest.fixture(autouse=True)
def polluted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SECRETS, *CODE):
        monkeypatch.setenv(name, f"value of {name}")


@pytest.mark.fault("survived")
@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (lambda: environment.for_step(network=False), set()),
        (lambda: environment.for_step(("AWS_*",), network=True), {"AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY"}),
        (lambda: environment.for_service(Path("/home")), set()),
        (lambda: environment.for_git(Path("/home")), set()),
        (lambda: environment.for_pip(Path("/tmp")), {"HTTPS_PROXY", "PIP_INDEX_URL"}),
        (environment.for_compiler, set()),
        (environment.for_builder, {*SECRETS} - {"HF_TOKEN", "GITHUB_TOKEN", "KUBECONFIG"}),
        (environment.for_credential_helper, {"AWS_SECRET_ACCESS_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "HTTPS_PROXY"}),
        (environment.for_kubernetes_program, {*SECRETS} - {"HF_TOKEN", "GITHUB_TOKEN", "PIP_INDEX_URL"}),
    ],
    ids=["step", "step with a bucket", "service", "git", "pip", "compiler", "builder", "credential helper", "argo"],
)
def test_a_program_gets_what_it_needs(made: Callable[[], dict[str, str]], wanted: set[str]) -> None:
    found = made()
    inherited = {name for name in (*SECRETS, *CODE) if found.get(name) == f"value of {name}"}
    assert inherited == wanted
    assert found["PATH"]


@pytest.mark.fault("survived")
@pytest.mark.parametrize(("store", "foreign"), [("s3://bucket", "CLOUDSDK_CONFIG"), ("gs://bucket", "AWS_PROFILE")])
def test_steps_reach_a_bucket_as_fetch_did(store: str, foreign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WAY_TO_A_BUCKET:
        monkeypatch.setenv(name, "set")
    found = environment.for_step(store_variables(store), network=True)
    families = ("AWS_",) if foreign.startswith("AWS_") else ("CLOUDSDK_", "GOOGLE_", "STORAGE_")
    assert {name for name in WAY_TO_A_BUCKET if not name.startswith(families)} <= found.keys()
    assert foreign not in found
    assert found.get("NO_PROXY") == "set"


def test_the_images_set_what_steps_get() -> None:
    dockerfile = (Path(__file__).parents[3] / "containers/Dockerfile").read_text()
    set_there = dict(
        re.findall(r"(\w+)=(\S+)", dockerfile[dockerfile.index("\nENV ") : dockerfile.index("\nARG PIP_INDEX_URL")])
    )
    assert {**PYTHON, **OFFLINE}.items() <= set_there.items()


def test_images_of_services_set_them_too() -> None:
    from steps.images.description import ENVIRONMENT

    assert {**PYTHON, **OFFLINE}.items() <= ENVIRONMENT.items()
