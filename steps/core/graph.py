"""The pipeline as data: which step needs which output of which.

    fetch ─► load ─┬─► render ─► archive ─► build ─┬─► smoke          one branch per service
                   └─► …                           └─► cloudbuild     for that builder only
                                                               report, always, at the end

Both drivers walk this table: ``pipelines.local`` on this machine, and the Argo template made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Param:
    """A value of the run itself: a field of the ``Model``."""

    name: str


@dataclass(frozen=True)
class Output:
    """An output of an earlier node; within a branch, of the same branch."""

    node: str
    name: str


@dataclass(frozen=True)
class Service:
    """The branch's own service."""


InputSource = Param | Output | Service


@dataclass(frozen=True)
class Node:
    """One step in the pipeline, and where each of its inputs comes from.

    ``image`` says which container image has what it needs; the local runner gives ``ml`` steps a process of their own,
    so that a model's memory is gone when the step is. A node with a ``builder`` is there for that one alone: after ``build``,
    whose output ``awaits`` then has the node's name. It looks at work that is done elsewhere, and ends with exit code 75 while
    that goes on.
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

MODEL_NODES = (FETCH, LOAD)
SERVICE_NODES = (RENDER, ARCHIVE, BUILD, SMOKE, CLOUDBUILD)
REPORT = Node("report", "light", {"report_run": Param("run")})
