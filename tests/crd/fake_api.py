"""An API server in memory, beneath the real ``KubernetesClient``: the rules that matter to whoever writes objects.

A name is taken once, a patch with another uid or resourceVersion is refused, each write gives a new resourceVersion, and a
status is changed through its subresource alone. Only what the operator sends is understood.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from kubernetes.client import ApiException

from crd.kubernetes_client import KubernetesClient
from crd.resource_kinds import KINDS

Stored = dict[str, object]


@dataclass
class Response:
    """An answer's body."""

    data: bytes


@dataclass
class FakeApi:
    """Keeps objects by plural and name, whatever namespace a path names.

    ``before_request`` is called with method and path in front of each request: what somebody else does in that moment.
    ``accepted`` has the method and the path, without the namespace, of each request that succeeded, and ``created`` the
    plural and the name of each object that was created.
    """

    objects: dict[str, dict[str, Stored]] = field(default_factory=lambda: {kind.plural: {} for kind in KINDS.values()})
    accepted: list[tuple[str, str]] = field(default_factory=list)
    created: list[tuple[str, str]] = field(default_factory=list)
    before_request: Callable[[str, str], None] = lambda method, path: None

    def client(self, namespace: str = "lab") -> KubernetesClient:
        """A client of this server."""
        return KubernetesClient(namespace, "", "https://api.example", "v1.34.4", self)

    def call_api(
        self,
        resource_path: str,
        method: str,
        *,
        query_params: list[tuple[str, str | int]],
        header_params: dict[str, str],
        body: object,
        auth_settings: list[str],
        _preload_content: bool,
        _request_timeout: tuple[float, float],
    ) -> Response:
        """Answer one request, as ``kubernetes.client.ApiClient.call_api`` would."""
        parts = resource_path.partition("/namespaces/")[2].split("/")[1:]
        self.before_request(method, "/".join(parts))
        answer = self._answer(method, parts, dict(query_params), cast(Stored, body))
        self.accepted.append((method, "/".join(parts)))
        return Response(json.dumps(answer).encode())

    def _answer(self, method: str, parts: list[str], query: dict[str, str | int], body: Stored) -> object:
        kept = self.objects[parts[0]]
        if method == "POST":
            return self._create(parts[0], copy.deepcopy(body))
        if len(parts) == 1:
            label, _, value = str(query.get("labelSelector", "")).partition("=")
            return {"items": [each for each in kept.values() if not label or labels(each).get(label) == value]}
        stored = kept.get(parts[1])
        if stored is None:
            raise refusal(404, "NotFound")
        if method == "DELETE":
            return kept.pop(parts[1])
        if method == "PATCH":
            self._patch(stored, body, status=parts[2:] == ["status"])
        return stored

    def _create(self, plural: str, new: Stored) -> Stored:
        kept, metadata = self.objects[plural], cast(dict[str, str], new["metadata"])
        if metadata["name"] in kept:
            raise refusal(409, "AlreadyExists")
        self.created.append((plural, metadata["name"]))
        metadata |= {"uid": f"uid-{len(self.created)}", "resourceVersion": "1"}
        kept[metadata["name"]] = new
        return new

    def _patch(self, stored: Stored, changes: Stored, *, status: bool) -> None:
        metadata = cast(dict[str, str], stored["metadata"])
        wanted = cast(dict[str, str], changes.get("metadata", {}))
        if any(metadata.get(key) != wanted[key] for key in ("uid", "resourceVersion") if key in wanted):
            raise refusal(409, "Conflict")
        part = "status" if status else "spec"
        there = stored.get(part)  # RFC 7386: what is no mapping is replaced
        merged = {**(there if isinstance(there, dict) else {}), **cast(Stored, changes.get(part, {}))}
        stored[part] = {key: value for key, value in merged.items() if value is not None}
        metadata["resourceVersion"] = str(int(metadata.get("resourceVersion", "0")) + 1)


def labels(stored: Stored) -> dict[str, str]:
    """The labels of an object."""
    metadata = cast(dict[str, dict[str, str]], stored["metadata"])
    return metadata.get("labels", {})


def refusal(code: int, reason: str) -> ApiException:
    """The error of the package for an answer with this status code."""
    error = ApiException(status=code, reason=reason)
    error.body = json.dumps({"kind": "Status", "reason": reason, "message": f"{reason} in the test", "code": code})
    error.headers = {}
    return error
