"""What the tests on a cluster stand on. They run only when asked for: ``pytest -m cluster``, with ``KUBECONFIG`` set."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import config
from kubernetes.client import ApiClient, ApiextensionsV1Api, CustomObjectsApi
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError

from crd.schema import GROUP, VERSION, definition
from crd.types import KIND
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
    crd = definition()
    ApiextensionsV1Api(kube).patch_custom_resource_definition(
        crd["metadata"]["name"],
        crd,
        field_manager="slipway-tests",
        force=True,
        _content_type="application/apply-patch+yaml",
    )
    wanted = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    deadline = time.monotonic() + 60
    while _served_spec(kube) != wanted["spec"]:
        assert time.monotonic() < deadline, "The API server does not serve the CRD that was applied."
        time.sleep(0.2)
    return CustomObjectsApi(kube)


def _served_spec(kube: ApiClient) -> Any:
    """What the API server says of a Model's spec. It begins to use a new schema, and then publishes it."""
    try:
        answer = DynamicClient(kube).request("get", f"/openapi/v3/apis/{GROUP}/{VERSION}", serialize=False)
    except NotFoundError:  # nothing of this group is there yet
        return None
    schemas = json.loads(answer.data)["components"]["schemas"]
    return schemas.get(f"{'.'.join(reversed(GROUP.split('.')))}.{VERSION}.{KIND}", {}).get("properties", {}).get("spec")
