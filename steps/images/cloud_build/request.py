"""What Cloud Build is requested to build: the archive's object at one generation, one docker step, one image to push.

Everything that decides the image has one digest, which is a tag of the build: a build that carries it is the right one,
whoever requested it. How it is built (machine, pool, account, logs) comes from the settings and is not part of the digest.

No value of a model is in a shell or in the text of a step: labels are arguments of ``docker build``, each its own.
Cloud Build replaces ``$NAME`` in arguments; ``$$`` is a dollar sign (https://cloud.google.com/build/docs/build-config-file-schema).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from steps.core.digest import canonical_json, sha256_bytes
from steps.core.errors import Reason, SlipwayError
from steps.core.settings import Settings
from steps.core.store import Store
from steps.images.description import DOCKERFILE
from steps.store.gcs import GcsPrefix

if TYPE_CHECKING:
    from google.cloud.devtools.cloudbuild_v1 import types

DOCKER = "gcr.io/cloud-builders/docker"
ARCHIVE_TAG = "slipway-archive-"  # followed by 64 hex digits; a tag of a build is ^[\w][\w.-]{0,127}$
IMAGE_TAG = "slipway-image-"
QUEUE_SECONDS = 3600  # that a build may wait for a machine; Google's own default
DEFAULT_DISK = 100  # GB that a machine has without a request
MAX_DISK = 4000  # GB that may be requested
GB = 10**9  # bytes
_POOL = re.compile(r"projects/[^/]+/locations/(?P<location>[^/]+)/workerPools/[^/]+")


@dataclass(frozen=True)
class ArchiveObject:
    """One generation of the archive's object in a bucket; ``size`` in bytes."""

    bucket: str
    name: str
    generation: int
    size: int


@dataclass(frozen=True)
class CloudBuildRequest:
    """An image to be built.

    Attributes:
        model: the model's name.
        archive_digest: sha256 of the archive's bytes, in hex.
        image: name and tag of the image, with its registry.
        base_image: name of the image to build on.
        labels: labels whose values come from the model.
        source: the archive's object.
        index: a package index that pip asks beside PyPI; empty: none.
    """

    model: str
    archive_digest: str
    image: str
    base_image: str
    labels: Mapping[str, str] = field(hash=False)
    source: ArchiveObject
    index: str = ""

    @property
    def arguments(self) -> list[str]:
        """The arguments of ``docker``, before Cloud Build's escaping of ``$``."""
        found = ["build", "-f", DOCKERFILE, "-t", self.image, "--build-arg", f"BASE_IMAGE={self.base_image}"]
        if self.index:
            found += ["--build-arg", f"PIP_EXTRA_INDEX_URL={self.index}"]
        for name, value in sorted(self.labels.items()):
            found += ["--label", f"{name}={value}"]
        return [*found, "."]

    @cached_property
    def digest(self) -> str:
        """The sha256, in hex, of everything that decides the image."""
        source = [self.source.bucket, self.source.name, self.source.generation, self.archive_digest]
        return sha256_bytes(canonical_json([source, DOCKER, self.arguments, self.image]))

    @property
    def tags(self) -> list[str]:
        """The build's tags: the archive, everything that decides the image, the model's name."""
        return [archive_tag(self.archive_digest), self.image_tag, self.model]

    @property
    def image_tag(self) -> str:
        """The tag that only builds of this very request carry."""
        return IMAGE_TAG + self.digest

    def build(self, settings: Settings, project: str) -> types.Build:
        """The build as ``CreateBuild`` takes it, https://cloud.google.com/build/docs/api/reference/rest/v1/projects.builds.

        Args:
            settings: how to build: machine, pool, account, time limit, logs.
            project: the project of the service account, where the settings give only its e-mail address.

        Raises:
            SlipwayError: ``InvalidInput`` for a machine type that Cloud Build does not have.
        """
        from google.cloud.devtools.cloudbuild_v1 import types
        from google.protobuf.duration_pb2 import Duration

        kinds = types.BuildOptions
        options = types.BuildOptions(
            # A build then succeeds only if its provenance was made and stored.
            requested_verify_option=kinds.VerifyOption.VERIFIED,
            # Cloud Build then reports the sha256 of the archive that it fetched.
            source_provenance_hash=[types.Hash.HashType.SHA256],
            # No unescaped $ is left; if one were, the build would be refused instead of made with an empty text.
            substitution_option=kinds.SubstitutionOption.MUST_MATCH,
            machine_type=machine_type(settings.build_machine),
            logging=logging_mode(settings),
        )
        if settings.build_pool:
            options.pool = kinds.PoolOption(name=settings.build_pool)
        else:  # the archive, what it unpacks to, Docker's copy of that, and the layers; a pool has a disk of its own
            disk = DEFAULT_DISK // 2 + 5 * self.source.size // GB
            options.disk_size_gb = min(disk, MAX_DISK) if disk > DEFAULT_DISK else 0
        storage = types.StorageSource(bucket=self.source.bucket, object_=self.source.name, generation=self.source.generation)
        arguments = [argument.replace("$", "$$") for argument in self.arguments]
        return types.Build(
            source=types.Source(storage_source=storage),
            steps=[types.BuildStep(name=DOCKER, args=arguments, env=["DOCKER_BUILDKIT=1"])],
            images=[self.image],
            tags=self.tags,
            timeout=Duration(seconds=settings.build_timeout),
            queue_ttl=Duration(seconds=QUEUE_SECONDS),
            service_account=account_name(settings.build_account, project),
            logs_bucket=settings.build_logs,
            options=options,
        )


def archive_tag(archive_digest: str) -> str:
    """The tag of all builds of an archive."""
    return ARCHIVE_TAG + archive_digest


def find_source(store: Store, key: str) -> ArchiveObject:
    """The archive's object as it is now.

    Raises:
        SlipwayError: ``UnsupportedStore`` where Cloud Build cannot reach the store, ``StoreUnreadable`` without an archive.
    """
    if not store.uri.startswith("gs://"):
        raise SlipwayError(
            Reason.UNSUPPORTED_STORE,
            f"Cloud Build takes its source from Google Cloud Storage, and the store is {store.uri}.",
            hint="Set `store` to gs://bucket/prefix and run again, or use the builder `oci`, which needs no Google Cloud.",
        )
    below = GcsPrefix.from_uri(store.uri)
    found = below.find(key)
    if found is None:
        raise SlipwayError(
            Reason.STORE_UNREADABLE, f"There is no archive at {store.locate(key)}.", hint="Run the step `archive` again."
        )
    return ArchiveObject(below.bucket, below.prefix + key, int(found.version), found.size)


def source_digest(source: ArchiveObject) -> str:
    """The sha256, in hex, of this generation's bytes, read again. Raises ``StoreUnreadable`` where it was replaced."""
    below = GcsPrefix(source.bucket)
    found = below.find(source.name)
    if found is None or int(found.version) != source.generation:
        raise SlipwayError(Reason.STORE_UNREADABLE, f"{below.locate(source.name)} was replaced while it was built.")
    digest = hashlib.sha256()
    for part in below.read(found):
        digest.update(part)
    return digest.hexdigest()


def location(settings: Settings) -> str:
    """The region of the builds: that of the pool, where there is one. Raises ``InvalidInput`` for a wrong name of a pool."""
    if not settings.build_pool:
        return settings.region
    match = _POOL.fullmatch(settings.build_pool)
    if not match:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"The setting build_pool is {settings.build_pool!r}.",
            hint="A pool is projects/PROJECT/locations/REGION/workerPools/POOL.",
        )
    return match["location"]


def machine_type(name: str) -> types.BuildOptions.MachineType:
    """A machine type by its name. Raises ``InvalidInput`` for one that Cloud Build does not have."""
    from google.cloud.devtools.cloudbuild_v1 import types

    known = types.BuildOptions.MachineType
    if name and name not in known.__members__:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"The setting build_machine is {name!r}, which Cloud Build does not have.",
            hint=f"It has {', '.join(each for each in known.__members__ if each != 'UNSPECIFIED')}.",
        )
    return known[name or "UNSPECIFIED"]


def logging_mode(settings: Settings) -> types.BuildOptions.LoggingMode:
    """Where logs go: to the bucket of the settings, else to the default one.

    With an account of one's own there is no default bucket, and Cloud Build requires a mode:
    https://cloud.google.com/build/docs/securing-builds/configure-user-specified-service-accounts
    """
    from google.cloud.devtools.cloudbuild_v1 import types

    known = types.BuildOptions.LoggingMode
    if settings.build_logs:
        return known.GCS_ONLY
    return known.CLOUD_LOGGING_ONLY if settings.build_account else known.LEGACY


def account_name(name: str, project: str) -> str:
    """A service account as Cloud Build wants it, from its e-mail address or its full name; empty stays empty."""
    return f"projects/{project}/serviceAccounts/{name}" if name and "/" not in name else name
