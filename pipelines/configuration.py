"""Whether settings fit together: what ``slipway install`` refuses before it applies anything, and ``slipway doctor`` finds.

``steps.core.settings`` checks a single setting. Here is checked what one setting requires of another, and what a cluster
requires of the ConfigMap that is the environment of every step: it holds no secret, since everybody who may read ConfigMaps
could read it. Secrets are files of two Secrets, ``slipway-credentials`` and ``slipway-registry``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from pipelines.names import CREDENTIALS_FOLDER, CREDENTIALS_SECRET, REGISTRY_SECRET
from steps.core.errors import Reason, SlipwayError
from steps.core.redaction import SECRET_NAME, find_secret
from steps.core.settings import FILE, PREFIX, Settings, read_settings, variable
from steps.images.builders.supported import IN_CLUSTER, configured_builder
from steps.images.cloud_build.request import location
from steps.images.registry.reference import Reference
from steps.net.urls import HTTP_HOSTS
from steps.store.supported import bucket_addresses, is_shared

VARIABLES = (*map(variable, Settings.model_fields), HTTP_HOSTS)
NOWHERE = Path("/nonexistent")  # a folder without a slipway.toml, as a pod's
NEAR = 0.8  # similarity (difflib) of a mistyped name to the right one
_LONGEST_SWITCH = len("false")


def read(variables: Mapping[str, str], folder: Path | None = None) -> tuple[Settings, list[SlipwayError]]:
    """Return the settings as far as they are right, and everything that is wrong: one error does not hide the next.

    A file that cannot be read, or has a wrong line, is left out as a whole.
    """
    right = dict(variables)
    wrong: list[SlipwayError] = []
    while True:
        try:
            settings = read_settings(right, folder)
            configured_builder(settings)
            return settings, wrong
        except SlipwayError as error:
            wrong.append(error)
            named = next((each for each in VARIABLES if error.message.startswith(f"{each}: ")), None)
            if named:
                del right[named]
            else:
                folder = NOWHERE


def check_here(variables: Mapping[str, str], folder: Path | None = None) -> tuple[Settings, list[SlipwayError]]:
    """Return the settings of this machine, and everything that is wrong with them."""
    settings, wrong = read(variables, folder)
    return settings, [*wrong, *misfits(settings, write_setting)]


def write_setting(name: str, value: str) -> str:
    """Say how a setting is given a value on this machine."""
    return f'Write `{name} = "{value}"` into {FILE}, or set {variable(name)}.'


def check_cluster(data: Mapping[str, str], namespace: str) -> tuple[Settings, list[SlipwayError]]:
    """Return the settings in a ConfigMap, and everything that is wrong with it as the environment of pods.

    An empty entry sets nothing and is always right: ``--set NAME=`` removes a setting.
    """

    def install(name: str, value: str) -> str:
        return f"slipway install -n {namespace} --set {variable(name)}={value}"

    given = {name: value for name, value in data.items() if value}
    settings, wrong = read(given, NOWHERE)
    wrong += misfits(settings, install)
    if not is_shared(settings.store):
        text = f"SLIPWAY_STORE is {settings.store}, but each step runs in a pod of its own: only a bucket is shared by all."
        wrong.append(SlipwayError(Reason.UNSUPPORTED_STORE, text, hint=install("store", bucket_addresses())))
    if settings.builder not in IN_CLUSTER:
        text = f"SLIPWAY_BUILDER is {settings.builder}, which needs a program that pods may not run."
        wrong.append(SlipwayError(Reason.INVALID_INPUT, text, hint=f"In a cluster there are {', '.join(IN_CLUSTER)}."))
    for name, value in given.items():
        if near := _meant(name):
            remove = f"`--set {name}=` removes it. The settings are {', '.join(VARIABLES)}."
            wrong.append(SlipwayError(Reason.INVALID_INPUT, f"There is no setting {name}.{near}", hint=remove))
        if _is_secret(name, value):
            wrong.append(_secret(name, namespace))
    return settings, wrong


def misfits(settings: Settings, fix: Callable[[str, str], str]) -> Iterator[SlipwayError]:
    """Return where a setting requires another one. ``fix`` says how to set one to a value."""
    builder = configured_builder(settings).builder
    if builder.needs_registry and not settings.registry:
        text = f"SLIPWAY_REGISTRY is not set, and the builder {builder.name} pushes the images that it makes."
        yield SlipwayError(Reason.INVALID_INPUT, text, hint=fix("registry", "HOST/PATH"))
    if builder.store_schemes and not settings.store.startswith(builder.store_schemes):
        schemes = " or ".join(builder.store_schemes)
        text = f"The store is {settings.store}, and the builder {builder.name} takes its source from {schemes} alone."
        others = ", ".join(kind for kind in IN_CLUSTER if not kind.builder.store_schemes)
        hint = f"{fix('store', f'{builder.store_schemes[0]}BUCKET/PREFIX')} Any store works with the builders {others}."
        yield SlipwayError(Reason.UNSUPPORTED_STORE, text, hint=hint)
    for check in (lambda: location(settings), lambda: Reference.parse(f"{settings.registry or 'host.example'}/name")):
        try:
            check()
        except SlipwayError as error:
            yield error


def _meant(name: str) -> str:
    """Return what to say of a name that looks like a setting and is not one; empty for any other variable of the steps."""
    near = get_close_matches(name.upper(), VARIABLES, 1, NEAR)
    if name in VARIABLES or not (near or name.upper().startswith(PREFIX)):
        return ""
    return f" Did you mean {near[0]}?" if near else " No setting has a similar name."


def _is_secret(name: str, value: str) -> bool:
    """Whether a value seems to be a secret: not the path of a file, and not a switch such as ``true``."""
    if find_secret(value):
        return True
    return bool(SECRET_NAME.search(name)) and not value.startswith("/") and len(value) > _LONGEST_SWITCH


def _secret(name: str, namespace: str) -> SlipwayError:
    """Return the error for a setting that seems to be a secret, without its value."""
    return SlipwayError(
        Reason.INVALID_INPUT,
        f"{name} seems to hold a secret, and everybody who may read ConfigMaps could read it.",
        hint=f"Remove it with `--set {name}=`. A registry's goes into the Secret {REGISTRY_SECRET} "
        f"(kubectl -n {namespace} create secret docker-registry {REGISTRY_SECRET} …); others are files of the Secret "
        f"{CREDENTIALS_SECRET} (kubectl -n {namespace} create secret generic {CREDENTIALS_SECRET} --from-file=NAME=FILE), "
        f"which steps find as {CREDENTIALS_FOLDER}/NAME: name that file in GOOGLE_APPLICATION_CREDENTIALS, "
        "AWS_SHARED_CREDENTIALS_FILE or PIP_CONFIG_FILE.",
    )
