"""The pipeline on this machine: no cluster, no containers, the same steps, the same store.

Every node goes through ``steps.core.receipts``: what was done before is checked and skipped, what failed or was interrupted
is done again. Steps marked ``ml`` run in a process of their own with a minimal environment, as their container would; the
others run in this process, because starting Python costs more than most of them.
"""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from crd.types import Model
from pipelines.disk_space import disks, require_space
from pipelines.preflight import check_run, done_nodes, require, scratch_of
from pipelines.step_failure import KEPT_LINES, step_failure
from pipelines.step_table import STEPS
from steps.command.context import open_context
from steps.command.flags import format_flags
from steps.core.contract import Context, Inputs
from steps.core.deadline import deadline, step_deadline
from steps.core.digest import canonical_json, sha256_bytes
from steps.core.environment import for_step
from steps.core.errors import Reason, SlipwayError
from steps.core.graph import FETCH, MODEL_NODES, REPORT, SERVICE_NODES, InputSource, Node, Output, Param, Service
from steps.core.process import start
from steps.core.progress import Progress, event_from_json
from steps.core.receipts import Receipt, execute, find_result, read_records
from steps.core.settings import read_settings
from steps.images.builders.supported import BuilderKind, configured_builder
from steps.store.supported import is_shared, open_store, store_variables
from steps.tasks.table import AUTO

NodeState = Literal["running", "done", "skipped", "failed"]
STOP_SECONDS = 30.0  # a step that was asked to stop gets this long to clean up


class Observer:
    """What follows a run and shows it; this base class shows nothing."""

    def progress(self, node: str) -> Progress:
        """Return the sink for the notes and meters of a node."""
        del node
        return Progress()

    def begin(self, run: str, nodes: tuple[str, ...], before: list[Receipt]) -> None:
        """Take note that the run begins; ``before`` are the records of earlier runs of the same Model."""

    def changed(self, node: str, state: NodeState) -> None:
        """Take note that a node began or ended."""


@dataclass
class Outcome:
    """The result of a run.

    ``nodes`` are the names of its nodes in order, ``receipts`` and ``failures`` are by node, the first failure first.
    ``skipped`` are the nodes that were done before; ``report`` is the place of the report in the store.
    """

    run: str
    nodes: tuple[str, ...]
    receipts: dict[str, Receipt] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    failures: dict[str, SlipwayError] = field(default_factory=dict)
    report: str = ""

    @property
    def failure(self) -> SlipwayError | None:
        """The first failure, None where there is none."""
        return next(iter(self.failures.values()), None)

    @property
    def nothing_to_do(self) -> bool:
        """Whether every node was done before."""
        return not self.failures and set(self.nodes) <= self.skipped


def parameters(model: Model) -> dict[str, object]:
    """The run's parameters, by the names that the graph uses."""
    fields = model.spec.model_dump(mode="json")
    return {**fields, "name": model.metadata.name, "run": run_name(model)}


def run_name(model: Model) -> str:
    """The model's name and a digest of its spec: equal Models have one name, under which a run finds its records."""
    spec = canonical_json(model.spec.model_dump(mode="json"))
    return f"{model.metadata.name}-{sha256_bytes(spec)[:8]}"


def branch(builder: BuilderKind) -> tuple[Node, ...]:
    """The nodes of a service with this builder."""
    return tuple(node for node in SERVICE_NODES if node.builder in ("", builder))


def nodes(services: Sequence[str], builder: BuilderKind) -> tuple[str, ...]:
    """The names of a run's nodes, in the order in which they are done; those of tasks that are not known yet are left out."""
    branches = (f"{service}/{node.name}" for service in services if service != AUTO for node in branch(builder))
    return (*(node.name for node in MODEL_NODES), *branches)


def run_model(model: Model, store: str, observer: Observer) -> Outcome:
    """Run the whole pipeline for a model.

    A service that fails does not stop the others, and the report is made in any case.

    Raises:
        SlipwayError: ``Interrupted`` or ``Terminated`` when the run is stopped; before it begins, what opening the store or
            reading the settings raises, and whatever ``pipelines.preflight`` finds. Other failures are in the outcome.
    """
    return _Run(model, store, observer).all()


class _Run:
    def __init__(self, model: Model, store: str, observer: Observer) -> None:
        self.model, self.store, self.observer = model, store, observer
        self.values = parameters(model)
        self.builder = model.spec.builder or configured_builder(read_settings())
        self.outcome = Outcome(run_name(model), nodes(model.spec.services, self.builder))

    def all(self) -> Outcome:
        context = open_context(self.store, "", Progress())
        context.remove_leftovers()
        before = read_records(context, self.outcome.run)
        known = next((receipt.outputs.get("services") for receipt in before if receipt.node == FETCH.name), None)
        require(check_run(self.model, self.store, done=done_nodes(before, context), services=known or (), retry=True))
        self.observer.begin(self.outcome.run, nodes(known, self.builder) if known else self.outcome.nodes, before)
        if self.chain(MODEL_NODES, ""):
            services = self.outcome.receipts[FETCH.name].outputs["services"]
            self.outcome.nodes = nodes(services, self.builder)  # `auto` has become tasks
            for service in services:
                self.chain(branch(self.builder), service)
        self.node(REPORT, "")
        self.forget_second_failure()
        if REPORT.name in self.outcome.receipts:
            self.outcome.report = context.store.locate(self.outcome.receipts[REPORT.name].outputs["report"])
        return self.outcome

    def forget_second_failure(self) -> None:
        """Leave out the report's failure where it follows from an earlier one: of a store that is full or gone, say."""
        failures = self.outcome.failures
        if len(failures) > 1 and REPORT.name in failures and failures[REPORT.name].reason is not Reason.INTERNAL_ERROR:
            del failures[REPORT.name]

    def chain(self, nodes: tuple[Node, ...], service: str) -> bool:
        """Do nodes one after the other until one fails; whether all were done."""
        return all(self.node(node, service) for node in nodes)

    def node(self, node: Node, service: str) -> bool:
        name = f"{service}/{node.name}" if service else node.name
        context = open_context(self.store, "", self.observer.progress(name))
        context.check_space = self.check_space
        self.observer.changed(name, "running")
        try:
            inputs = self.bind(node, service)
            with deadline(f"The step {node.name}", step_deadline(node.name, read_settings())):
                fresh = node.image == "ml" and self.is_new(node, inputs, context)
                if fresh:
                    run_apart(node, inputs, self.store, self.outcome.run, context.progress)
                # The report is about the run and no part of it.
                done = execute(STEPS[node.name], inputs, context, run="" if node is REPORT else self.outcome.run)
        except BaseException as error:  # whatever it is, the display must know that the node has ended
            self.observer.changed(name, "failed")
            if not isinstance(error, SlipwayError) or error.reason in (Reason.INTERRUPTED, Reason.TERMINATED):
                raise
            self.outcome.failures[name] = error
            return False
        if done.skipped and not fresh:
            self.outcome.skipped.add(name)
        self.outcome.receipts[name] = done.receipt
        self.observer.changed(name, "skipped" if name in self.outcome.skipped else "done")
        return True

    def check_space(self, files: Sequence[tuple[str, int]]) -> None:
        """Raise ``DiskFull`` where the whole run would not fit on the disks of this machine."""
        store = open_store(self.store)
        services = len(self.model.spec.services)  # `auto` counts as one: more of them need more
        require_space(disks(files, store, scratch_of(store), services, self.builder.builder))

    def is_new(self, node: Node, inputs: Inputs, context: Context) -> bool:
        """Whether the step is still to be done. Where that is not known, ``execute`` raises why, and records it."""
        try:
            return find_result(STEPS[node.name], inputs, context) is None
        except SlipwayError:
            return False

    def bind(self, node: Node, service: str) -> Inputs:
        """A node's inputs, from the parameters and from what earlier nodes put out."""

        def value(source: InputSource) -> object:
            match source:
                case Param(name):
                    return self.values[name]
                case Service():
                    return service
                case Output(earlier, name):
                    receipts = self.outcome.receipts
                    return (receipts.get(f"{service}/{earlier}") or receipts[earlier]).outputs[name]

        values = {name: value(source) for name, source in node.inputs.items()}
        # What a Model leaves out and the settings have is the step's own default.
        inputs: Inputs = STEPS[node.name].inputs.model_validate(
            {name: given for name, given in values.items() if given is not None}
        )
        return inputs


def run_apart(node: Node, inputs: Inputs, store: str, run: str, progress: Progress) -> None:
    """Do a step as ``python -m steps.NAME`` and pass its progress on. Raises the step's own error.

    A model is loaded with nothing that it could take or call: no token, no proxy, no hub. A store in a bucket is the exception:
    the step must reach it to read the model at all, so it gets what the store's client reads.
    """
    command = [sys.executable, "-P", "-m", f"steps.{node.name}", "--store", store, "--run", run, "--progress", "json"]
    command += format_flags(inputs)
    tail: deque[str] = deque(maxlen=KEPT_LINES)
    environment = for_step(store_variables(store), network=is_shared(store))
    with start(command, environment=environment, stderr=subprocess.PIPE, grace=STOP_SECONDS) as program:
        assert program.process.stderr is not None, "it is a pipe"
        for written in program.process.stderr:
            line = written.decode(errors="replace")
            if event := event_from_json(line):
                progress.emit(event)
            else:
                tail.append(line.rstrip())
        code = program.wait()
    if code != 0:
        raise step_failure(node.name, code, [*tail])
