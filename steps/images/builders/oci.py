"""The builder ``oci``: it needs nothing but a registry, assembles the image itself and pushes it.

It works in a pod under Pod Security ``restricted``, where buildah and BuildKit may not make a user namespace, and on a
laptop without any of them, as Jib, ko and apko do for their languages. ``steps.images.assembly`` and
``steps.images.registry`` have the parts; this module puts them in order.
"""

from __future__ import annotations

import importlib.util
import json

from steps.core.clock import Clock
from steps.core.errors import Reason, SlipwayError
from steps.core.progress import Progress
from steps.core.settings import Settings, read_settings
from steps.images import description as image
from steps.images.assembly.assemble import assemble, push
from steps.images.assembly.base_image import read_base
from steps.images.assembly.layers import compressed_layer, files_below, plain_layer
from steps.images.assembly.pip_layers import package_layers
from steps.images.builders.base import Builder, BuildRequest
from steps.images.registry.reference import Reference
from steps.images.registry.repository import Repository
from steps.package.unpack import MODEL


class OciBuilder(Builder):
    """Assembles the image itself and pushes it."""

    name = "oci"
    title = "puts the image together itself, layer by layer, and pushes it"
    needs_registry = True
    pushes_itself = True

    @classmethod
    def check(cls, settings: Settings, clock: Clock) -> str:
        """Find pip, which brings the packages of the image. Raises ``BuilderMissing`` without it."""
        if importlib.util.find_spec("pip") is None:
            raise SlipwayError(
                Reason.BUILDER_MISSING,
                "the package pip, which it takes the image's packages with, is not here",
                hint="python -m ensurepip",
            )
        return "pip is here, and nothing else is needed"

    def command(self, request: BuildRequest) -> list[str]:
        """No arguments: no program makes this image."""
        return []

    def build(self, request: BuildRequest, progress: Progress) -> str:
        """Assemble the image, push it, and return its digest.

        Raises:
            SlipwayError: ``InvalidInput`` for a base image with another Python than the packages are locked for, and what base
                image, packages and registry raise.
        """
        target, found = Reference.parse(request.image), Reference.parse(request.base_image)
        step = request.step
        plain_http = read_settings().plain_http
        with (
            step.private_folder() as scratch,
            Repository(found, plain_http=plain_http, clock=step.clock, note=progress.note) as source,
            Repository(target, plain_http=plain_http, clock=step.clock, note=progress.note, push=True) as repository,
        ):
            base = read_base(found, source)
            if base.python != image.PYTHON_VERSION:
                raise SlipwayError(
                    Reason.INVALID_INPUT,
                    f"The base image {found} has Python {base.python}; the packages are locked for {image.PYTHON_VERSION}.",
                    hint=f"Use a base image such as python:{image.PYTHON_VERSION}-slim-bookworm.",
                )
            folder, code = request.context, image.CODE
            model = files_below(folder, [f"{MODEL}/{file.path}" for file in request.lock.files], image.HOME)
            layers = [
                *package_layers(folder, base.python, base.architecture, step, scratch),
                plain_layer(model, image.WEIGHTS.purpose),
                compressed_layer(files_below(folder, code.sources, image.HOME), code.purpose, scratch / "code.tar.gz"),
            ]
            about = json.loads((folder / "src/slipway.json").read_text())
            assembled = assemble(base, layers, {**image.own_labels(about), **request.labels})
            return push(assembled, target, source, repository, progress)
