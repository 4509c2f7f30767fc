"""Credentials for registries, from the files that ``docker login`` and ``podman login`` write.

A file that ``REGISTRY_AUTH_FILE`` names is the only one. Else the first that has an entry for the repository counts:
``$DOCKER_CONFIG/config.json``, ``$XDG_RUNTIME_DIR/containers/auth.json``, ``~/.config/containers/auth.json``,
``~/.docker/config.json`` (containers-auth.json(5); what a variable names comes before what is found). In a cluster it is a
Secret of the type ``kubernetes.io/dockerconfigjson``, mounted as a file. Entries may be for a host or for a part of its
repositories; the longest that fits is taken. A credential helper is run as
``docker-credential-NAME get`` (https://github.com/docker/docker-credential-helpers).
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict, cast

from steps.core.environment import for_credential_helper
from steps.core.errors import Reason, SlipwayError, from_os_error
from steps.core.json_reader import read_object
from steps.core.process import capture
from steps.images.registry.reference import DOCKER_HUB

_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
HELPER_SECONDS = 30  # that a credential helper may take
TOKEN_USER = "<token>"  # a helper's user name where its secret is an identity token


class AuthEntry(TypedDict, total=False):
    """The credentials for one host or repository; ``auth`` is ``NAME:PASSWORD`` in base64."""

    username: str
    password: str
    auth: str
    identitytoken: str


class HelperAnswer(TypedDict):
    """What a credential helper prints (https://github.com/docker/docker-credential-helpers)."""

    Username: str
    Secret: str


class DockerConfig(TypedDict, total=False):
    """The fields of Docker's configuration file that hold credentials."""

    auths: dict[str, AuthEntry]
    credHelpers: dict[str, str]
    credsStore: str


@dataclass(frozen=True)
class Credentials:
    """A user name with a password, or an identity token (an OAuth 2.0 refresh token); ``file`` is where they were found."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    file: str = field(default="", compare=False)

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that no message may show."""
        return tuple(secret for secret in (self.password, self.identity_token, self.basic[6:]) if secret)


def find_credentials(host: str, repository: str) -> Credentials | None:
    """The credentials for a repository of a registry; None where there are none.

    Raises:
        SlipwayError: ``InvalidInput`` for a configuration that cannot be read, ``MissingDependency`` for a credential helper
            that is not installed, ``AccessDenied`` for one that fails.
    """
    for path in config_files():
        if (found := _find_in(path, host, repository)) is not None:
            return replace(found, file=str(path))
    return None


def config_files() -> list[Path]:
    """The files that may have credentials, in their order; they need not exist."""
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        return [Path(named)]
    home = Path(os.path.expanduser("~"))
    docker, runtime = os.environ.get("DOCKER_CONFIG"), os.environ.get("XDG_RUNTIME_DIR")
    configuration = os.environ.get("XDG_CONFIG_HOME")
    return [
        *([Path(docker, "config.json")] if docker else []),
        (Path(runtime) if runtime else Path("/run/containers", str(os.getuid())))
        / ("containers/auth.json" if runtime else "auth.json"),
        (Path(configuration) if configuration else home / ".config") / "containers/auth.json",
        *([] if docker else [home / ".docker/config.json"]),
    ]


def _find_in(path: Path, host: str, repository: str) -> Credentials | None:
    try:
        return _find(cast(DockerConfig, read_object(path.read_bytes())), host, repository, path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise from_os_error(error, "The registry's credentials cannot be read") from None
    except (ValueError, TypeError, AttributeError) as error:
        kind = type(error).__name__  # its text may show a part of the file
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"{path} is not a valid file of credentials for registries ({kind}).",
            hint="Write it again with `docker login` or `podman login`.",
        ) from None


def _find(config: DockerConfig, host: str, repository: str, path: Path) -> Credentials | None:
    for server in _names(host, repository):
        for key, helper in (config.get("credHelpers") or {}).items():
            if _host_of(key) == server:
                return _from_helper(helper, key, path)
        for key, entry in (config.get("auths") or {}).items():
            if _host_of(key) == server and (found := _from_entry(entry)):
                return found
    if store := config.get("credsStore"):
        return _from_helper(store, "https://index.docker.io/v1/" if host == DOCKER_HUB else host, path)
    return None


def _names(host: str, repository: str) -> Iterator[str]:
    """The names that an entry for the repository may have, the most specific first."""
    parts = repository.split("/")
    for count in range(len(parts), 0, -1):
        yield "/".join([host, *parts[:count]])
    yield host
    if host == DOCKER_HUB:
        yield "index.docker.io"


def _host_of(key: str) -> str:
    """The host in ``https://host/v1/``, which Docker writes for some registries."""
    return re.sub(r"/v[12]$", "", re.sub(r"^https?://", "", key).rstrip("/"))


def _from_entry(entry: AuthEntry) -> Credentials | None:
    username, password = entry.get("username", ""), entry.get("password", "")
    if auth := entry.get("auth"):
        try:
            username, _, password = base64.b64decode(auth, validate=True).decode().rstrip("\0").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise ValueError from None
    found = Credentials(username, password, entry.get("identitytoken", ""))
    return found if found.identity_token or found.username else None


def _from_helper(name: str, server: str, path: Path) -> Credentials | None:
    if not _HELPER.fullmatch(name):
        raise ValueError
    program = f"docker-credential-{name}"
    try:
        done = capture([program, "get"], for_credential_helper(), stdin=server.encode(), timeout=HELPER_SECONDS)
    except FileNotFoundError:
        raise SlipwayError(Reason.MISSING_DEPENDENCY, f"{path} names {program}, which is not installed.") from None
    except subprocess.TimeoutExpired:
        raise SlipwayError(Reason.ACCESS_DENIED, f"{program} did not answer for {server}.", hint="Call it by hand.") from None
    if done.exit_code != 0:
        if b"not found" in done.stdout:  # "credentials not found in native keychain": the helpers' own convention
            return None
        raise SlipwayError(
            Reason.ACCESS_DENIED,
            f"{program} failed for {server} ({done.exit_code}).",
            hint=f"Call it by hand: echo {server} | {program} get",
        )
    try:
        answer = cast(HelperAnswer, read_object(done.stdout))
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, LookupError):
        username = secret = None  # type: ignore[assignment]
    if not isinstance(username, str) or not isinstance(secret, str):
        raise SlipwayError(
            Reason.ACCESS_DENIED,
            f"{program} printed no credentials for {server}.",
            hint=f"Call it by hand: echo {server} | {program} get",
        )
    return Credentials(identity_token=secret) if username == TOKEN_USER else Credentials(username, secret)
