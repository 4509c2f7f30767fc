"""Manifests and blobs: each fault of a registry ends with the right image or a named reason."""

from __future__ import annotations

import pytest

from steps.core.errors import ExitCode, Reason, SlipwayError
from steps.images.registry.reference import Reference
from steps.images.registry.repository import Descriptor, Repository, digest_of
from tests.servers.oci_registry import STATE, Effect, Fault, OciRegistry
from tests.steps.images.oci_build import BASE, OciBuild, put_base

pytestmark = pytest.mark.slow  # they start processes or servers, many times

REPOSITORY = "team/tiny-text-classification"
PASSWORD = "correct horse"

FAULTS = {
    "an upload cannot begin": Fault("POST", "uploads/", status=500),
    "too many requests": Fault("PUT", "uploads/", status=429, headers={"Retry-After": "7"}),
    "the connection breaks within an upload": Fault("PUT", "uploads/", Effect.DROP),
    "the answer to an upload is lost": Fault("PUT", "uploads/", Effect.LOSE),
    "an upload arrives with another byte": Fault("PUT", "uploads/", Effect.CORRUPT),
    "an upload is forgotten": Fault("PUT", "uploads/", status=404),
    "the check for a blob fails": Fault("HEAD", "blobs/", status=503),
    "the manifest is not taken": Fault("PUT", "manifests/", status=502),
    "the answer to the manifest is lost": Fault("PUT", "manifests/", Effect.LOSE),
    "the base cannot be read": Fault("GET", "library/python/manifests/", status=504),
    "the base's manifest arrives with another byte": Fault("GET", "library/python/manifests/", Effect.CORRUPT),
    "the base's configuration breaks off": Fault("GET", "library/python/blobs/", Effect.LOSE),
    "the base's configuration arrives with another byte": Fault("GET", "library/python/blobs/", Effect.CORRUPT),
}


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_transient_fault_leaves_no_trace(oci_build: OciBuild, fault: Fault, times: int) -> None:
    with OciRegistry() as quiet:
        put_base(quiet)
        oci_build.registry.faults.append(Fault(**{**vars(fault), "times": times}))
        outputs = oci_build.build()
        manifests = oci_build.registry.manifests[REPOSITORY]
    assert oci_build.registry.image(oci_build.name(outputs))[0] == outputs.image_digest
    assert set(manifests) == {outputs.image.rpartition(":")[2], outputs.image_digest}
    if fault.headers:
        assert [seconds for seconds in oci_build.clock.slept if seconds == 7.0]
    assert STATE not in oci_build.messages()


def test_interrupted_base_layers_are_read_again(oci_build: OciBuild) -> None:
    with OciRegistry() as elsewhere:
        put_base(elsewhere)
        elsewhere.faults += [Fault("GET", "/blobs/", Effect.LOSE, times=2), Fault("GET", "/blobs/", Effect.CORRUPT)]
        outputs = oci_build.build(base=f"{elsewhere.host}/{BASE}")
    assert oci_build.registry.image(oci_build.name(outputs))[0] == outputs.image_digest


@pytest.mark.parametrize(
    ("fault", "reason", "message"),
    [
        (Fault("POST", "uploads/", status=500), Reason.STORE_BUSY, "answered 500"),
        (Fault("PUT", "uploads/", Effect.DROP), Reason.NETWORK_UNREACHABLE, "cannot be reached"),
        (Fault("PUT", "uploads/", Effect.CORRUPT), Reason.DIGEST_MISMATCH, "DIGEST_INVALID"),
        (Fault("GET", "library/python/blobs/", Effect.CORRUPT), Reason.DIGEST_MISMATCH, "sha256"),
        (Fault("PUT", "uploads/", status=413), Reason.TOO_LARGE, "answered 413"),
        (Fault("PUT", "manifests/", status=403), Reason.ACCESS_DENIED, "answered 403"),
        (Fault("GET", "library/python/manifests/", status=404), Reason.SOURCE_NOT_FOUND, "answered 404"),
        (Fault("POST", "uploads/", status=418), Reason.SOURCE_PROTOCOL, "answered 418"),
        (Fault("PUT", "uploads/", status=503, headers={"Retry-After": "86400"}), Reason.STORE_BUSY, "answered 503"),
    ],
    ids=lambda value: value.value if isinstance(value, Reason) else None,
)
def test_a_lasting_fault_leaves_no_image(oci_build: OciBuild, fault: Fault, reason: Reason, message: str) -> None:
    fault.times = 10**6
    oci_build.registry.faults.append(fault)
    with pytest.raises(SlipwayError) as caught:
        oci_build.build()
    assert caught.value.reason is reason
    assert message in caught.value.message
    assert oci_build.registry.host in caught.value.message
    assert STATE not in oci_build.messages(caught.value)
    assert REPOSITORY not in oci_build.registry.manifests
    if reason.retryable:
        assert reason.exit_code is ExitCode.TRANSIENT


def test_a_changed_manifest_is_noticed(oci_build: OciBuild) -> None:
    oci_build.registry.faults.append(Fault("GET", "tiny-text-classification/manifests/", Effect.CORRUPT, times=10**6))
    with pytest.raises(SlipwayError) as caught:
        oci_build.build()
    assert caught.value.reason is Reason.DIGEST_MISMATCH


def test_a_blob_beyond_its_size_is_refused(oci_build: OciBuild) -> None:
    data = b"x" * 1000
    oci_build.registry.blobs["library/python"][digest_of(data)] = data
    reference = Reference.parse(f"{oci_build.registry.host}/{BASE}")
    with (
        Repository(reference, plain_http=(), clock=oci_build.clock, note=oci_build.progress.note) as repository,
        pytest.raises(SlipwayError, match="more than the 999 bytes") as caught,
    ):
        repository.read(Descriptor("x", digest_of(data), 999))
    assert caught.value.reason is Reason.DIGEST_MISMATCH
