"""Where the settings of this machine send results, images and builds, and whether the credentials here are good for it.

Nothing is left behind. What may be done is asked (Google's buckets tell permissions) or begun and taken back: an upload that
is not finished is seen by nobody. The names of credentials are shown, and nothing of what is in them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.doctor.finding import LIMIT, MACHINE, Finding, Missing, check
from steps.core.clock import SystemClock
from steps.core.errors import Reason, SlipwayError, missing_extra
from steps.core.settings import FILE, Settings, variable
from steps.core.text import format_bytes
from steps.images.builders.base import Builder
from steps.images.builders.supported import configured_builder
from steps.images.registry.credentials import config_file, find_credentials
from steps.images.registry.reference import Reference
from steps.images.registry.session import Session
from steps.store.gcs import GcsPrefix
from steps.store.local import LocalStore
from steps.store.s3 import S3Prefix
from steps.store.supported import BUCKETS, open_store

PROBE = "slipway-doctor"  # the name of the object, the repository and the tag that are asked about
MIN_FREE = 5_000_000_000  # bytes: a small model, its archive and its image's context
# What a store does: it makes objects, reads and lists them, and replaces its records, which Google counts as deleting.
PERMISSIONS = ("storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list")
# Variables of the libraries below that name a file.
FILES = (
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "REGISTRY_AUTH_FILE",
)
LOG_IN = "gcloud auth application-default login"


class BriefClock(SystemClock):
    """For clients that wait before they try again: the doctor's patience is shorter than theirs."""

    def sleep(self, seconds: float) -> None:
        super().sleep(min(seconds, 0.1))


def settings_findings(settings: Settings, wrong: list[SlipwayError], *, by_flag: bool) -> Iterator[Finding]:
    """Each setting that somebody has made, with its place; then each that is wrong."""
    for name in Settings.model_fields:
        if name in settings.model_fields_set:
            value = getattr(settings, name)
            shown = ", ".join(value) if isinstance(value, tuple) else str(value)
            yield Finding(MACHINE, f"setting {name}", True, f"{shown} ({_place(name, by_flag=by_flag)})")
    for error in wrong:
        yield Finding(MACHINE, "settings", False, error.message, error.hint)
    yield from _files(os.environ)


def destinations(settings: Settings) -> Iterator[Finding]:
    """The store, the builder and the registry, and who one is to Google where Google is asked."""
    yield check(MACHINE, f"store {settings.store}", lambda: _store(settings.store))
    builder = configured_builder(settings).builder
    yield check(MACHINE, f"builder {builder.name}", lambda: builder.check(settings, BriefClock()))
    if settings.registry:
        # Other builders may be named by a Model; the program of `local` has credentials of its own as well.
        yield check(
            MACHINE, f"registry {settings.registry}", lambda: _registry(settings, builder), required=builder.pushes_itself
        )
    if builder.needs_google_cloud or settings.store.startswith("gs://"):
        yield check(MACHINE, "Google Cloud credentials", lambda: _google()[0], LOG_IN, required=False)


def _place(name: str, *, by_flag: bool) -> str:
    if by_flag and name == "store":
        return "--store"
    return variable(name) if os.environ.get(variable(name)) else str(Path(FILE).absolute())


def _files(environment: Mapping[str, str]) -> Iterator[Finding]:
    for name in FILES:
        if (path := environment.get(name)) and not Path(path).is_file():
            yield Finding(MACHINE, name, False, f"{path} is no file", f"name the right one, or unset {name}")


def _store(uri: str) -> str:
    store = open_store(uri)
    if isinstance(store, LocalStore):
        return _folder(store.root)
    return _gcs(uri) if uri.startswith(BUCKETS[0]) else _s3(uri)


def _folder(root: Path) -> str:
    folder = next(each for each in (root, *root.parents) if each.exists())
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Missing(f"{folder} is not writable", "name another folder: --store or SLIPWAY_STORE")
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE:
        raise Missing(f"{format_bytes(free)} free", f"free {format_bytes(MIN_FREE)}, or use --store")
    return f"{format_bytes(free)} free"


def _gcs(uri: str) -> str:
    """Asks for permissions on the bucket: https://cloud.google.com/storage/docs/json_api/v1/buckets/testIamPermissions"""
    found = GcsPrefix.from_uri(uri)
    below = GcsPrefix(found.bucket, found.prefix.rstrip("/"), patience=0)
    below.find(PROBE)  # the bucket answers, and says so if it does not exist
    with below.errors(uri):
        from google.api_core.exceptions import MethodNotAllowed, MethodNotImplemented, NotFound

        try:
            held = below.client.bucket(below.bucket).test_iam_permissions(PERMISSIONS, timeout=LIMIT, retry=None)
        except (NotFound, MethodNotAllowed, MethodNotImplemented):  # another server than Google's, that keeps no permissions
            return "it answers; what may be done in it, it does not tell"
    if lacking := [each.rpartition(".")[2] for each in PERMISSIONS if each not in held]:
        grant = f"gcloud storage buckets add-iam-policy-binding gs://{below.bucket} --role=roles/storage.objectUser"
        raise Missing(f"you may not {', '.join(lacking)} objects", f"{grant} --member={_google()[1]}")
    return "objects may be created, read, listed and replaced (its permissions were asked)"


def _s3(uri: str) -> str:
    """Begins an upload and takes it back: who may do that may write."""
    found = S3Prefix.from_uri(uri)
    below = S3Prefix(found.bucket, found.prefix.rstrip("/"), patience=0)
    where = below.locate(PROBE)
    with below.errors(where):
        import botocore.session

        target = below.target(PROBE)
        below.client.head_bucket(Bucket=below.bucket)
        begun = below.client.create_multipart_upload(**target, ChecksumAlgorithm="CRC32C")
        below.client.abort_multipart_upload(**target, UploadId=begun["UploadId"])
        method = botocore.session.get_session().get_credentials().method
    return f"objects may be written (an upload was begun and taken back), with credentials from {method}"


def _registry(settings: Settings, builder: type[Builder]) -> str:
    """Begins the upload of a blob and cancels it, as the distribution specification has it."""
    if builder.service:
        return f"{builder.service} pushes there, as its own account: what that may do cannot be seen from here"
    target = Reference.parse(f"{settings.registry}/{PROBE}")
    host, repository = target.host, target.repository
    rights = (f"repository:{repository}:pull,push",)
    what = f"{host}/{repository}, a push"
    session = Session(
        host, target.api_host, repository, plain_http=settings.plain_http, clock=BriefClock(), tell=lambda note: None
    )
    with contextlib.closing(session):
        try:
            begin = session.exchange("POST", f"/v2/{repository}/blobs/uploads/", what=what, rights=rights, expect=(202,))
            with begin as answer:
                upload = answer.header("Location")
        except SlipwayError as error:
            if error.reason is Reason.ACCESS_DENIED and host.endswith(".pkg.dev"):
                raise Missing(error.message, f"gcloud auth configure-docker {host}") from None
            raise
        # A registry that cancels nothing forgets, after a while, what is not finished.
        cancel = session.exchange("DELETE", upload, what=what, rights=rights, expect=(204,))
        with contextlib.suppress(SlipwayError), cancel:
            pass
    known = find_credentials(host, repository)
    who = f"as {known.username or 'the holder of a token'}, by {config_file()}" if known else "without credentials"
    return f"it takes a push, {who} (one was begun and taken back)"


def _google() -> tuple[str, str]:
    """Who one is to Google: in words, and as IAM's bindings name members."""
    try:
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError
    except ImportError as error:
        raise Missing(f"the package {error.name} is not installed", missing_extra("gcp").hint) from None
    try:
        found: Any
        found, project = google.auth.default()
    except DefaultCredentialsError as error:
        raise Missing(f"there are none: {str(error).partition('. ')[0]}") from None
    of_project = f"project {project}" if project else "of no project"
    if email := getattr(found, "service_account_email", ""):
        return f"service account {email}, {of_project}", f"serviceAccount:{email}"
    return f"{type(found).__module__.rpartition('.')[2]}, {of_project}", "user:YOUR-ADDRESS"
