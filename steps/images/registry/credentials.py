"""Credentials for registries, from Docker's configuration file, which every tool that pushes images reads.

The file is ``$REGISTRY_AUTH_FILE``, else ``$DOCKER_CONFIG/config.json``, else ``~/.docker/config.json``. In a cluster it is
a Secret of the type ``kubernetes.io/dockerconfigjson``, mounted as a file. Entries may be for a host or for a part of its
repositories (containers-auth.json(5)); the longest that fits is taken. A credential helper is run as
``docker-credential-NAME get`` (https://github.com/docker/docker-credential-helpers).
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
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
    """A user name with a password, or an identity token (an OAuth 2.0 refresh token)."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

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
    path = config_file()
    try:
        return _find(cast(DockerConfig, read_object(path.read_bytes())), host, repository)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise from_os_error(error, "The registry's credentials cannot be read") from None
    except (ValueError, TypeError, AttributeError) as error:
        kind = type(error).__name__  # its text may show a part of the file
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"{path} is not a valid configuration of Docker ({kind}).",
            hint="Write it again with `docker login` or `podman login`.",
        ) from None


def config_file() -> Path:
    """The path of Docker's configuration file, which need not exist."""
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        return Path(named)
    folder = os.environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path(os.path.expanduser("~"), ".docker")) / "config.json"


def _find(config: DockerConfig, host: str, repository: str) -> Credentials | None:
    for server in _names(host, repository):
        for key, helper in (config.get("credHelpers") or {}).items():
            if _host_of(key) == server:
                return _from_helper(helper, key)
        for key, entry in (config.get("auths") or {}).items():
            if _host_of(key) == server and (found := _from_entry(entry)):
                return found
    if store := config.get("credsStore"):
        return _from_helper(store, "https://index.docker.io/v1/" if host == DOCKER_HUB else host)
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


def _from_helper(name: str, server: str) -> Credentials | None:
    if not _HELPER.fullmatch(name):
        raise ValueError
    program = f"docker-credential-{name}"
    try:
        done = capture([program, "get"], for_credential_helper(), stdin=server.encode(), timeout=HELPER_SECONDS)
    except FileNotFoundError:
        raise SlipwayError(Reason.MISSING_DEPENDENCY, f"{config_file()} names {program}, which is not installed.") from None
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
    answer = cast(HelperAnswer, read_object(done.stdout))
    if answer["Username"] == TOKEN_USER:
        return Credentials(identity_token=answer["Secret"])
    return Credentials(answer["Username"], answer["Secret"])
