"""Where the settings of this machine send results, images and builds, and whether the credentials here are good for it.

Nothing is left behind. A permission is queried, where the service answers such queries, or an upload is begun and cancelled:
one that is not finished is not visible. Of credentials only the names are shown.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.doctor.finding import MACHINE, Finding, Missing, check
from steps.core.clock import SystemClock
from steps.core.errors import Reason, SlipwayError
from steps.core.settings import FILE, Settings, unknown_variables, variable
from steps.images.builders.base import Builder
from steps.images.builders.supported import configured_builder
from steps.images.registry.credentials import find_credentials
from steps.images.registry.reference import Reference
from steps.images.registry.session import Session
from steps.net.proxy import proxy_for
from steps.net.tls import bundle, named_authorities
from steps.net.urls import host_of
from steps.store.gcs_client import LOGIN, identity
from steps.store.supported import find_store, open_store

SETTINGS = "settings"  # the finding of a setting that is wrong
S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
PROBE = "slipway-doctor"  # the name of the object, the repository and the tag that are asked about
# Variables of the libraries below that name a file.
FILES = (
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "AWS_CA_BUNDLE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "REGISTRY_AUTH_FILE",
)


class BriefClock(SystemClock):
    """A clock on which clients hardly wait between attempts: a check has less time than they would take."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def monotonic(self) -> float:
        """Return seconds since some fixed moment; those that ``sleep`` left out have passed, too."""
        return super().monotonic() + self._skipped

    def sleep(self, seconds: float) -> None:
        """Sleep for these seconds, and at most 0.1."""
        self._skipped += max(0.0, seconds - 0.1)
        super().sleep(min(seconds, 0.1))


def settings_findings(settings: Settings, wrong: list[SlipwayError], *, by_flag: bool) -> Iterator[Finding]:
    """Return each setting that is not the default, with the place where it is set; then each that is wrong."""
    for name in Settings.model_fields:
        if name in settings.model_fields_set:
            value = getattr(settings, name)
            shown = ", ".join(value) if isinstance(value, tuple) else str(value)
            yield Finding(MACHINE, f"setting {name}", True, f"{shown} ({_place(name, by_flag=by_flag)})")
    for error in wrong:
        yield Finding(MACHINE, SETTINGS, False, error.message, error.hint)
    for warning in unknown_variables(os.environ):
        yield Finding(MACHINE, SETTINGS, False, warning, "unset it", required=False)
    yield from _files(os.environ)
    if named := named_authorities():
        yield check(MACHINE, "certificate authorities", lambda: _authorities(named))


def _authorities(named: Mapping[str, str]) -> str:
    bundle()
    return f"the system's and those of {', '.join(named)}"


def _ways(settings: Settings) -> Iterator[Finding]:
    """By which proxy each host is reached; nothing where the environment names no proxy."""
    if any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") and value for name, value in os.environ.items()):
        for what, address in _hosts(settings).items():
            yield check(MACHINE, f"way to {what}", lambda address=address: _way(address))  # type: ignore[misc]


def _way(address: str) -> str:
    proxy = proxy_for(address)
    return f"{host_of(address)}: " + (f"by {proxy}" if proxy else "directly")


def _hosts(settings: Settings) -> dict[str, str]:
    """The addresses that requests go to: of Git hosts one that many Models name."""
    found = {"a source": "https://huggingface.co"}
    if settings.store.startswith("gs://"):
        found["the store"] = os.environ.get("STORAGE_EMULATOR_HOST") or "https://storage.googleapis.com"
    if settings.store.startswith("s3://"):
        found["the store"] = next(filter(None, map(os.environ.get, S3_ENDPOINTS)), "https://s3.amazonaws.com")
    if settings.registry:
        found["the registry"] = f"https://{Reference.parse(f'{settings.registry}/{PROBE}').api_host}"
    return found


def destinations(settings: Settings) -> Iterator[Finding]:
    """Check the store, the builder and the registry, and the credentials of Google Cloud where they are needed."""
    yield from _ways(settings)
    yield check(MACHINE, f"store {settings.store}", lambda: open_store(settings.store).check())
    builder = configured_builder(settings).builder
    yield check(MACHINE, f"builder {builder.name}", lambda: builder.check(settings, BriefClock()))
    if settings.registry:
        # A Model may name another builder, and the program that the builder `local` runs has credentials of its own.
        yield check(
            MACHINE, f"registry {settings.registry}", lambda: check_registry(settings, builder), required=builder.pushes_itself
        )
    if builder.needs_google_cloud or _uses_google_cloud(settings.store):
        yield check(MACHINE, "Google Cloud credentials", lambda: identity()[0], LOGIN, required=False)


def _uses_google_cloud(store: str) -> bool:
    found = find_store(store)
    return found is not None and found.google_cloud


def _place(name: str, *, by_flag: bool) -> str:
    if by_flag and name == "store":
        return "--store"
    return variable(name) if os.environ.get(variable(name)) else str(Path(FILE).absolute())


def _files(environment: Mapping[str, str]) -> Iterator[Finding]:
    for name in FILES:
        if (path := environment.get(name)) and not Path(path).is_file():
            yield Finding(MACHINE, name, False, f"{path} is not a file", f"name the right one, or unset {name}")


def check_registry(settings: Settings, builder: type[Builder]) -> str:
    """Begin the upload of a blob and cancel it (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push)."""
    if builder.service:
        return f"{builder.service} pushes there, as its own account: its rights cannot be checked from here"
    target = Reference.parse(f"{settings.registry}/{PROBE}")
    host, repository = target.host, target.repository
    scopes = (f"repository:{repository}:pull,push",)
    what = f"{host}/{repository}, a push"
    session = Session(
        host, target.api_host, repository, plain_http=settings.plain_http, clock=BriefClock(), note=lambda line: None
    )
    with contextlib.closing(session):
        try:
            begin = session.exchange("POST", f"/v2/{repository}/blobs/uploads/", what=what, scopes=scopes, expect=(202,))
            with begin as answer:
                upload = answer.header("Location")
                if not upload:
                    raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{what}: the registry names no address for the upload.")
                upload = session.resolve(upload, answer.address, what)
        except SlipwayError as error:
            if error.reason is Reason.ACCESS_DENIED and host.endswith(".pkg.dev"):
                raise Missing(error.message, f"gcloud auth configure-docker {host}") from None
            raise
        # A registry that cancels nothing forgets, after a while, what is not finished.
        cancel = session.exchange("DELETE", upload, what=what, scopes=scopes, expect=(204,))
        with contextlib.suppress(SlipwayError), cancel:
            pass
    known = find_credentials(host, repository)
    who = f"as {known.username or 'the holder of a token'}, by {known.file}" if known else "without credentials"
    return f"it accepts a push, {who} (one was begun and cancelled)"
