"""The ``kubernetes`` package, which has no types: what is used of it, and how it finds the cluster.

The package knows the files that KUBECONFIG names, their contexts and ways to log in, and the accounts of pods.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Protocol

import yaml

from crd.kubernetes_errors import translate_errors
from steps.core.errors import Reason, SlipwayError, missing_extra
from steps.core.text import display_text
from steps.net.proxy import proxy_for
from steps.net.tls import bundle, bundle_file

Query = Sequence[tuple[str, str | int]]


class HttpResponse(Protocol):
    """What the ``kubernetes`` package answers a request with (``urllib3.HTTPResponse``)."""

    @property
    def data(self) -> bytes:
        """The whole body."""
        ...


class ApiClient(Protocol):
    """The one method that is used of ``kubernetes.client.ApiClient``, which has no types."""

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
    ) -> HttpResponse:
        """Send one request. Raises ``kubernetes.client.ApiException`` for an answer that is not a success."""
        ...


def open_connection(context: str) -> tuple[ApiClient, str]:
    """Connect to the cluster that KUBECONFIG names, or the one of the pod that this runs in.

    ``context`` names a context of KUBECONFIG, empty for the current one. Nothing is sent yet.

    Returns:
        A client of the package, and the address of the API server.

    Raises:
        SlipwayError: ``MissingDependency`` without the package or a configuration.
    """
    client, config = _require("kubernetes.client"), _require("kubernetes.config")
    configuration = client.Configuration()
    configuration.retries = 0  # what is sent again is decided in crd.kubernetes_client
    named, usual = os.environ.get("KUBECONFIG"), Path("~/.kube/config").expanduser()
    in_a_pod = "KUBERNETES_SERVICE_HOST" in os.environ and not (named or context or usual.exists())
    try:
        if in_a_pod:
            config.load_incluster_config(client_configuration=configuration)
        else:
            config.load_kube_config(named or str(usual), context=context or None, client_configuration=configuration)
    except (config.ConfigException, yaml.YAMLError, OSError, TypeError, ValueError, AttributeError, LookupError) as error:
        where = f" in {named or usual}" if named or usual.exists() else ""
        if isinstance(error, OSError):
            why = error.strerror or str(error)
        elif isinstance(error, config.ConfigException):
            why = " ".join(str(error).split())
        else:
            why = "the file is not a kubeconfig"
        raise SlipwayError(
            Reason.MISSING_DEPENDENCY,
            f"No cluster is configured{where}: {display_text(why, 500)}",
            hint="Set KUBECONFIG to the cluster's file. `make kind-up` makes a cluster on this machine.",
        ) from None
    with translate_errors(configuration.host):
        # The package has rules of its own, and neither user nor password of a proxy.
        proxy = proxy_for(configuration.host)
        configuration.proxy, configuration.no_proxy = (proxy.address if proxy else None), ""
        configuration.proxy_headers = proxy.headers if proxy else None
        if not configuration.ssl_ca_cert and bundle():
            configuration.ssl_ca_cert = bundle_file()
        return client.ApiClient(configuration), configuration.host


def _require(module: str) -> ModuleType:
    """A module of the package. Raises ``MissingDependency`` where the package is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise missing_extra("operator", package="kubernetes", needed_by="A command that talks to a cluster") from None
