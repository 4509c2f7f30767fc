"""The operator's few requests to the Kubernetes API; ``pipelines.access`` grants these and no others.

Every request has a time limit. What another did first is no error: an object that is gone, a name that is taken, a version that
is not the newest any more. Anything else is an ``ApiException``, and whoever called looks again later.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NamedTuple

from kubernetes import config
from kubernetes.client import ApiException, CoreV1Api, CustomObjectsApi

from crd.events import Announcement, manifest
from crd.reconcile import Object
from crd.schema import GROUP, PLURAL, VERSION
from crd.status import ModelStatus
from crd.workflow import UID_LABEL

LOG = logging.getLogger(__name__)


class Kind(NamedTuple):
    """A kind of objects, as it stands in the API's addresses."""

    group: str
    version: str
    plural: str


MODELS = Kind(GROUP, VERSION, PLURAL)
WORKFLOWS = Kind("argoproj.io", "v1alpha1", "workflows")
LIMITS: Mapping[str, Any] = {"_request_timeout": (5, 20)}  # seconds to connect, and between two reads
MERGE: Mapping[str, Any] = {**LIMITS, "_content_type": "application/merge-patch+json", "field_manager": "slipway-operator"}


class ApiServer:
    """``crd.reconcile.Cluster`` on a real API server. Safe to share between threads."""

    def __init__(self) -> None:
        self._objects = CustomObjectsApi()
        self._core = CoreV1Api()

    def serves(self, kind: Kind) -> bool:
        """Whether the cluster knows this kind of objects."""
        try:
            found: Any = self._objects.get_api_resources(kind.group, kind.version, **LIMITS)
        except ApiException as error:
            _pass(error, HTTPStatus.NOT_FOUND)
            return False
        return any(each.name == kind.plural for each in found.resources)

    def model(self, namespace: str, name: str) -> Object | None:
        return self._get(MODELS, namespace, name)

    def workflow(self, namespace: str, name: str) -> Object | None:
        return self._get(WORKFLOWS, namespace, name)

    def workflows_of(self, namespace: str, uid: str) -> list[Object]:
        group, version, plural = WORKFLOWS
        found: Any = self._objects.list_namespaced_custom_object(
            group, version, namespace, plural, label_selector=f"{UID_LABEL}={uid}", **LIMITS
        )
        return list(found["items"])

    def create_workflow(self, workflow: Object) -> Object | None:
        group, version, plural = WORKFLOWS
        try:
            new: Any = self._objects.create_namespaced_custom_object(
                group, version, workflow["metadata"]["namespace"], plural, dict(workflow), **LIMITS
            )
        except ApiException as error:
            _pass(error, HTTPStatus.CONFLICT)
            return None
        return dict(new)

    def stop_workflow(self, namespace: str, name: str) -> None:
        group, version, plural = WORKFLOWS
        try:
            self._objects.patch_namespaced_custom_object(
                group, version, namespace, plural, name, {"spec": {"shutdown": "Stop"}}, **MERGE
            )
        except ApiException as error:
            _pass(error, HTTPStatus.NOT_FOUND)

    def write_status(self, model: Object, status: ModelStatus) -> bool:
        (group, version, plural), metadata = MODELS, model["metadata"]
        # With uid and resourceVersion the API server refuses a patch for any other version of the Model, or another Model.
        precondition = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        try:
            self._objects.patch_namespaced_custom_object_status(
                group,
                version,
                metadata["namespace"],
                plural,
                metadata["name"],
                {"metadata": precondition, "status": status_patch(status)},
                **MERGE,
            )
        except ApiException as error:
            _pass(error, HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND)
            return False
        return True

    def announce(self, model: Object, announcement: Announcement) -> None:
        body: Any = manifest(model, announcement, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        try:
            self._core.create_namespaced_event(model["metadata"]["namespace"], body, **LIMITS)
        except ApiException as error:
            _pass(error, HTTPStatus.CONFLICT)
            return
        where = f"{model['metadata']['namespace']}/{model['metadata']['name']}"
        LOG.info("%s: %s: %s", where, announcement.reason, announcement.message)

    def _get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        group, version, plural = kind
        try:
            found: Any = self._objects.get_namespaced_custom_object(group, version, namespace, plural, name, **LIMITS)
        except ApiException as error:
            _pass(error, HTTPStatus.NOT_FOUND)
            return None
        return dict(found)


def connect() -> ApiServer:
    """The API server of the pod that this runs in, or else of KUBECONFIG."""
    typed: Any = config  # the package says nothing of these functions
    try:
        typed.load_incluster_config()
    except config.ConfigException:
        typed.load_kube_config()
    return ApiServer()


def status_patch(status: ModelStatus) -> dict[str, Any]:
    """The status as a JSON merge patch (RFC 7386): what is empty is left out, and removed where it was said before."""
    said = _said(status.model_dump(mode="json", by_alias=True))
    return {field.alias or name: said.get(field.alias or name) for name, field in ModelStatus.model_fields.items()}


def _said(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _said(item) for key, item in value.items() if item is False or item not in ("", 0, None, [])}
    return [_said(item) for item in value] if isinstance(value, list) else value


def _pass(error: ApiException, *expected: HTTPStatus) -> None:
    if error.status not in expected:
        raise error
