"""The CRD of Models on the cluster: as it is in this working tree, or one that lets anything in, as an earlier one may have."""

from __future__ import annotations

import contextlib
import copy
import json
import time
from collections.abc import Iterator
from typing import Any, cast

from kubernetes.client import ApiClient, ApiextensionsV1Api
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError

from crd.schema import GROUP, VERSION, definition
from crd.types import KIND


def apply_definition(kube: ApiClient) -> None:
    """Apply the CRD, and wait until it is in force."""
    _apply(kube, cast(dict[str, Any], definition()))


@contextlib.contextmanager
def anything_is_let_in(kube: ApiClient) -> Iterator[None]:
    """While this is open, any object is stored as a Model, its status with it; afterwards the CRD is in force again."""
    loose = copy.deepcopy(cast(dict[str, Any], definition()))
    [version] = loose["spec"]["versions"]
    version["schema"]["openAPIV3Schema"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    del version["subresources"]
    _apply(kube, loose)
    try:
        yield
    finally:
        apply_definition(kube)


def _apply(kube: ApiClient, crd: dict[str, Any]) -> None:
    ApiextensionsV1Api(kube).patch_custom_resource_definition(
        crd["metadata"]["name"],
        crd,
        field_manager="slipway-tests",
        force=True,
        _content_type="application/apply-patch+yaml",
    )
    wanted = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].get("properties", {}).get("spec")
    deadline = time.monotonic() + 60
    while _served_spec(kube) != wanted:
        assert time.monotonic() < deadline, "The API server does not serve the CRD that was applied."
        time.sleep(0.2)


def _served_spec(kube: ApiClient) -> Any:
    """What the API server says of a Model's spec. It begins to use a new schema, and then publishes it."""
    try:
        answer = DynamicClient(kube).request("get", f"/openapi/v3/apis/{GROUP}/{VERSION}", serialize=False)
    except NotFoundError:  # nothing of this group is there yet
        return "absent"
    schemas = json.loads(answer.data)["components"]["schemas"]
    return schemas.get(f"{'.'.join(reversed(GROUP.split('.')))}.{VERSION}.{KIND}", {}).get("properties", {}).get("spec")
