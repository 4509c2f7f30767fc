"""The builder ``cloudbuild``: the step ``build`` plans, and the step ``cloudbuild`` has Google Cloud Build make the image.

A build there takes minutes to an hour. It is a step of its own so that no pod waits for it (see ``steps.cloudbuild``).
"""

from __future__ import annotations

from steps.core.clock import Clock
from steps.core.progress import Progress
from steps.core.settings import Settings
from steps.images.builders.base import Builder, BuildRequest
from steps.images.builders.local import Program, build_command
from steps.images.cloud_build.client import CloudBuildClient
from steps.images.cloud_build.request import machine_type

PROBE = "slipway-doctor"  # no archive has this digest


class CloudBuildBuilder(Builder):
    """Plans an image for the step ``cloudbuild``, which has it built from the archive in its bucket."""

    name = "cloudbuild"
    title = "has Google Cloud Build make the image of the archive in its bucket"
    needs_registry = True
    service = "Cloud Build"
    store_schemes = ("gs://",)
    needs_google_cloud = True
    later_step = "cloudbuild"

    @classmethod
    def check(cls, settings: Settings, clock: Clock) -> str:
        """Ask Cloud Build for the builds of an archive that does not exist: the answer shows that the API may be used."""
        with CloudBuildClient(settings, clock) as client:
            machine_type(settings.build_machine)
            client.of_archive(PROBE)
            return f"{client.parent} lets you list builds; whether you may make them shows with the first one"

    def command(self, request: BuildRequest) -> list[str]:
        """The arguments of docker, which make the same image by hand."""
        return build_command(Program.DOCKER, request)

    def build(self, request: BuildRequest, progress: Progress) -> str:
        """Build nothing yet, and say which step does."""
        progress.note(f"{request.image} is planned: the step `{self.later_step}` has it built.")
        return ""
