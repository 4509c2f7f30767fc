"""What ``slipway run`` checks before it fetches anything, and ``slipway plan`` shows: whether the whole run can work here.

A run may take an hour before it pushes its first image, so whatever can be known at its beginning is told there. Only what this
run will use is checked, and nothing for a step that is done already. The checks of store, builder and registry are those of
``slipway doctor``; ``pipelines.disk_space`` has the one that needs to know the model's size.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from crd.types import Model
from pipelines.configuration import misfits, write_setting
from pipelines.doctor.destinations import BriefClock, check_registry
from pipelines.doctor.finding import Missing, within
from pipelines.step_table import STEPS
from steps.build import BuildInputs, image_name
from steps.core.contract import Context
from steps.core.errors import Reason, SlipwayError, missing_extra
from steps.core.graph import BUILD, CLOUDBUILD, FETCH, LOAD, MODEL_NODES, SERVICE_NODES, SMOKE
from steps.core.receipts import Receipt, receipt_key
from steps.core.settings import Settings, read_settings
from steps.frameworks.libraries import require_libraries
from steps.images.builders.supported import BuilderKind, configured_builder
from steps.net.retry import RetryPolicy
from steps.sources.supported import SourceKind
from steps.store.base import StoreBackend
from steps.store.supported import is_bucket, open_prefix, open_store
from steps.tasks.families import packages
from steps.tasks.table import AUTO, resolve

MAX_IMAGE = 255  # characters of an image's name without tag and digest, https://github.com/distribution/reference
PROBE = "slipway-doctor"  # the name of an object that is asked for at a source, and is not there
# A server that restarts just now is no reason to refuse a run; a wrong name shows within seconds all the same.
RETRIES = RetryPolicy(attempts=3, first=1.0)


@dataclass(frozen=True)
class Check:
    """One thing that the run needs.

    Attributes:
        what: What was looked at, with the flag or setting that names it.
        detail: What is known of it; empty after a failure.
        failure: Why the run cannot work; None where it can.
    """

    what: str
    detail: str = ""
    failure: SlipwayError | None = None


def check_run(
    model: Model, store: str, *, done: frozenset[str] = frozenset(), services: Sequence[str] = (), retry: bool = False
) -> list[Check]:
    """Check all that a run needs.

    Args:
        model: The Model.
        store: The address of the store.
        done: The nodes of the run that are done, as ``done_nodes`` returns them.
        services: The tasks, where an earlier run has found what ``auto`` is.
        retry: Whether to look again, for some seconds, at what is out of reach.

    Raises:
        SlipwayError: ``InvalidInput`` for settings that are wrong.
    """
    read = read_settings()
    builder = model.spec.builder or configured_builder(read)
    settings = read.model_copy(update={"store": store, "builder": builder})
    tasks = services or [name for name in model.spec.services if name != AUTO]
    open_nodes = {*_nodes(tasks or [AUTO], builder)} - done
    if not open_nodes:
        return []
    steps = {node.rpartition("/")[2] for node in open_nodes}
    asked = _Asked(RETRIES if retry else RetryPolicy(attempts=1))
    place = read.place("store") if store == read.store else "--store"
    asked("Python and temporary folder", _machine)
    if FETCH.name in steps:
        asked(f"source {model.spec.source}", lambda: _source(model))
    if steps & {LOAD.name, SMOKE.name}:
        asked("libraries that load and serve models", lambda: _libraries(tasks))
    asked(f"store {store} ({place})", lambda: open_store(store).check())
    if steps & {BUILD.name, CLOUDBUILD.name}:
        asked("names of images", lambda: _names(model.metadata.name, tasks, settings))
        misfitting = list(misfits(settings, write_setting))
        asked.checks += [Check(f"builder {builder} and settings", failure=error) for error in misfitting]
        if not misfitting:  # else what follows fails for the same reason
            asked(
                f"builder {builder} ({_place_of_builder(model, read)})", lambda: builder.builder.check(settings, BriefClock())
            )
            if settings.registry and builder.builder.pushes_itself:
                what = f"registry {settings.registry} ({read.place('registry')})"
                asked(what, lambda: check_registry(settings, builder.builder))
    return asked.checks


def require(checks: Iterable[Check]) -> None:
    """Raise what is wrong, all of it in one error: with the reason of the first, and a hint for each.

    Raises:
        SlipwayError: With the reason of the first check that failed; each check stands in a line of its own.
    """
    failed = [(check, check.failure) for check in checks if check.failure]
    if not failed:
        return
    messages = [f"{check.what}: {failure.message}" for check, failure in failed]
    hints = dict.fromkeys(failure.hint for _, failure in failed)
    raise SlipwayError(failed[0][1].reason, "\n".join(messages), hint="\n".join(hints))


def done_nodes(records: Iterable[Receipt], context: Context) -> frozenset[str]:
    """The nodes of a run that need not be done again, as far as that can be told without reading what they made.

    A record counts if this code has a receipt for its inputs, and if a build had the settings of today.
    """
    settings = read_settings()
    found = set()
    for record in records:
        if record.failure is not None or record.step not in STEPS:
            continue
        step = STEPS[record.step]
        try:
            inputs = step.inputs.model_validate(record.inputs)
        except ValidationError:
            continue
        if isinstance(inputs, BuildInputs) and (inputs.registry, inputs.base_image) != (settings.registry, settings.base_image):
            continue
        if context.store.size(receipt_key(step.name, inputs)) is not None:
            found.add(record.node)
    return frozenset(found)


class _Asked:
    """Runs checks one after the other and keeps what they found."""

    def __init__(self, policy: RetryPolicy) -> None:
        self.checks: list[Check] = []
        self._policy = policy

    def __call__(self, what: str, ask: Callable[[], str]) -> None:
        """Run one check."""
        try:
            self.checks.append(Check(what, self._policy.call(lambda: _answer(ask), transient=_may_pass)))
        except SlipwayError as error:
            self.checks.append(Check(what, failure=error))


def _answer(ask: Callable[[], str]) -> str:
    try:
        return within(ask)
    except Missing as missing:
        raise SlipwayError(Reason.ACCESS_DENIED, str(missing), hint=missing.fix) from None
    except TimeoutError as error:
        hint = "Check that the address is right, and that a proxy or a firewall lets it through."
        raise SlipwayError(Reason.NETWORK_UNREACHABLE, f"{error}.", hint=hint) from None


def _may_pass(error: Exception) -> float | None:
    return 0.0 if isinstance(error, SlipwayError) and error.reason.retryable else None


def _nodes(services: Sequence[str], builder: BuilderKind) -> list[str]:
    branch = [node for node in SERVICE_NODES if node.builder in ("", builder)]
    return [*(node.name for node in MODEL_NODES), *(f"{service}/{node.name}" for service in services for node in branch)]


def _place_of_builder(model: Model, settings: Settings) -> str:
    return "spec.builder" if model.spec.builder else settings.place("builder")


def _machine() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    try:
        return f"Python {version}, {tempfile.gettempdir()}"
    except FileNotFoundError as error:
        hint = "Name a folder that you may write to in TMPDIR."
        raise SlipwayError(Reason.STORE_UNREADABLE, f"There is no folder for temporary files: {error}.", hint=hint) from None


def _source(model: Model) -> str:
    """What can be known of a source without asking a server of Git: the step fetch begins with that itself."""
    kind, source = model.spec.source_kind, model.spec.source
    kind.source.check_address(source)
    if kind is SourceKind.GIT_LFS:
        if shutil.which("git") is None:
            raise SlipwayError(Reason.MISSING_DEPENDENCY, "The program git is not installed.", hint="Install git.")
        return "git is installed"
    if is_bucket(source):
        open_prefix(source).with_one_try().find(PROBE)
        return "the bucket answers"
    folder = Path(source.removeprefix("file://")).absolute()
    if not folder.is_dir():
        raise SlipwayError(
            Reason.SOURCE_NOT_FOUND,
            f"There is no folder {folder}.",
            hint="A path that is not absolute begins at the folder that the command is called in.",
        )
    return str(folder)


def _libraries(tasks: Sequence[str]) -> str:
    names = ("torch", "transformers", "bentoml")
    require_libraries(names)
    versions = []
    for name in (*names, *sorted({package for task in tasks for package in packages(resolve(task).family)})):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            if name not in names:  # those can be imported, wherever they come from
                raise missing_extra("ml", package=name, needed_by=f"Serving {', '.join(tasks)}") from None
    return ", ".join(versions)


def _names(name: str, tasks: Sequence[str], settings: Settings) -> str:
    """Whether names that are put together are not too long for where they are used."""
    names = [image_name(settings.registry, f"{name}-{resolve(task).name}", "0" * 64) for task in tasks]
    longest = max((each.rpartition(":")[0] for each in names), key=len, default="")
    if len(longest) > MAX_IMAGE:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"The image's name would have {len(longest)} characters, and {MAX_IMAGE} are allowed: {longest}.",
            hint=f"Shorten metadata.name, or the path of the registry ({settings.place('registry')}).",
        )
    return longest


def scratch_of(store: StoreBackend) -> Path:
    """The folder for unfinished work of a run with this store."""
    return store.scratch or Path(tempfile.gettempdir()) / "slipway"
