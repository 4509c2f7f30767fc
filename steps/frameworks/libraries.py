"""The heavy libraries that load and serve models: whether they are installed, and how they are imported."""

from __future__ import annotations

import importlib
import importlib.util
import signal
from collections.abc import Iterable

from steps.core.errors import missing_extra

# The environment of whatever loads a model. The load step has no network anyway; these make the libraries not even try. What
# transformers warns of, missing tensors for example, is judged and told by the step itself.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


def require_libraries(names: Iterable[str] = ("torch", "transformers", "bentoml")) -> None:
    """Raise ``MissingDependency`` unless the libraries are installed; by default those that load and serve. Imports none."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise missing_extra("ml", package=name, needed_by="Loading or serving a model")


def import_without_sigterm(names: Iterable[str]) -> None:
    """Import modules while SIGTERM waits.

    torch and transformers swallow what is raised while they are imported, or take it for a package that is missing, so the
    ``Terminated`` of a signal would be lost or reported as something else.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        for name in names:
            importlib.import_module(name)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
