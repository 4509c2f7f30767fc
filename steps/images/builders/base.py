"""What every builder of images is: the interface, what the rest of Slipway needs to know of one, and what it gets to build.

A builder makes a container image of a complete build context in a folder. What the image holds stands in
``steps.images.description``, the same for every builder; ``steps.images.builders.supported`` lists the builders.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from steps.core.clock import Clock
from steps.core.contract import Context
from steps.core.lock import Lock
from steps.core.progress import Progress
from steps.core.settings import Settings


@dataclass(frozen=True)
class BuildRequest:
    """What to build.

    Attributes:
        context: folder of the build context, with the Dockerfile at ``steps.images.description.DOCKERFILE``.
        image: name and tag of the image, with the registry in front where there is one.
        base_image: name of the image to build on.
        labels: labels whose values come from the model; they travel as arguments, never in the Dockerfile's text.
        lock: the model's files, which lie in the context under ``src/model``.
        step: what the step that builds has: its store, clock and scratch folder.
        registry: where the image is pushed, as HOST[:PORT][/PATH]; empty: nowhere.
    """

    context: Path
    image: str
    base_image: str
    labels: Mapping[str, str]
    lock: Lock
    step: Context
    registry: str = ""


class Builder(ABC):
    """One way to make an image of a build context.

    The class attributes are all that the command line, the CRD, the graph, the checks of settings and ``slipway doctor`` know
    of a builder: none of them knows one by its name.

    Attributes:
        name: the value of ``builder`` in a Model, of ``SLIPWAY_BUILDER`` and of ``--builder``.
        title: how it makes the image, as the end of the sentence "The builder NAME …".
        needs_registry: it makes no image without pushing it.
        needs_program: it runs a program of the machine it is on, so it works in no pod.
        pushes_itself: the step ``build`` pushes, with the registry credentials that it finds on its machine.
        service: the service that builds and pushes, with an account of its own; empty where the step itself builds.
        store_schemes: what a store's address must begin with; empty where any store will do.
        needs_google_cloud: it wants credentials of Google Cloud.
        later_step: the step of the graph that has the image made after ``build``; empty where ``build`` is the last.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    needs_registry: ClassVar[bool] = False
    needs_program: ClassVar[bool] = False
    pushes_itself: ClassVar[bool] = False
    service: ClassVar[str] = ""
    store_schemes: ClassVar[tuple[str, ...]] = ()
    needs_google_cloud: ClassVar[bool] = False
    later_step: ClassVar[str] = ""

    @classmethod
    def open(cls) -> Self:
        """The builder, ready to build. Raises ``BuilderMissing`` where this machine does not have what it needs."""
        return cls()

    @classmethod
    def image_storage(cls) -> Path | None:
        """The folder where a program of this machine keeps images; None where none does, or where it is not known."""
        return None

    @classmethod
    @abstractmethod
    def check(cls, settings: Settings, clock: Clock) -> str:
        """Say for ``slipway doctor`` whether it could build here with these settings; nothing is built.

        Returns:
            One clause about what was found.

        Raises:
            SlipwayError: what is missing, with a hint that says how to get it.
        """

    @abstractmethod
    def command(self, request: BuildRequest) -> list[str]:
        """The command line that builds the image, for a person as for the builder itself; empty where there is none."""

    @abstractmethod
    def build(self, request: BuildRequest, progress: Progress) -> str:
        """Build the image and return its digest, ``sha256:…``; empty where this builder builds nothing.

        Raises:
            SlipwayError: ``BuildFailed``, or what a registry or a base image is refused for.
        """
