"""Which environment variables reach a program that Slipway starts: the lists, in one place.

Every environment is built from a list, never from all that this process has: a token of the shell is no business of a model,
and a ``PYTHONPATH``, ``GIT_DIR`` or ``HF_HUB_OFFLINE=0`` would change what a program does. Where a program needs no secrets it
gets none; one that signs in somewhere by its own rules gets what these rules read. The images of the steps set ``PYTHON`` and
``OFFLINE`` as well.

A name of a list may be a pattern, such as ``AWS_*``.
"""

from __future__ import annotations

import os
import site
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

# Of every program. HOME is not among them: a service and git have one of their own.
SYSTEM = ("PATH", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "DYLD_*")
# How the network is reached. They may hold a proxy's password.
NETWORK = (
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *(
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "GIT_SSL_CAINFO",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    ),
)
# Where the programs that know a user's passwords find them: credential helpers, and whoever calls these.
SIGN_IN = (
    *("HOME", "USER", "LOGNAME", "XDG_*", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY", "SSH_AUTH_SOCK"),
    *("GNUPGHOME", "GPG_TTY", "PASSWORD_STORE_*", "DOCKER_*", "REGISTRY_AUTH_FILE"),
    *("AWS_*", "GOOGLE_*", "CLOUDSDK_*", "AZURE_*", "ACR_*", "ECR_*"),
)
BUILDERS = (
    *("BUILDAH_*", "BUILDKIT_*", "BUILDX_*", "CONTAINER_*", "CONTAINERS_*", "_CONTAINERS_*", "PODMAN_*", "STORAGE_*"),
    *("REGISTRIES_*", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"),
)
PIP = ("HOME", "USER", "XDG_*", "VIRTUAL_ENV", "PIP_*", "NETRC")
STEP = ("HOME", "VIRTUAL_ENV", "OMP_NUM_THREADS", "SLIPWAY_*")
KUBERNETES = ("KUBE*", "ARGO_*")

# Of every Python: no module is imported from the working folder, whatever lies there.
PYTHON: Mapping[str, str] = {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
# Of everything that opens a model: nothing is downloaded or reported.
OFFLINE: Mapping[str, str] = {"HF_HUB_OFFLINE": "1", "BENTOML_DO_NOT_TRACK": "True"}


def chosen(*names: str) -> dict[str, str]:
    """The variables of this process whose names are in the list."""
    return {name: value for name, value in os.environ.items() if any(fnmatchcase(name, pattern) for pattern in names)}


def for_step(store_variables: tuple[str, ...] = (), *, network: bool) -> dict[str, str]:
    """The environment of a step that runs apart from this process.

    Args:
        store_variables: Patterns of the variables that the store's client reads, its secrets among them.
        network: Whether the step has to reach the store by the network.
    """
    found = {**chosen(*SYSTEM, *STEP), **PYTHON, **OFFLINE, **own_modules()}
    if network:
        return found | chosen(*NETWORK, *store_variables)
    return found | {"NO_PROXY": "*", "no_proxy": "*"}


def for_service(home: Path) -> dict[str, str]:
    """The environment of a packaged service on this machine. All of its caches are below ``home``."""
    return {
        **chosen("PATH", "LD_LIBRARY_PATH", "DYLD_*", "OMP_NUM_THREADS"),
        **PYTHON,
        **OFFLINE,
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "BENTOML_HOME": str(home / "bentoml"),
        "HF_HOME": str(home / "huggingface"),
        "NO_PROXY": "*",
        "no_proxy": "*",
    }


def for_git(home: Path) -> dict[str, str]:
    """The environment of git without its network: no configuration of the machine or of a user, and no question."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "http:https",
        "GIT_CEILING_DIRECTORIES": str(home.parent),
        # A file that a filter left on the server is asked for by us, or by nobody.
        "GIT_NO_LAZY_FETCH": "1",
    }


def for_pip(scratch: Path) -> dict[str, str]:
    """The environment of pip, which unpacks in ``scratch``: its own settings and the way to its index."""
    return {**chosen(*SYSTEM, *PIP, *NETWORK), **PYTHON, "TMPDIR": str(scratch)}


def for_compiler() -> dict[str, str]:
    """The environment of a Python that compiles modules."""
    return {**chosen(*SYSTEM), **PYTHON}


def for_builder() -> dict[str, str]:
    """The environment of buildah, podman or docker: its settings, and the signing in to registries by its own rules."""
    return chosen(*SYSTEM, *SIGN_IN, *BUILDERS, *NETWORK) | {"PYTHONSAFEPATH": "1"}


def for_credential_helper() -> dict[str, str]:
    """The environment of ``docker-credential-…``."""
    return chosen(*SYSTEM, *SIGN_IN, *NETWORK) | {"PYTHONSAFEPATH": "1"}


def for_kubernetes_program() -> dict[str, str]:
    """The environment of ``argo``, which reads a kubeconfig and may call a cloud's program to sign in."""
    return chosen(*SYSTEM, *SIGN_IN, *KUBERNETES, *NETWORK) | {"PYTHONSAFEPATH": "1"}


def own_modules() -> dict[str, str]:
    """``PYTHONPATH`` for another Python to find these very modules; nothing where they are installed as a package is."""
    root = Path(__file__).parents[2]
    installed = {Path(folder) for folder in (*site.getsitepackages(), site.getusersitepackages())}
    return {} if root in installed else {"PYTHONPATH": str(root)}
