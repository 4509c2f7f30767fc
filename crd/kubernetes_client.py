"""The one client of the Kubernetes API, for the commands and for the operator: a few verbs on plain objects.

It sends its requests through the ``kubernetes`` package (``crd.kubernetes_connection``) and decides the rest itself: time
limits, retries (``steps.net.retry``) and errors (``crd.kubernetes_errors``). Paths come from ``crd.resource_kinds``, so nothing
is discovered first. How objects look is in ``crd.kubernetes_objects``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Literal, Self, TypeVar, cast

from crd.fitting import fit
from crd.kubernetes_connection import ApiClient, Query, open_connection
from crd.kubernetes_errors import KubernetesError, not_an_api_server, translate_errors
from crd.kubernetes_objects import AccessReview, KubernetesObject, Manifest
from crd.resource_kinds import POD, AnyKind, ResourceKind, kind_of
from steps.core.clock import Clock, SystemClock
from steps.core.errors import Reason, SlipwayError
from steps.core.text import display_text
from steps.net.retry import SERVER_RETRIES, RetryPolicy

DEFAULT_NAMESPACE = "slipway"  # where `slipway install` puts everything, and where Models are read by default
TIMEOUT = (5.0, 60.0)  # seconds to connect, and between two reads
# Until the cluster has answered for the first time: somebody waits who may have named the wrong one.
FIRST_CONTACT = RetryPolicy(attempts=4, first=1.0, longest=4.0, longest_retry_after=10.0)
MAX_LOG = 100_000  # lines of one pod's log that are read, from its end
MAX_LOG_LINE = 10_000  # characters of one of them
STATUS_HINT = "`slipway status` lists the Models; -n names another namespace."
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
# Without the charset, the package itself would make JSON of what is sent, with escapes that YAML refuses.
APPLY_PATCH = "application/apply-patch+yaml; charset=utf-8"

ObjectT = TypeVar("ObjectT", bound=KubernetesObject)
Method = Literal["GET", "POST", "PATCH", "DELETE"]


@dataclass(frozen=True)
class KubernetesClient:
    """A cluster that answered, and the namespace that requests are about. Safe to share between threads.

    ``context`` is the context of KUBECONFIG that was chosen, empty for the current one; ``server`` is the address of the API
    server and ``version`` its version, such as ``v1.34.4``. ``field_manager`` is the name under which the API server remembers
    who set a field.

    Every method raises ``KubernetesError`` where the API server refuses the request, fails or does not answer.
    """

    namespace: str
    context: str
    server: str
    version: str
    api: ApiClient | None
    timeout: tuple[float, float] = TIMEOUT
    field_manager: str = "slipway"
    retry: RetryPolicy = SERVER_RETRIES
    clock: Clock = field(default_factory=SystemClock)
    _served: set[AnyKind] = field(default_factory=set, repr=False, compare=False)

    @classmethod
    def connect(
        cls,
        namespace: str = "",
        context: str = "",
        *,
        timeout: tuple[float, float] = TIMEOUT,
        field_manager: str = "slipway",
    ) -> Self:
        """Connect to the cluster that KUBECONFIG names, or the one of the pod that this runs in.

        Raises:
            SlipwayError: ``MissingDependency`` without the package or a configuration, ``NetworkUnreachable`` where nothing
                answers, ``SourceProtocol`` where something else than an API server does.
        """
        api, server = open_connection(context)
        client = cls(
            namespace or DEFAULT_NAMESPACE,
            context,
            server,
            "",
            api,
            timeout=timeout,
            field_manager=field_manager,
            retry=FIRST_CONTACT,
        )
        try:
            version = client._read("/version").get("gitVersion")
        except KubernetesError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            version = None
        if not isinstance(version, str):
            raise not_an_api_server(server)
        return replace(client, version=version, retry=SERVER_RETRIES)

    def in_namespace(self, namespace: str) -> Self:
        """The same client for another namespace."""
        return replace(self, namespace=namespace)

    def serves(self, kind: AnyKind) -> bool:
        """Whether the API server has this kind of objects. That it has is remembered."""
        if kind not in self._served:
            try:
                resources = self._read(kind.group_path).get("resources")
            except KubernetesError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                return False
            if not isinstance(resources, list):
                raise not_an_api_server(self.server)
            if not any(isinstance(each, dict) and each.get("name") == kind.plural for each in resources):
                return False
            self._served.add(kind)
        return True

    def find(self, kind: ResourceKind[ObjectT], name: str) -> ObjectT | None:
        """The object of this name, or None where there is none."""
        if name in ("", ".", ".."):  # no object's name, and in a path something else
            return None
        try:
            found = self._read(kind.path(self.namespace, name))
        except KubernetesError as error:
            if error.object_missing:
                return None
            raise
        return fit(found, kind.shape)

    def get(self, kind: ResourceKind[ObjectT], name: str) -> ObjectT:
        """The object of this name. Raises ``InvalidInput`` where there is none."""
        found = self.find(kind, name)
        if found is None:
            raise SlipwayError(
                Reason.INVALID_INPUT,
                f"There is no {kind.kind} {name} in the namespace {self.namespace}.",
                hint=STATUS_HINT,
            )
        return found

    def list_objects(self, kind: ResourceKind[ObjectT], *, labels: str = "", all_namespaces: bool = False) -> list[ObjectT]:
        """The objects that ``labels`` (a label selector) selects, in this namespace or in all of them."""
        path = kind.path("" if all_namespaces else self.namespace)
        items = self._read(path, [("labelSelector", labels)] if labels else []).get("items")
        if not isinstance(items, list):
            raise not_an_api_server(self.server)
        return [fit(item, kind.shape) for item in items if isinstance(item, dict)]

    def create(self, manifest: Manifest) -> KubernetesObject:
        """Create a new object, and return it as it is stored. Raises ``PublishConflict`` where its name is taken."""
        path = kind_of(manifest).path(self.namespace)
        return self._written("POST", path, manifest, JSON, [("fieldManager", self.field_manager)])

    def apply(self, manifest: Manifest) -> KubernetesObject:
        """Create or change an object to what the manifest says (server-side apply), and return it as it is stored.

        Fields that another manager set before and the manifest names are taken over: the manifest is what is wanted.
        """
        metadata = cast(KubernetesObject, manifest)["metadata"]
        path = kind_of(manifest).path(self.namespace, metadata["name"])
        query: Query = [("fieldManager", self.field_manager), ("force", "true")]
        return self._written("PATCH", path, encode_manifest(manifest), APPLY_PATCH, query)

    def patch(self, kind: ResourceKind[ObjectT], name: str, changes: Manifest, *, subresource: str = "") -> ObjectT:
        """Change fields of an object (a JSON merge patch, RFC 7386), and return it as it is stored.

        With ``metadata.resourceVersion`` among the changes, the API server refuses them (``PublishConflict``) for any other
        version of the object; with ``metadata.uid``, for another object of the same name.
        """
        path = kind.path(self.namespace, name, subresource)
        return cast(ObjectT, self._written("PATCH", path, changes, MERGE_PATCH, [("fieldManager", self.field_manager)]))

    def patch_status(self, kind: ResourceKind[ObjectT], name: str, changes: Manifest) -> ObjectT:
        """As ``patch``, for the status of an object: the API server takes no other change here, and no status elsewhere."""
        return self.patch(kind, name, changes, subresource="status")

    def delete(self, kind: AnyKind, name: str) -> None:
        """Delete an object, and what belongs to it; an object that is not there is deleted."""
        try:
            self._read(kind.path(self.namespace, name), [("propagationPolicy", "Background")], method="DELETE")
        except KubernetesError as error:
            if not error.object_missing:
                raise

    def read_log(self, pod: str) -> list[str]:
        """The lines that the pod's main container wrote, the newest ``MAX_LOG`` of them, safe to show in a terminal.

        Empty where the pod is gone or has not started.
        """
        return [display_text(line, MAX_LOG_LINE) for line in self._log(pod, [("tailLines", MAX_LOG)])]

    def read_log_since(self, pod: str, since: str) -> list[tuple[str, str]]:
        """Each line with the time when it was written, from the second of ``since`` on, or from the beginning without it.

        Times are RFC 3339, as the kubelet writes them.
        """
        newest: Query = [("sinceTime", since)] if since else [("tailLines", MAX_LOG)]
        found = (line.partition(" ") for line in self._log(pod, [("timestamps", "true"), *newest]))
        return [(time, display_text(line, MAX_LOG_LINE)) for time, _, line in found]

    def is_allowed(self, verb: str, group: str, resource: str, subresource: str = "") -> bool:
        """Whether the current user may do this in the namespace (SelfSubjectAccessReview)."""
        attributes = {
            "namespace": self.namespace,
            "verb": verb,
            "group": group,
            "resource": resource,
            "subresource": subresource,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = self._written("POST", ACCESS_REVIEWS, review, JSON, [])
        return bool(cast(AccessReview, answer)["status"]["allowed"])

    def _log(self, pod: str, query: Query) -> list[str]:
        path = POD.path(self.namespace, pod, "log")
        try:
            text = self._send("GET", path, [("container", "main"), *query]).decode("utf-8", "replace")
        except KubernetesError as error:
            if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST):  # the pod is gone, or has not started
                return []
            raise
        return text.removesuffix("\n").split("\n") if text else []

    def _written(self, method: Method, path: str, body: object, content_type: str, query: Query) -> KubernetesObject:
        return cast(KubernetesObject, self._parsed(self._send(method, path, query, body, content_type)))

    def _read(self, path: str, query: Query = (), *, method: Method = "GET") -> dict[str, object]:
        return self._parsed(self._send(method, path, query))

    def _parsed(self, data: bytes) -> dict[str, object]:
        try:
            answer = json.loads(data)
        except ValueError:
            raise not_an_api_server(self.server) from None
        if not isinstance(answer, dict):
            raise not_an_api_server(self.server)
        return answer

    def _send(self, method: Method, path: str, query: Query, body: object = None, content_type: str = JSON) -> bytes:
        """The body of the answer to a request, which is sent again while the API server is busy or drops the connection."""
        assert self.api is not None, "a client without an API connection is for tests that replace its methods"
        api = self.api

        def send() -> bytes:
            with translate_errors(self.server):
                return api.call_api(
                    path,
                    method,
                    query_params=list(query),
                    header_params={"Accept": "application/json, */*", "Content-Type": content_type},
                    body=body,
                    auth_settings=["BearerToken"],
                    _preload_content=False,
                    _request_timeout=self.timeout,
                ).data

        def transient(error: Exception) -> float | None:
            if not isinstance(error, KubernetesError):
                return None
            if error.connection_lost and method != "POST":  # a repeated POST is refused if the first one succeeded
                return 0.0
            if error.not_sent and self.version:
                return 0.0
            return error.retry_after

        return self.retry.call(send, transient=transient, clock=self.clock)


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest as JSON that is YAML too, which is how the API server reads what is applied.

    The two differ in characters beyond the BMP: JSON would escape an emoji as two surrogates, which YAML refuses. Of the others
    some must be escaped in YAML (U+0085, U+2028), so only those beyond the BMP are sent as they are.
    """
    text = json.dumps(manifest, ensure_ascii=False)
    return re.sub("[\x7f-\uffff]", lambda found: f"\\u{ord(found[0]):04x}", text).encode()
