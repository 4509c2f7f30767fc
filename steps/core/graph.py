"""The pipeline as data: which step needs which output of which.

    fetch ─► load ─┬─► render ─► archive ─► build ─┬─► smoke          for each service
                   └─► …                           └─► cloudbuild     for that builder only
                                                               report, always, at the end

This is data only: ``pipelines.step_table`` has the step of each name. ``pipelines.local`` runs the graph on this machine, and
the Argo template is made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Param:
    """A parameter of the run: a field of the ``Model``."""

    name: str


@dataclass(frozen=True)
class Output:
    """An output of an earlier node; for a node of a service, of the same service."""

    node: str
    name: str


@dataclass(frozen=True)
class Service:
    """The service that the node is run for."""


InputSource = Param | Output | Service


@dataclass(frozen=True)
class Node:
    """One step in the pipeline, and where each of its inputs comes from.

    Attributes:
        name: The step's name: ``python -m steps.NAME``.
        image: The container image that has what the step needs, ``light`` or ``ml``. The local runner starts ``ml`` steps in
            a process of their own, so that a model's memory is free again when the step ends.
        inputs: For each input of the step, where its value comes from.
        builder: The builder that the node belongs to; empty for all builders. Such a node comes after ``build``, whose
            output ``awaits`` has the node's name. It waits for work that is done elsewhere, and ends with exit code 75 while
            that runs.
    """

    name: str
    image: str
    inputs: Mapping[str, InputSource]
    builder: str = ""


FETCH = Node(
    "fetch",
    "light",
    {
        "source_kind": Param("source_kind"),
        "source": Param("source"),
        "revision": Param("revision"),
        "include": Param("include"),
        "exclude": Param("exclude"),
        "services": Param("services"),
        "expected_set_digest": Param("expected_set_digest"),
        "name": Param("name"),
        "framework": Param("framework"),
        "builder": Param("builder"),
    },
)
LOAD = Node(
    "load", "ml", {"lock": Output("fetch", "lock"), "services": Output("fetch", "services"), "framework": Param("framework")}
)
RENDER = Node(
    "render",
    "light",
    {"name": Param("name"), "service": Service(), "lock": Output("fetch", "lock"), "facts": Output("load", "facts")},
)
ARCHIVE = Node(
    "archive",
    "light",
    {"name": Param("name"), "service": Service(), "lock": Output("fetch", "lock"), "render": Output("render", "render")},
)
BUILD = Node(
    "build",
    "light",
    {
        "name": Param("name"),
        "service": Service(),
        "archive": Output("archive", "archive"),
        "archive_digest": Output("archive", "archive_digest"),
        "builder": Param("builder"),
    },
)
SMOKE = Node(
    "smoke",
    "ml",
    {
        "service": Service(),
        "archive": Output("archive", "archive"),
        "archive_digest": Output("archive", "archive_digest"),
        "facts": Output("load", "facts"),
    },
)
CLOUDBUILD = Node(
    "cloudbuild",
    "light",
    {
        "name": Param("name"),
        "service": Service(),
        "archive": Output("archive", "archive"),
        "archive_digest": Output("archive", "archive_digest"),
        "plan": Output("build", "plan"),
    },
    builder="cloudbuild",
)

# Once for a model; then, for each of its services, in this order.
MODEL_NODES = (FETCH, LOAD)
SERVICE_NODES = (RENDER, ARCHIVE, BUILD, SMOKE, CLOUDBUILD)
# At the end, also after a failure.
REPORT = Node("report", "light", {"report_run": Param("run")})

# Seconds that a step may take by its name, the same for a pod and for a process of this machine.
STEP_DEADLINES: Mapping[str, int] = {
    **{node.name: 30 * 60 for node in (*MODEL_NODES, *SERVICE_NODES, REPORT)},
    FETCH.name: 4 * 3600,
    LOAD.name: 3600,
    BUILD.name: 2 * 3600,
}
