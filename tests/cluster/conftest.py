"""What the tests on a cluster stand on. They run only when asked for: ``pytest -m cluster``, with ``KUBECONFIG`` set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import config
from kubernetes.client import ApiClient, CustomObjectsApi

from tests.cluster.custom_resources import apply_definition
from tests.cluster.place import fresh_namespace

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here needs a cluster, and may reach whatever host the cluster is on."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("cluster")
            item.add_marker("enable_socket")


@pytest.fixture(scope="session")
def kube() -> Iterator[ApiClient]:
    """A client of the cluster that ``KUBECONFIG`` names."""
    if not os.environ.get("KUBECONFIG"):
        pytest.fail("KUBECONFIG is not set; it must name a cluster with Argo Workflows and Argo Events.")
    with config.new_client_from_config(os.environ["KUBECONFIG"]) as client:
        yield client


@pytest.fixture(scope="module")
def namespace(kube: ApiClient) -> Iterator[str]:
    """A fresh namespace, deleted after the module's last test."""
    with fresh_namespace(kube) as name:
        yield name


@pytest.fixture(scope="session")
def models(kube: ApiClient) -> CustomObjectsApi:
    """The client for Models, with the CRD applied as it is in this working tree, and in force."""
    apply_definition(kube)
    return CustomObjectsApi(kube)
