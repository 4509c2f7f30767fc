"""What the tests of Cloud Build share: both servers, an archive and its plan in the bucket, and the step as it runs."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from steps.cloudbuild import STEP, CloudBuildInputs, CloudBuildOutputs
from steps.core.contract import Context
from steps.core.documents import BuildPlan
from steps.core.errors import SlipwayError
from steps.core.receipts import execute
from steps.images.description import DOCKERFILE
from steps.store.supported import open_store
from tests.conftest import CLOUD_PROJECT, FakeClock, RecordedProgress
from tests.servers.cloud_build_server import CloudBuildServer
from tests.servers.docker_build import DockerBuild, Log
from tests.servers.gcs_server import GcsServer
from tests.servers.trust import Trust

PROJECT = CLOUD_PROJECT
STORE = "gs://models/some/prefix"
IMAGE = "registry.example/models/tiny-text-classification:0123456789ab"
LABELS = {"org.opencontainers.image.licenses": 'it\'s $HOME ${PROJECT_ID} $$ `id`; "x"', "dev.slipway.task": "t"}


class WorkingClock(FakeClock):
    """A clock that calls ``then`` after each sleep, for what others do meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.then: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.then()


@dataclass
class Recorder:
    """A runner that records its builds. The digest follows from what was built; ``pushed`` is the registry."""

    built: list[DockerBuild] = field(default_factory=list)
    pushed: dict[str, str] = field(default_factory=dict)

    def build(self, docker: DockerBuild, folder: Path, log: Log) -> None:
        assert (folder / docker.file).is_file()
        self.built.append(docker)
        log("Step 1/1 : FROM scratch")

    def push(self, image: str, log: Log) -> str:
        log(f"The push refers to repository [{image}]")
        self.pushed[image] = f"sha256:{hashlib.sha256(f'{image} {len(self.built)}'.encode()).hexdigest()}"
        return self.pushed[image]


def archive(files: dict[str, bytes]) -> bytes:
    """A ``.tar.gz`` of these files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


@dataclass
class Site:
    """The two servers, and the step over them. Each ``run`` is a process of its own: it shares nothing but the servers."""

    gcs: GcsServer
    server: CloudBuildServer
    runner: Any
    clock: WorkingClock
    scratch: Path
    inputs: CloudBuildInputs = field(init=False)
    notes: list[str] = field(default_factory=list)

    def context(self) -> Context:
        progress = RecordedProgress(then=lambda event: self.notes.append(event.text))
        return Context(store=open_store(STORE), scratch=self.scratch, clock=self.clock, progress=progress)

    def publish(self, files: dict[str, bytes], image: str = IMAGE, base_image: str = "scratch") -> None:
        """Put an archive and its plan into the store: what the steps before leave."""
        data = archive(files)
        context = self.context()
        digest = hashlib.sha256(data).hexdigest()
        context.publish(f"archives/tiny-{digest[:16]}.tar.gz", [data], size=len(data), sha256=digest)
        plan = BuildPlan(
            builder="cloudbuild",
            image=image,
            base_image=base_image,
            labels=LABELS,
            context="contexts/tiny",
            dockerfile=f"contexts/tiny/{DOCKERFILE}",
            commands=[],
            layers=[],
            image_digest="",
        )
        self.inputs = CloudBuildInputs(
            name="tiny",
            service="text-classification",
            archive=f"archives/tiny-{digest[:16]}.tar.gz",
            archive_digest=digest,
            plan=context.publish_document("plans", plan),
            wait=0,
        )

    def change_plan(self, **changed: str) -> None:
        """Change the plan."""
        context = self.context()
        plan = context.read_document(self.inputs.plan, BuildPlan).model_copy(update=changed)
        self.inputs = self.inputs.model_copy(update={"plan": context.publish_document("plans", plan)})

    def run(self, *, wait: int = 0) -> CloudBuildOutputs:
        """The step, as Argo runs it: once, with this wait."""
        inputs = self.inputs.model_copy(update={"wait": wait})
        return execute(STEP, inputs, self.context()).outputs

    def fails(self, *, wait: int = 0) -> SlipwayError:
        with pytest.raises(SlipwayError) as caught:
            self.run(wait=wait)
        return caught.value


def launch(trust: Trust, gcs: GcsServer, runner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site whose settings are in the environment, as those of a pod are."""
    clock = WorkingClock()
    with CloudBuildServer(trust, storage=gcs.url, runner=runner, project=PROJECT, now=clock.now) as server:
        for name, value in {
            "STORAGE_EMULATOR_HOST": gcs.url,
            "GOOGLE_APPLICATION_CREDENTIALS": str(trust.credentials),
            "SLIPWAY_BUILD_ENDPOINT": server.endpoint,
            "SLIPWAY_BUILD_LOGS": "gs://logs/of/builds",
            "SLIPWAY_REGION": "europe-west1",
        }.items():
            monkeypatch.setenv(name, value)
        site = Site(gcs, server, runner, clock, tmp_path / "scratch")
        site.publish({DOCKERFILE: b"FROM scratch\n", "src/service.py": b""})
        yield site
