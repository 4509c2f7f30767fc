"""What the Kubernetes API server answers when it does not do what was requested, as one kind of error with a reason and a hint.

Every request of ``crd.kubernetes_client`` is made inside ``translate_errors``, so nothing that the ``kubernetes`` package or
``urllib3`` raises gets any further. A failed request is answered with a ``Status`` object (meta/v1 Status) that says why.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol, cast

from steps.core.errors import Reason, SlipwayError
from steps.core.text import display_text
from steps.net.libraries import library_failure
from steps.net.retry import retry_after

INSTALL_HINT = "`slipway install` applies what is missing; `slipway doctor` says what that is."
# How the API server names a missing right (k8s.io/apiserver, responsewriters.ForbiddenMessage).
_FORBIDDEN = re.compile(r'cannot (\w+) resource "([^"]+)" in API group "([^"]*)"(?: in the namespace "([^"]+)")?')


class KubernetesError(SlipwayError):
    """A request to the API server that failed.

    ``status`` is the HTTP status code, 0 where no answer came. ``retry_after`` is the number of seconds after which the same
    request may be sent again, because the server did nothing for it; None where sending it again cannot help.
    ``kind_missing`` is true where the API server does not have the kind of objects that the request is about.
    ``connection_lost`` is true where no answer of the server came, but the request may have been carried out: the connection
    was closed, or a gateway answered. ``not_sent`` is true where there was no connection.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        hint: str | None = None,
        status: int = 0,
        retry_after: float | None = None,
        connection_lost: bool = False,
        not_sent: bool = False,
        kind_missing: bool = False,
    ) -> None:
        super().__init__(reason, message, hint=hint)
        self.status = status
        self.retry_after = retry_after
        self.connection_lost = connection_lost
        self.not_sent = not_sent
        self.kind_missing = kind_missing

    @property
    def object_missing(self) -> bool:
        """Whether the API server knows the kind, and has no object of this name (or no namespace of this name)."""
        return self.status == HTTPStatus.NOT_FOUND and not self.kind_missing


class ApiException(Protocol):
    """``kubernetes.client.ApiException``, which has no types."""

    status: int | None
    reason: str | None
    body: str | bytes | None
    headers: Mapping[str, str] | None


@contextlib.contextmanager
def translate_errors(server: str) -> Iterator[None]:
    """Raise a ``KubernetesError`` for whatever the client raises inside; ``server`` is the address that messages name."""
    from kubernetes.client import ApiException as AnyApiException
    from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProtocolError

    try:
        yield
    except AnyApiException as error:
        raise to_kubernetes_error(cast(ApiException, error), server) from None
    except (HTTPError, OSError) as error:
        cause = getattr(error, "reason", None) or error
        if (lasting := library_failure(error, "The cluster")) is not None:
            raise KubernetesError(lasting.reason, lasting.message, hint=lasting.hint) from None
        raise KubernetesError(
            Reason.NETWORK_UNREACHABLE,
            f"The cluster at {server} cannot be reached: {display_text(cause)}.",
            hint="Check that it runs, and that KUBECONFIG and --context name the one you mean.",
            connection_lost=isinstance(cause, ProtocolError),
            not_sent=isinstance(cause, ConnectTimeoutError | NewConnectionError),
        ) from None
    except ValueError:  # the package reads the answer's text, and it is none
        raise not_an_api_server(server) from None


def not_an_api_server(server: str) -> KubernetesError:
    """The error for an answer that no API server would give."""
    return KubernetesError(
        Reason.SOURCE_PROTOCOL,
        f"What answers at {server} is not a Kubernetes API server.",
        hint="Check the server's address in KUBECONFIG, and whether a proxy answers in its place.",
    )


def to_kubernetes_error(error: ApiException, server: str) -> KubernetesError:
    """The error for an answer that is not a success. ``server`` is the address that messages name."""
    code = error.status or 0
    status = _status_object(error.body)
    message = display_text(status["message"], 1000) if status else display_text(f"{code} {error.reason}")
    match code:
        case HTTPStatus.UNAUTHORIZED:
            reason, text = Reason.ACCESS_DENIED, f"The cluster does not accept these credentials: {message}."
            hint: str | None = "Log in to the cluster again."
        case HTTPStatus.FORBIDDEN:
            reason, text, hint = Reason.ACCESS_DENIED, f"{message}.", _missing_right(message)
        case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY:
            reason, text, hint = Reason.INVALID_MANIFEST, _causes(status) or message, None
        case HTTPStatus.NOT_FOUND if not status:  # the path itself is unknown
            text = f"The cluster at {server} does not have this kind of objects."
            return KubernetesError(Reason.MISSING_DEPENDENCY, text, hint=INSTALL_HINT, status=code, kind_missing=True)
        case HTTPStatus.NOT_FOUND:
            reason, text, hint = Reason.MISSING_DEPENDENCY, f"{message}.", INSTALL_HINT
        case HTTPStatus.CONFLICT:
            reason, text = Reason.PUBLISH_CONFLICT, f"{message}."
            hint = "Somebody else changed it at the same time. Run the command again."
        case HTTPStatus.TOO_MANY_REQUESTS | HTTPStatus.SERVICE_UNAVAILABLE:  # the server did nothing
            reason, text, hint = Reason.SOURCE_BUSY, f"The API server is busy: {message}.", "Run the command again later."
            seconds = retry_after((error.headers or {}).get("Retry-After"), datetime.now(UTC))
            return KubernetesError(reason, text, hint=hint, status=code, retry_after=seconds or 0.0)
        case HTTPStatus.INTERNAL_SERVER_ERROR | HTTPStatus.BAD_GATEWAY | HTTPStatus.GATEWAY_TIMEOUT:
            reason, text = Reason.NETWORK_UNREACHABLE, f"The API server failed: {message}."
            hint, gateway = "Run the command again later.", code != HTTPStatus.INTERNAL_SERVER_ERROR
            return KubernetesError(reason, text, hint=hint, status=code, connection_lost=gateway)
        case _:
            reason, text, hint = Reason.SOURCE_PROTOCOL, f"The API server answered {code}: {message}.", None
    return KubernetesError(reason, text, hint=hint, status=code)


def _status_object(body: str | bytes | None) -> Mapping[str, object]:
    """The ``Status`` object of a failed request, empty where the answer is something else."""
    try:
        status = json.loads(body or "")
    except ValueError:
        return {}
    return status if isinstance(status, dict) and isinstance(status.get("message"), str) else {}


def _causes(status: Mapping[str, object]) -> str:
    """Each rule that an object breaks, in a line of its own (meta/v1 StatusDetails.causes)."""
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return "\n".join(
        display_text(f"{cause.get('field', '')}: {cause.get('message', '')}", 500)
        for cause in causes or ()
        if isinstance(cause, dict)
    )


def _missing_right(message: str) -> str:
    """Which right to request, where the API server names the one that is missing."""
    if found := _FORBIDDEN.search(message):
        verb, resource, group, namespace = found.groups()
        where = f"in the namespace {namespace}" if namespace else "in the whole cluster"
        return f"Ask whoever runs the cluster for the right to {verb} {resource}{'.' if group else ''}{group} {where}."
    return "Ask whoever runs the cluster."
