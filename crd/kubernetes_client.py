"""The way to the cluster: the few verbs that the commands need, on plain dictionaries, and every error as a reason.

A thin layer over the ``kubernetes`` package's dynamic client. KUBECONFIG (or ``~/.kube/config``) and its contexts are
respected; inside a pod, the pod's own account is used. Whatever the API server answers leaves here as a ``SlipwayError``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from crd.types import API_VERSION
from steps.core.errors import Reason, SlipwayError, missing_extra
from steps.core.text import display_text

NAMESPACE = "slipway"  # where `slipway install` puts everything, and where Models are looked for, unless told otherwise
TIMEOUT = (5, 60)  # seconds to connect, and between two reads
# Without the charset, the client itself would make JSON of what is sent, with escapes that YAML refuses.
APPLY = "application/apply-patch+yaml; charset=utf-8"
FIELD_MANAGER = "slipway"
BUSY = (1.0, 2.0, 4.0)  # seconds between tries; a CRD that is being changed is out of reach for about one
MAX_LOG = 100_000  # lines of one pod's log that are read, from its end
STATUS_HINT = "`slipway status` lists the Models; -n names another namespace."
INSTALL_HINT = "`slipway install` applies what is missing; `slipway doctor` says what that is."
# How to get Argo, in the versions that Slipway is tested with.
GET_WORKFLOWS = (
    "kubectl create namespace argo; kubectl apply --server-side -n argo "
    "-f https://github.com/argoproj/argo-workflows/releases/download/v3.7.15/install.yaml"
)
GET_EVENTS = (
    "kubectl create namespace argo-events; kubectl apply --server-side "
    "-f https://raw.githubusercontent.com/argoproj/argo-events/v1.9.10/manifests/install.yaml"
)
# What the API server says when a right is missing (k8s.io/apiserver, responsewriters.ForbiddenMessage).
_FORBIDDEN = re.compile(r'cannot (\w+) resource "([^"]+)" in API group "([^"]*)"(?: in the namespace "([^"]+)")?')


class Kind(NamedTuple):
    """A kind of objects, as manifests name it."""

    api_version: str
    kind: str


MODEL = Kind(API_VERSION, "Model")
WORKFLOW = Kind("argoproj.io/v1alpha1", "Workflow")
WORKFLOW_TEMPLATE = Kind("argoproj.io/v1alpha1", "WorkflowTemplate")
EVENT_BUS = Kind("argoproj.io/v1alpha1", "EventBus")
EVENT_SOURCE = Kind("argoproj.io/v1alpha1", "EventSource")
SENSOR = Kind("argoproj.io/v1alpha1", "Sensor")
DEPLOYMENT = Kind("apps/v1", "Deployment")
POD = Kind("v1", "Pod")
CONFIG_MAP = Kind("v1", "ConfigMap")
CRD = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition")


@dataclass(frozen=True)
class Cluster:
    """A cluster that answered, and the namespace that the commands are about."""

    namespace: str
    context: str
    server: str
    version: str
    dynamic: Any  # kubernetes.dynamic.DynamicClient, which has no types

    @classmethod
    def connect(cls, namespace: str = "", context: str = "") -> Cluster:
        """Raises ``MissingDependency`` without the package or a configuration, ``NetworkUnreachable`` where nobody answers."""
        client: Any = _require("kubernetes.client")
        dynamic: Any = _require("kubernetes.dynamic")
        configuration = client.Configuration()
        configuration.retries = 0  # a server that refuses a connection refuses the next three too
        _load(configuration, context)
        with speaking(configuration.host):
            api = client.ApiClient(configuration)
            strange = (ValueError, TypeError, LookupError, AttributeError, client.exceptions.NotFoundException)
            try:
                version = client.VersionApi(api).get_code(_request_timeout=TIMEOUT).git_version
                # The package would keep what it discovers in a file in /tmp whose name anybody can guess, and believe
                # it the next time; a place that cannot exist keeps it from that.
                opened = dynamic.DynamicClient(api, cache_file=f"{os.devnull}/none")
            except strange:  # the package's own, for answers that make no sense
                raise SlipwayError(
                    Reason.SOURCE_PROTOCOL,
                    f"What answers at {configuration.host} is no Kubernetes API server.",
                    hint="Check the server's address in KUBECONFIG, and whether a proxy answers in its place.",
                ) from None
        return cls(namespace or NAMESPACE, context, configuration.host, version, opened)

    def find(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """The object, or None where there is none."""
        not_found = _require("kubernetes.dynamic.exceptions").NotFoundError

        def read() -> Any:
            try:
                return self._resource(kind).get(name=name, namespace=self.namespace, _request_timeout=TIMEOUT)
            except not_found:
                return None

        return self._ask(read)

    def get(self, kind: Kind, name: str) -> dict[str, Any]:
        """The object. Raises ``InvalidInput`` where there is none."""
        found = self.find(kind, name)
        if found is None:
            raise SlipwayError(
                Reason.INVALID_INPUT,
                f"There is no {kind.kind} {name} in the namespace {self.namespace}.",
                hint=STATUS_HINT,
            )
        return found

    def search(self, kind: Kind, *, labels: str = "", everywhere: bool = False) -> list[dict[str, Any]]:
        """The objects that carry these labels, in this namespace or in all of them."""
        query = {"namespace": None if everywhere else self.namespace, "label_selector": labels or None}
        found = self._ask(lambda: self._resource(kind).get(**query, _request_timeout=TIMEOUT))
        items: list[dict[str, Any]] = (found or {}).get("items") or []
        return items

    def create(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create a new object, and return it as it is stored."""
        options = {"namespace": self.namespace, "field_manager": FIELD_MANAGER, "_request_timeout": TIMEOUT}
        made = self._ask(lambda: self._resource(_kind(manifest)).create(body=dict(manifest), **options))
        assert made is not None, "the API server answers with the object"
        return made

    def apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create or change an object to what the manifest says (server-side apply), and return it as it is stored.

        Fields that another manager set before and the manifest names are taken over: the manifest is what is wanted.
        """
        options = {"field_manager": FIELD_MANAGER, "force_conflicts": True, "_request_timeout": TIMEOUT}

        def request() -> Any:
            resource = self._resource(_kind(manifest))
            path = resource.path(name=manifest["metadata"]["name"], namespace=self.namespace if resource.namespaced else None)
            return self.dynamic.request("patch", path, body=yaml_of(manifest), content_type=APPLY, **options)

        made = self._ask(request)
        assert made is not None, "the API server answers with the object"
        return made

    def has(self, kind: Kind) -> bool:
        """Whether the cluster knows this kind."""
        with speaking(self.server):
            return bool(self.dynamic.resources.search(api_version=kind.api_version, kind=kind.kind))

    def log(self, pod: str) -> list[str]:
        """The lines that the pod's main container wrote, the newest ``MAX_LOG`` of them, safe to show in a terminal."""
        return [display_text(line, limit=10_000) for line in self._log(pod, tailLines=MAX_LOG)]

    def log_since(self, pod: str, since: str) -> list[tuple[str, str]]:
        """Each line with the time when it was written, from the second of ``since`` on, or from the beginning without it.

        Times are RFC 3339, as the kubelet writes them.
        """
        asked = {"sinceTime": since} if since else {"tailLines": MAX_LOG}
        found = (line.partition(" ") for line in self._log(pod, timestamps=True, **asked))
        return [(time, display_text(line, limit=10_000)) for time, _, line in found]

    def _log(self, pod: str, **query: Any) -> list[str]:
        try:
            with speaking(self.server):
                answer = self.dynamic.request(
                    "get",
                    f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log",
                    query_params=[("container", "main"), *query.items()],
                    serialize=False,
                    _request_timeout=TIMEOUT,
                )
                text: str = answer.data.decode("utf-8", "replace")
        except SlipwayError as error:
            if error.reason in (Reason.MISSING_DEPENDENCY, Reason.INVALID_MANIFEST):  # it has gone, or has not begun
                return []
            raise
        return text.removesuffix("\n").split("\n") if text else []

    def allowed(self, verb: str, group: str, resource: str, subresource: str = "") -> bool:
        """Whether the current user may do this in the namespace (SelfSubjectAccessReview)."""
        attributes = {
            "namespace": self.namespace,
            "verb": verb,
            "group": group,
            "resource": resource,
            "subresource": subresource,
        }
        answer = self.create(
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            }
        )
        return bool(answer["status"]["allowed"])

    def _resource(self, kind: Kind) -> Any:
        return self.dynamic.resources.get(api_version=kind.api_version, kind=kind.kind)

    def _ask(self, request: Callable[[], Any]) -> dict[str, Any] | None:
        """What the request answers; asked again, a few times, while the API server says that it is busy and did nothing."""
        for pause in (*BUSY, None):
            try:
                with speaking(self.server):
                    answer = request()
                    return None if answer is None else dict(answer.to_dict())
            except SlipwayError as error:
                if error.reason is not Reason.SOURCE_BUSY or pause is None:
                    raise
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")


@contextlib.contextmanager
def speaking(server: str) -> Iterator[None]:
    """Give whatever the client raises inside its reason."""
    from urllib3.exceptions import HTTPError

    exceptions: Any = _require("kubernetes.client.exceptions")
    unknown: Any = _require("kubernetes.dynamic.exceptions")
    try:
        yield
    except exceptions.ApiException as error:
        raise _from_api(error) from None
    except unknown.ResourceNotFoundError as error:
        raise SlipwayError(
            Reason.MISSING_DEPENDENCY, f"The cluster at {server} lacks a kind: {error}.", hint=INSTALL_HINT
        ) from None
    except (HTTPError, OSError) as error:
        cause = display_text(getattr(error, "reason", None) or error)
        raise SlipwayError(
            Reason.NETWORK_UNREACHABLE,
            f"The cluster at {server} cannot be reached: {cause}.",
            hint="Check that it runs, and that KUBECONFIG and --context name the one you mean.",
        ) from None


def _from_api(error: Any) -> SlipwayError:
    """The reason for an answer that is no success; its ``Status`` object says why."""
    try:
        status = json.loads(error.body)
        message = display_text(status["message"], 1000)
    except (TypeError, ValueError, KeyError):
        status, message = {}, display_text(f"{error.status} {error.reason}")
    match error.status:
        case 401:
            return SlipwayError(
                Reason.ACCESS_DENIED, f"The cluster does not know who asks: {message}.", hint="Log in to the cluster again."
            )
        case 403:
            return SlipwayError(Reason.ACCESS_DENIED, f"{message}.", hint=_missing_right(message))
        case 400 | 422:
            causes = (status.get("details") or {}).get("causes") or []
            said = "\n".join(display_text(f"{cause.get('field', '')}: {cause.get('message', '')}", 500) for cause in causes)
            return SlipwayError(Reason.INVALID_MANIFEST, said or message)
        case 404:
            return SlipwayError(Reason.MISSING_DEPENDENCY, f"{message}.", hint=INSTALL_HINT)
        case 409:
            return SlipwayError(Reason.PUBLISH_CONFLICT, f"{message}.", hint="Somebody else changed it: run again.")
        case 429 | 503:  # answers of a server that did nothing
            return SlipwayError(Reason.SOURCE_BUSY, f"The API server is busy: {message}.", hint="Run again later.")
        case 500 | 502 | 504:
            return SlipwayError(Reason.NETWORK_UNREACHABLE, f"The API server failed: {message}.", hint="Run again later.")
        case _:
            return SlipwayError(Reason.SOURCE_PROTOCOL, f"The API server answered {error.status}: {message}.")


def _missing_right(message: str) -> str:
    if found := _FORBIDDEN.search(message):
        verb, resource, group, namespace = found.groups()
        where = f"in the namespace {namespace}" if namespace else "in the whole cluster"
        return f"Ask whoever runs the cluster for the right to {verb} {resource}{'.' if group else ''}{group} {where}."
    return "Ask whoever runs the cluster."


def _load(configuration: Any, context: str) -> None:
    """Fill in the cluster's address and credentials, from KUBECONFIG or from the pod that this runs in."""
    config: Any = _require("kubernetes.config")
    named, usual = os.environ.get("KUBECONFIG"), Path("~/.kube/config").expanduser()
    in_a_pod = "KUBERNETES_SERVICE_HOST" in os.environ and not (named or context or usual.exists())
    try:
        if in_a_pod:
            config.load_incluster_config(client_configuration=configuration)
        else:
            config.load_kube_config(named or str(usual), context=context or None, client_configuration=configuration)
    except (config.ConfigException, yaml.YAMLError, OSError, TypeError, ValueError) as error:
        raise SlipwayError(
            Reason.MISSING_DEPENDENCY,
            f"No cluster is configured: {display_text(' '.join(str(error).split()), 500)}",
            hint="Set KUBECONFIG to the cluster's file. `make kind-up` makes a cluster on this machine.",
        ) from None


def _require(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise missing_extra("operator", package="kubernetes", needed_by="A command that talks to a cluster") from None


def _kind(manifest: Mapping[str, Any]) -> Kind:
    return Kind(manifest["apiVersion"], manifest["kind"])


def yaml_of(manifest: Mapping[str, Any]) -> bytes:
    """The manifest as JSON that is YAML too, which is how the API server reads what is applied.

    The two differ in characters beyond the BMP: JSON would escape an emoji as two surrogates, which YAML refuses. Of the others
    some must be escaped in YAML (U+0085, U+2028), so only those beyond the BMP are sent as they are.
    """
    text = json.dumps(manifest, ensure_ascii=False)
    return re.sub("[\x7f-\uffff]", lambda found: f"\\u{ord(found[0]):04x}", text).encode()
