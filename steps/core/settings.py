"""The settings of an installation: where results, images and builds go.

The same names everywhere: ``registry`` is the variable ``SLIPWAY_REGISTRY``, the line ``registry = "…"`` of ``slipway.toml`` in
the working folder, and the entry ``SLIPWAY_REGISTRY`` of the ConfigMap that gives each step in a cluster its environment. A
variable overrides the file. What belongs to a library (credentials, proxies, certificate authorities, a store's endpoint)
keeps the variable that the library reads, so that it works as its own manual says.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from steps.core.errors import Reason, SlipwayError
from steps.core.redaction import check_no_secrets, redact_address
from steps.core.user_file import read_user_text
from steps.core.wording import explain, worded

PREFIX = "SLIPWAY_"
FILE = "slipway.toml"
MAX_FILE = 1 << 20  # bytes
NEAR = 0.75  # similarity (difflib) of a mistyped name to the right one
BASE_IMAGE = "python:3.11-slim-bookworm"
# An image's name with an optional registry, port, tag and digest: the characters of the OCI distribution specification.
IMAGE_PATTERN = worded(
    r"^[a-z0-9][A-Za-z0-9._:@/-]{0,254}$", "write an image's name, such as python:3.11-slim-bookworm or HOST/PATH/NAME:TAG"
)
REGISTRY_PATTERN = worded(
    r"^([a-z0-9][a-z0-9._:/-]{0,199})?$", "write HOST[:PORT][/PATH] in lower-case letters and digits, without https:// in front"
)


def _listed(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Listed = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Settings(BaseModel):
    """All settings; in the environment, the parts of a list are separated by commas. ``docs/settings.md`` is made from this."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    store: str = Field(
        ".slipway",
        min_length=1,
        description="where results are stored: a folder, or the address of a store",
    )
    builder: str = Field("plan", description="what builds images, for Models that do not name a builder")
    registry: str = Field(
        "",
        pattern=REGISTRY_PATTERN,
        description="registry that images are pushed to, HOST[:PORT][/PATH]; empty: they are not pushed",
    )
    base_image: str = Field(BASE_IMAGE, pattern=IMAGE_PATTERN, description="image that the services' images are built on")
    plain_http: Listed = Field((), description="registries, as HOST:PORT, that are used by HTTP instead of HTTPS")
    load_memory: int = Field(
        0,
        ge=0,
        description="memory that the step load may use to open a model, in MiB; 0: computed from the size of its weights, "
        "and never more than is free",
    )
    load_timeout: int = Field(
        0, ge=0, description="limit of opening a model for one task, in seconds; 0: computed from the size of its weights"
    )
    project: str = Field("", description="Google Cloud project of Cloud Build; empty: the project of the credentials")
    region: str = Field("global", min_length=1, description="region of Cloud Build")
    build_endpoint: str = Field("", description="HOST:PORT of Cloud Build; empty: Google's own endpoint for the region")
    build_account: str = Field("", description="service account that Cloud Build runs builds as; empty: the project's default")
    build_machine: str = Field("", description="machine type of Cloud Build, such as E2_HIGHCPU_8; empty: its default")
    build_pool: str = Field("", description="private worker pool, projects/P/locations/R/workerPools/W; empty: none")
    build_index: str = Field(
        "",
        pattern=worded(
            r"^(https?://[^\s@]+)?$", "write https://HOST/PATH, without user name and password"
        ),  # visible in the build: no user name, no password
        description="package index that Cloud Build uses in addition to PyPI, such as the one with the CPU build of torch",
    )
    build_timeout: int = Field(3600, ge=60, le=86400, description="limit of one build, in seconds")
    build_wait: int = Field(
        86400,
        ge=0,
        description="seconds to wait for Cloud Build before the step ends with exit code 75 and has to be run again",
    )
    build_logs: str = Field(
        "",
        pattern=worded(r"^(gs://.+)?$", "write gs://BUCKET"),
        description="bucket for the logs of Cloud Build, gs://BUCKET; empty: its own default",
    )

    step_deadline: int = Field(
        0,
        ge=0,
        description="seconds that one step may take before it is stopped with exit code 75; 0: 4 hours for fetch, 2 for build, "
        "1 for load, 30 minutes for others",
    )
    least_rate: int = Field(
        10_000,
        ge=0,
        description="bytes a second below which a download is given up with exit code 75; 0: none is too slow",
    )
    least_rate_seconds: int = Field(60, ge=1, le=3600, description="seconds over which the rate of a download is measured")

    _places: dict[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("registry", mode="before")
    @classmethod
    def _registry_without_scheme(cls, value: object) -> object:
        """Say what to write for ``https://HOST/PATH/``, which people copy from a browser."""
        scheme = re.match(r"(https?|docker|oci)://", value, re.IGNORECASE) if isinstance(value, str) else None
        if isinstance(value, str) and scheme:
            right = redact_address(value)[scheme.end() :].rstrip("/").lower()
            host = right.partition("/")[0]
            plain = f" That it speaks HTTP is said by the setting plain_http: {host}." if scheme[1].lower() == "http" else ""
            raise ValueError(f"a registry is HOST[:PORT][/PATH], without {scheme.group()}: write {right}.{plain}")
        return value.rstrip("/") if isinstance(value, str) else value

    @field_validator("*")
    @classmethod
    def _no_secrets(cls, value: object) -> object:
        """Settings are environment variables, files that are shared, and in a cluster a ConfigMap: no place for secrets."""
        check_no_secrets(value)
        return value

    def place(self, name: str) -> str:
        """Where a setting was made, for a message: its variable, or the file and the line's name; its name for a default."""
        return self._places.get(name, name)


def read_settings(environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Settings:
    """Read the settings of this process, or of the environment and folder that are given.

    Raises:
        SlipwayError: ``InvalidInput``, with the name of the variable or the file and line that is wrong.
    """
    environment = os.environ if environment is None else environment
    path = (folder or Path()) / FILE
    values = {**_from_file(path), **_from_environment(environment)}
    try:
        settings = Settings.model_validate({name: value for name, (value, _) in values.items()})
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][0])
        where = values[name][1] if name in values else name
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"{where}: {explain(problem)}.",
            hint=f"The setting is: {Settings.model_fields[name].description}.",
        ) from None
    settings._places.update({name: where for name, (_, where) in values.items()})
    return settings


# Variables of Slipway's that are no settings of an installation: of commands, builders, the demo, the operator and the tests.
OTHER_VARIABLES = (
    "SLIPWAY_NAMESPACE",
    "SLIPWAY_HTTP_HOSTS",
    "SLIPWAY_BUILD_FLAGS",
    "SLIPWAY_PUSH_FLAGS",
    "SLIPWAY_DEMO_PORT",
    "SLIPWAY_RESYNC_SECONDS",
    "SLIPWAY_HEAD_START_SECONDS",
)
# What Kubernetes adds for each Service of a name that begins with `slipway`, Slipway's tests, and the shell's completion.
_FOREIGN = re.compile(r"SLIPWAY_(\w+_)?(SERVICE_HOST|SERVICE_PORT\w*|PORT(_\d+_\w+)?)|SLIPWAY_E2E_\w+")


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that looks like a setting and is none: it has no effect."""
    known = (*map(variable, Settings.model_fields), *OTHER_VARIABLES)
    found = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known and not _FOREIGN.fullmatch(name):
            near = get_close_matches(name, known, 1, NEAR)
            found.append(f"There is no setting {name}: it has no effect." + (f" Did you mean {near[0]}?" if near else ""))
    return found


def read_seconds(name: str, default: float) -> float:
    """Return a variable of ``OTHER_VARIABLES`` as seconds; raises ``InvalidInput`` for what is no number above 0."""
    text = os.environ.get(name) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise SlipwayError(Reason.INVALID_INPUT, f"{name}: write a number of seconds above 0, not {text!r}.")
    return seconds


def variable(name: str) -> str:
    """Return a setting's name in the environment, which is also its key in the cluster's ConfigMap."""
    return PREFIX + name.upper()


def _from_environment(environment: Mapping[str, str]) -> dict[str, tuple[object, str]]:
    """Other variables that begin with SLIPWAY_ are not settings: those of the demo, the operator and the tests."""
    names = {variable(name): name for name in Settings.model_fields}
    return {names[key]: (value, key) for key, value in environment.items() if key in names and value}


def _from_file(path: Path) -> dict[str, tuple[object, str]]:
    try:
        found = tomllib.loads(read_user_text(path, MAX_FILE, Reason.INVALID_INPUT))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:  # a number of 5000 digits is a ValueError, for one
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SlipwayError(
            Reason.INVALID_INPUT, f"{path} cannot be read: {why}.", hint="Fix the file, or move it away."
        ) from None
    for name in found:
        if name not in Settings.model_fields:
            near = get_close_matches(name.lower().removeprefix(PREFIX.lower()), Settings.model_fields, 1, NEAR)
            raise SlipwayError(
                Reason.INVALID_INPUT,
                f"{path}: there is no setting {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""),
                hint=f"The settings are: {', '.join(Settings.model_fields)}.",
            )
    return {name: (value, f"{path}, {name}") for name, value in found.items()}
